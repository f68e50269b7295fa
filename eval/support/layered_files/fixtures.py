"""The few files that tests read: `PYTHONPATH=eval python -m support.layered_files.fixtures FOLDER` makes them again."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from support.layered_files import gimp, krita
from support.layered_files.recipes import gimp_recipes, krita_recipes

KRITA = (
    "drawing.kra drawing.ora multiply_clip.kra through_opacity.kra nested.ora nested.psd multiply_RGBAU16.kra "
    "plain_GRAYAU8.kra vector.kra clone.kra fill.kra filter_layer.kra mask_group.ora offsets.psd easy_burn_half.ora"
)
GIMP = (
    "multiply_isolated legacy-multiply_isolated legacy-through_masked mask_group hsv-hue_half nested grain-merge_half"
)


def main(folder: Path) -> None:
    """Write the files into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        stems = {Path(name).stem for name in KRITA.split()}
        krita.make([one for one in krita_recipes() if one["name"] in stems], Path(work), (".kra", ".ora", ".psd"))
        for name in KRITA.split():
            shutil.copy(Path(work, name), folder / f"krita_{name}")
    with tempfile.TemporaryDirectory() as work:
        gimp.make([one for one in gimp_recipes() if one["name"] in GIMP.split()], Path(work))
        for name in GIMP.split():
            for suffix in (".psd", ".png"):
                shutil.copy(Path(work, f"{name}{suffix}"), folder / f"gimp_{name}{suffix}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
