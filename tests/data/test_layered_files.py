"""Files that Krita and GIMP wrote (tests/data/layered, from eval/support/layered_files/fixtures.py): ours and theirs.

The programs' own flattened picture is in each file; beside GIMP's lies GIMP's PNG export too.
"""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from paintsundo.data.layered.agreement import LEVELS, SHARE, agreement
from paintsundo.data.layered.limits import Limits
from paintsundo.data.layered.opening import embedded, opened

FILES = Path(__file__).parent / "layered"
DIFFERENT = {  # file: what the reader says, or nothing where only the comparison can tell
    "krita_filter_layer.kra": "filter layer 'invert'",
    "krita_drawing.ora": None,  # Krita writes "source atop" for a clipped layer, and loses its blend mode
    "krita_mask_group.ora": None,  # Krita does not write the mask
    "gimp_grain-merge_half.psd": None,  # the format has no such mode: GIMP writes "normal"
}
EQUAL = sorted(path.name for path in FILES.glob("*.*") if path.suffix in (".kra", ".ora", ".psd"))
EQUAL = [name for name in EQUAL if name not in DIFFERENT]


def of(name):
    with (FILES / name).open("rb") as stream:
        return opened(stream, name, Limits())


@pytest.mark.parametrize("name", EQUAL)
def test_our_picture_is_the_programs(name):
    found = of(name)
    assert found.agreement.share >= SHARE
    assert found.document.unsupported == ()
    export = (FILES / name).with_suffix(".png")
    if export.exists():
        picture = Image.open(export).convert("RGBA")
        white = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
        assert agreement(found.ours, np.asarray(white)).share >= SHARE


@pytest.mark.parametrize("name", sorted(DIFFERENT))
def test_what_is_not_supported_is_never_shown_as_if_it_were(name):
    found = of(name)
    assert not found.agreement.holds
    if DIFFERENT[name] is not None:
        assert found.document.unsupported == (DIFFERENT[name],)


def test_dialects_are_told_apart():
    assert of("gimp_multiply_isolated.psd").document.program == "GIMP"
    assert of("gimp_legacy-multiply_isolated.psd").document.program == "GIMP, legacy modes"
    assert of("krita_nested.psd").document.program == "Photoshop"


def test_the_fixtures_cover_what_they_are_for():
    features = set()
    for name in EQUAL:
        document = of(name).document
        for layer, path in document.leaves():
            nodes = (layer, *path[1:])
            features |= {f"{node.blend.alpha} {node.blend.name}" for node in nodes}
            features |= {"through" for node in path[1:] if node.through}
            features |= {"masks of groups" for node in path[1:] if node.masks}
            features |= {"masks" for _ in layer.masks}
            features |= {"hidden" for node in nodes if not node.visible}
            features |= {f"depth {len(path)}"}
    assert {"through", "masks", "masks of groups", "hidden", "union multiply", "atop multiply", "depth 7"} <= features


def test_the_flattened_picture_is_read_without_layers():
    for name in EQUAL:
        with (FILES / name).open("rb") as stream:
            picture = embedded(stream, name, Limits())
        assert picture.shape == (64, 96, 3)
        assert agreement(picture, of(name).picture).share == 1


def test_agreement_counts_pixels():
    ours = np.zeros((10, 10, 3), np.uint8)
    theirs = ours.copy()
    theirs[0, :5, 1] = LEVELS
    theirs[1, 0, 2] = LEVELS + 1
    found = agreement(ours, theirs)
    assert found.share == 0.99
    assert found.largest == LEVELS + 1
    assert not found.holds
    assert agreement(ours, theirs[:5]).share == 0
