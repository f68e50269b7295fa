"""What the programs mean by the names of their blend modes.

A rule is a `Blend`: a function of colours, what becomes of opacity, and in which values the function works. Names that
are not in a table are not supported; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

from paintsundo.data.layered import modes
from paintsundo.data.layered.modes import BlendFunction


@dataclass(frozen=True)
class Blend:
    """How a layer comes upon what lies below it.

    Attributes:
        name: the program's name, for the record.
        function: of (source, backdrop).
        alpha: "union" (Porter and Duff's over), "atop" (opacity of the backdrop is kept), "behind", "erase", "copy",
            "in" (destination in), "under" (destination atop), or "gimp" (GIMP's legacy rule, which keeps the backdrop's
            opacity and counts the lesser of both).
        encoded: in a document composited in light, whether the function wants encoded values.
        kind: the mode's family for stage rules: "normal", "dark", "light", "contrast", "colour", "other".
    """

    name: str
    function: BlendFunction
    alpha: str = "union"
    encoded: bool = True
    kind: str = "other"

    @property
    def plain(self) -> bool:
        """Whether this is the associative Porter-Duff over."""
        return self.function is modes.normal and self.alpha == "union"

    def atop(self) -> Blend:
        """The same, clipped to the backdrop."""
        return replace(self, alpha="atop") if self.alpha in ("union", "gimp") else self


_KINDS = {
    "dark": (
        modes.color_burn_unbounded,
        modes.subtract_unbounded,
        modes.multiply,
        modes.color_burn,
        modes.linear_burn,
        modes.darken,
        modes.subtract,
    ),
    "light": (
        modes.color_dodge_unbounded,
        modes.addition_unbounded,
        modes.screen,
        modes.color_dodge,
        modes.color_dodge_white,
        modes.addition,
        modes.lighten,
    ),
    "contrast": (modes.overlay, modes.hard_light, modes.soft_light, modes.soft_light_svg, modes.soft_light_gimp),
    "normal": (modes.normal,),
}
NORMAL = Blend("normal", modes.normal, kind="normal")


def _kind(function: BlendFunction) -> str:
    return next((kind for kind, functions in _KINDS.items() if function in functions), "other")


def _table(functions: Mapping[str, BlendFunction], **options: str | bool) -> dict[str, Blend]:
    return {name: Blend(name, function, kind=_kind(function), **options) for name, function in functions.items()}  # type: ignore[arg-type]


def _hsx(model: str, names: str) -> dict[str, BlendFunction]:
    """Blend functions of a colour model under the names of hue, saturation, colour and lightness."""
    parts = (modes.hue, modes.saturation, modes.color, modes.luminosity)
    return {name: partial(part, model) for name, part in zip(names.split(), parts, strict=True)}


KRITA: Mapping[str, Blend] = {
    **_table(
        {
            "normal": modes.normal,
            "multiply": modes.multiply,
            "screen": modes.screen,
            "overlay": modes.overlay,
            "darken": modes.darken,
            "lighten": modes.lighten,
            "dodge": modes.color_dodge_white,
            "burn": modes.color_burn,
            "hard_light": modes.hard_light,
            "soft_light": modes.soft_light,
            "soft_light_svg": modes.soft_light_svg,
            "diff": modes.difference,
            "exclusion": modes.exclusion,
            "add": modes.addition,
            "linear_dodge": modes.addition,
            "subtract": modes.subtract,
            "inverse_subtract": modes.inverse_subtract,
            "divide": modes.divide,
            "linear_burn": modes.linear_burn,
            "linear light": modes.linear_light,
            "vivid_light": modes.vivid_light,
            "pin_light": modes.pin_light,
            "hard mix": modes.hard_mix_soft,
            "hard_mix_photoshop": modes.hard_mix,
            "grain_merge": modes.grain_merge,
            "grain_extract": modes.grain_extract,
            "allanon": modes.allanon,
            "geometric_mean": modes.geometric_mean,
            "parallel": modes.parallel,
            "gamma_light": modes.gamma_light,
            "gamma_dark": modes.gamma_dark,
            "equivalence": modes.difference,
            "negation": modes.negation,
            "easy dodge": modes.easy_dodge,
            "easy burn": modes.easy_burn,
            "arc_tangent": modes.arc_tangent,
            "darker color": partial(modes.darker_color, "hsy"),
            "lighter color": partial(modes.lighter_color, "hsy"),
            **_hsx("hsy", "hue saturation color luminize"),
            **_hsx("hsi", "hue_hsi saturation_hsi color_hsi intensity"),
            **_hsx("hsl", "hue_hsl saturation_hsl color_hsl lightness"),
            **_hsx("hsv", "hue_hsv saturation_hsv color_hsv value"),
        }
    ),
    "behind": Blend("behind", modes.normal, "behind"),
    "erase": Blend("erase", modes.normal, "erase"),
    "destination-in": Blend("destination-in", modes.normal, "in"),
    "destination-atop": Blend("destination-atop", modes.normal, "under"),
}

OPENRASTER: Mapping[str, Blend] = {
    **_table(
        {
            "svg:src-over": modes.normal,
            "svg:multiply": modes.multiply,
            "svg:screen": modes.screen,
            "svg:overlay": modes.overlay,
            "svg:darken": modes.darken,
            "svg:lighten": modes.lighten,
            "svg:color-dodge": modes.color_dodge,
            "svg:color-burn": modes.color_burn,
            "svg:hard-light": modes.hard_light,
            "svg:soft-light": modes.soft_light_svg,
            "svg:difference": modes.difference,
            "svg:exclusion": modes.exclusion,
            "svg:plus": modes.addition,
            "svg:add": modes.addition,
            **_hsx("photoshop", "svg:hue svg:saturation svg:color svg:luminosity"),
        }
    ),
    "svg:src-atop": Blend("svg:src-atop", modes.normal, "atop", kind="normal"),
    "svg:dst-in": Blend("svg:dst-in", modes.normal, "in"),
    "svg:dst-out": Blend("svg:dst-out", modes.normal, "erase"),
    "svg:dst-atop": Blend("svg:dst-atop", modes.normal, "under"),
    "svg:dst-over": Blend("svg:dst-over", modes.normal, "behind"),
}

PHOTOSHOP: Mapping[str, Blend] = _table(
    {
        "norm": modes.normal,
        "dark": modes.darken,
        "mul ": modes.multiply,
        "idiv": modes.color_burn,
        "lbrn": modes.linear_burn,
        "dkCl": partial(modes.darker_color, "photoshop"),
        "lite": modes.lighten,
        "scrn": modes.screen,
        "div ": modes.color_dodge,
        "lddg": modes.addition,
        "lgCl": partial(modes.lighter_color, "photoshop"),
        "over": modes.overlay,
        "sLit": modes.soft_light,
        "hLit": modes.hard_light,
        "vLit": modes.vivid_light,
        "lLit": modes.linear_light,
        "pLit": modes.pin_light,
        "hMix": modes.hard_mix,
        "diff": modes.difference,
        "smud": modes.exclusion,
        "fsub": modes.subtract,
        "fdiv": modes.divide,
        "hue ": partial(modes.hue, "photoshop"),
        "sat ": partial(modes.saturation, "photoshop"),
        "colr": partial(modes.color, "photoshop"),
        "lum ": partial(modes.luminosity, "photoshop"),
    }
)

# GIMP writes files of this format too, under the nearest names. Its legacy modes work on encoded values and never add
# opacity; its default ones composite light, most of them clipped to the backdrop, some functions on encoded values.
_GIMP: Mapping[str, BlendFunction] = {
    "norm": modes.normal,
    "dark": modes.darken,
    "mul ": modes.multiply,
    "idiv": modes.color_burn,
    "lite": modes.lighten,
    "scrn": modes.screen,
    "div ": modes.color_dodge,
    "lddg": modes.addition,
    "over": modes.overlay,
    "sLit": modes.soft_light_gimp,
    "hLit": modes.hard_light,
    "diff": modes.difference,
    "fsub": modes.subtract,
    "fdiv": modes.divide,
    "hue ": modes.gimp_hue,
    "sat ": modes.gimp_saturation,
    "colr": modes.gimp_color,
    "lum ": modes.gimp_value,
}
GIMP_LEGACY: Mapping[str, Blend] = {
    name: blend if blend.plain else replace(blend, alpha="gimp")
    for name, blend in _table({**_GIMP, "over": modes.soft_light_gimp, "sat ": modes.gimp_saturation_legacy}).items()
}
_OF_LIGHT = ("mul ", "lddg", "fsub", "fdiv")
GIMP: Mapping[str, Blend] = {
    name: blend if blend.plain else replace(blend, alpha="atop", encoded=name not in _OF_LIGHT)
    for name, blend in _table(
        {
            **_GIMP,
            "lddg": modes.addition_unbounded,
            "fdiv": modes.divide_unbounded,
            "div ": modes.color_dodge_unbounded,
            "idiv": modes.color_burn_unbounded,
            "fsub": modes.subtract_unbounded,
            "lbrn": modes.linear_burn_unbounded,
            "dkCl": partial(modes.darker_color, "gimp"),
            "lgCl": partial(modes.lighter_color, "gimp"),
            "vLit": modes.vivid_light,
            "lLit": modes.linear_light_unbounded,
            "pLit": modes.pin_light,
            "hMix": modes.hard_mix_inclusive,
            "smud": modes.exclusion,
        }
    ).items()
}
