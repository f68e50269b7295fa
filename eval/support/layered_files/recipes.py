"""What the test files contain: one recipe a file, each for one feature, for every program that can express it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Node = dict[str, Any]
Recipe = dict[str, Any]

KRITA_MODES = """
normal dissolve erase behind multiply screen overlay darken lighten dodge burn hard_light soft_light soft_light_svg diff
exclusion add subtract divide linear_burn linear_dodge pin_light vivid_light hard_mix_photoshop hue saturation color
luminize grain_merge grain_extract allanon geometric_mean parallel gamma_light gamma_dark inverse_subtract equivalence
negation destination-in destination-atop hue_hsl saturation_hsl color_hsl lightness hue_hsv saturation_hsv color_hsv
value hue_hsi saturation_hsi color_hsi intensity inc_luminosity dec_luminosity luminosity_sai arc_tangent glow reflect
copy greater linear~light hard~mix darker~color lighter~color easy~dodge easy~burn
"""
GIMP_MODES = """
NORMAL MULTIPLY SCREEN OVERLAY DIFFERENCE ADDITION SUBTRACT DARKEN-ONLY LIGHTEN-ONLY HSV-HUE HSV-SATURATION HSL-COLOR
HSV-VALUE DIVIDE DODGE BURN HARDLIGHT SOFTLIGHT GRAIN-EXTRACT GRAIN-MERGE
"""
GIMP_NEW = """
VIVID-LIGHT PIN-LIGHT LINEAR-LIGHT HARD-MIX EXCLUSION LINEAR-BURN LUMA-DARKEN-ONLY LUMA-LIGHTEN-ONLY LCH-HUE LCH-CHROMA
LCH-COLOR LCH-LIGHTNESS
"""


def paint(image: str, **options: Any) -> Node:
    """A paint layer; options: name, mode, opacity (0…255), visible, clip, mask, x, y."""
    return {"type": "paint", "image": image, "name": options.pop("name", image), **options}


def group(*children: Node, **options: Any) -> Node:
    """A group of layers from the bottom up; options as for `paint`, and `through` for pass-through."""
    return {"type": "group", "children": list(children), "name": options.pop("name", "group"), **options}


def recipe(name: str, feature: str, *layers: Node, **options: Any) -> Recipe:
    """A file: layers from the bottom up; options: depth ("U8", "U16"), model ("RGBA", "GRAYA"), background."""
    return {"name": name, "feature": feature, "layers": list(layers), **options}


def mode_recipes(modes: Sequence[str]) -> list[Recipe]:
    """Every blend mode over opaque and over transparent layers, in groups of both kinds, masked, half opaque."""
    found = []
    for mode in modes:
        top = {"mode": mode, "name": mode}
        name = mode.lower().replace(" ", "_")
        found += [
            recipe(f"{name}_opaque", "mode over opaque", paint("field"), paint("soft", **top)),
            recipe(f"{name}_half", "mode, opacity 128", paint("field"), paint("soft", opacity=128, **top)),
            recipe(f"{name}_transparent", "mode over transparent", paint("shapes"), paint("soft", **top)),
            recipe(
                f"{name}_isolated",
                "mode in an isolated group",
                paint("field"),
                group(paint("shapes"), paint("soft", **top), opacity=200),
            ),
            recipe(f"{name}_group", "mode of a group", paint("field"), group(paint("shapes"), paint("lines"), **top)),
            recipe(f"{name}_mask", "mode with a mask", paint("field"), paint("soft", mask="ramp", **top)),
        ]
    return found


def through_recipes(modes: Sequence[str]) -> list[Recipe]:
    """Blend modes in pass-through groups."""
    return [
        recipe(
            f"{mode.lower()}_through",
            "mode in a pass-through group",
            paint("field"),
            group(paint("shapes", opacity=150), paint("soft", mode=mode), through=True),
            paint("lines"),
        )
        for mode in modes
    ]


def clip_recipes(modes: Sequence[str]) -> list[Recipe]:
    """Layers clipped to what lies below them."""
    found = [
        recipe(
            f"{mode.lower()}_clip",
            "clipping (inherit alpha)",
            paint("field", opacity=120),
            group(paint("shapes"), paint("soft", clip=True, mode=mode), paint("lines", clip=True)),
        )
        for mode in modes
    ]
    return [
        *found,
        recipe(
            "clip_first", "clipping (inherit alpha)", paint("field"), group(paint("soft", clip=True), paint("lines"))
        ),
        recipe(
            "clip_group", "clipping (inherit alpha)", paint("shapes"), group(paint("field"), clip=True, opacity=180)
        ),
        recipe("clip_root", "clipping (inherit alpha)", paint("shapes"), paint("soft", clip=True)),
        recipe(
            "clip_masked",
            "clipping (inherit alpha)",
            paint("shapes", mask="ramp"),
            paint("soft", clip=True, mask="disc", opacity=180),
            paint("patch", clip=True, x=30, y=20),
        ),
    ]


def structure_recipes() -> list[Recipe]:
    """Groups, masks, opacity, offsets, visibility."""
    deep = paint("shapes", mask="disc")
    for level in range(6):
        deep = group(deep, paint("patch", x=8 * level, y=5 * level, opacity=150), opacity=230, name=f"level {level}")
    return [
        recipe("transparent", "opacity and offsets", paint("soft", opacity=180)),
        recipe(
            "offsets",
            "opacity and offsets",
            paint("field"),
            *(paint("patch", x=x, y=y, opacity=o) for x, y, o in ((-12, -9, 255), (70, 45, 140), (30, 20, 77))),
        ),
        recipe(
            "hidden",
            "visibility",
            paint("field", opacity=100),
            paint("soft", visible=False),
            group(paint("shapes"), visible=False),
            group(paint("lines"), paint("patch", visible=False), x=0),
        ),
        recipe("mask_layer", "masks", paint("field", mask="ramp"), paint("shapes", mask="disc", opacity=200)),
        recipe("mask_group", "masks", paint("field"), group(paint("shapes"), paint("lines"), mask="ramp", opacity=180)),
        recipe("mask_offset", "masks", paint("field"), paint("patch", x=25, y=15, mask="ramp")),
        recipe("nested", "nested groups", paint("field"), deep),
        recipe("empty_group", "nested groups", paint("field"), group(name="empty"), paint("lines")),
        recipe(
            "through_masked",
            "pass-through with mask or opacity",
            paint("field"),
            group(paint("shapes"), paint("soft", mode="multiply"), through=True, mask="ramp"),
        ),
        recipe(
            "through_opacity",
            "pass-through with mask or opacity",
            paint("field"),
            group(paint("shapes"), paint("soft", mode="multiply"), through=True, opacity=128),
        ),
        recipe(
            "many",
            "60 layers",
            paint("field"),
            *(
                paint(
                    "patch",
                    x=(k * 13) % 70,
                    y=(k * 7) % 40,
                    opacity=90 + k,
                    mode="multiply" if k % 5 == 0 else "normal",
                )
                for k in range(59)
            ),
        ),
    ]


def named_recipes() -> list[Recipe]:
    """A drawing with layers named as artists name them, one hidden."""
    return [
        recipe(
            "drawing",
            "a drawing",
            paint("field", name="paper", opacity=60),
            paint("lines", name="ラフ", visible=False, x=2, y=1),
            group(
                paint("shapes", name="塗り"),
                paint("soft", name="影", mode="multiply", clip=True, opacity=160),
                name="figure",
            ),
            paint("lines", name="線画"),
            paint("soft", name="glow", mode="screen", opacity=90, mask="disc"),
        )
    ]


def krita_recipes() -> list[Recipe]:
    """Everything Krita's scripting can make."""
    base = ["normal", "multiply", "screen", "overlay", "add", "luminize"]
    deep = [
        recipe(f"{name}_{model}{depth}", "16 bits, grey", *layers, model=model, depth=depth)
        for model, depth in (("RGBA", "U16"), ("GRAYA", "U8"), ("GRAYA", "U16"), ("RGBA", "F16"), ("RGBA", "F32"))
        for name, *layers in (
            ("plain", paint("field"), paint("soft", opacity=180)),
            ("multiply", paint("field"), group(paint("shapes"), paint("soft", mode="multiply", mask="ramp"))),
        )
    ]
    return [
        *mode_recipes([mode.replace("~", " ") for mode in KRITA_MODES.split()]),
        *through_recipes(base),
        *clip_recipes(base),
        *structure_recipes(),
        *named_recipes(),
        *deep,
        recipe("background", "background colour", paint("shapes"), background=[255, 200, 150, 255]),
        recipe("vector", "vector layers", paint("field"), {"type": "vector", "name": "vector", "opacity": 200}),
        recipe("fill", "fill layers", {"type": "fill", "name": "fill", "color": "#3a7bd5"}, paint("soft")),
        recipe(
            "clone",
            "clone layers",
            paint("field"),
            paint("patch", name="original", x=5, y=5, mask="ramp", opacity=120),
            {"type": "clone", "name": "copy", "of": "original", "x": 30, "y": 20, "mode": "multiply"},
        ),
        recipe("filter_layer", "unsupported: filter layer", paint("field"), {"type": "filter", "name": "invert"}),
        recipe("filter_mask", "unsupported: filter mask", paint("field"), paint("soft", filter_mask="invert")),
    ]


def gimp_recipes() -> list[Recipe]:
    """Everything GIMP writes into a PSD, with its legacy modes (which blend the picture's own values) and its default
    ones (which blend light).
    """
    found = []
    for prefix, default, modes in (
        ("legacy-", "NORMAL-LEGACY", GIMP_MODES.split()),
        ("", "NORMAL", [*GIMP_MODES.split(), *GIMP_NEW.split()]),
    ):
        some = [*mode_recipes(modes), *through_recipes(modes[:3]), *structure_recipes(), *named_recipes()]
        for one in some:
            kind = "GIMP legacy modes: " if prefix else "GIMP default modes: "
            found.append({**one, "name": prefix + one["name"], "feature": kind + one["feature"], "default": default})
    return found
