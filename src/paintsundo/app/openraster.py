"""Writing OpenRaster files (.ora), the layered format that Krita, GIMP, MyPaint and others open.

Specification: https://www.openraster.org/baseline/file-layout-spec.html (version 0.0.3). A zip whose first member is
`mimetype`, stored; `stack.xml` lists the layers from the top; each layer is a PNG of its own; `mergedimage.png` is
what they show together, `Thumbnails/thumbnail.png` a small copy of it.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from PIL import Image

from paintsundo.errors import UserError
from paintsundo.pipelines.provenance import Provenance
from paintsundo.pipelines.writers import whole

THUMBNAIL = 256  # pixels of the longer side, the most that the specification allows


@dataclass(frozen=True)
class Layer:
    """An opaque layer that covers the canvas.

    Attributes:
        name: shown in the painting program's list of layers.
        file: a PNG; its bytes become the layer's, metadata included.
    """

    name: str
    file: Path


def write_openraster(file: Path, layers: Sequence[Layer], provenance: Provenance) -> None:
    """Write opaque layers, all visible, so that hiding them one by one from the top goes through them.

    Args:
        layers: from the top to the bottom, all of one size; the first is therefore the merged image.
        provenance: goes into the merged image, the thumbnail and the name of the picture.

    Raises:
        UserError: there is no layer, or sizes differ.
    """
    if not layers:
        raise UserError("there is no keyframe yet: nothing to put into layers")
    merged = Image.open(layers[0].file).convert("RGBA")
    width, height = merged.size
    root = ElementTree.Element(
        "image", version="0.0.3", w=str(width), h=str(height), xres="72", yres="72", name=provenance.statement
    )
    stack = ElementTree.SubElement(root, "stack")
    sources = []
    for index, layer in enumerate(layers):
        with Image.open(layer.file) as picture:
            if picture.size != (width, height):
                raise UserError(
                    f"layer {layer.name!r} is {picture.width}×{picture.height} pixels and the picture {width}×{height}"
                )
        sources.append(f"data/{index:03d}.png")
        ElementTree.SubElement(
            stack,
            "layer",
            {
                "name": layer.name,
                "src": sources[-1],
                "x": "0",
                "y": "0",
                "opacity": "1.0",
                "visibility": "visible",
                "composite-op": "svg:src-over",
            },
        )
    small = merged.copy()
    small.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    with whole(file) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        _store(archive, "mimetype", b"image/openraster")
        xml = ElementTree.tostring(root, encoding="UTF-8", xml_declaration=True)
        _store(archive, "stack.xml", xml, zipfile.ZIP_DEFLATED)
        for layer, source in zip(layers, sources, strict=True):
            _store(archive, source, layer.file.read_bytes())
        _store(archive, "Thumbnails/thumbnail.png", _png(small, provenance))
        _store(archive, "mergedimage.png", _png(merged, provenance))


def _store(archive: zipfile.ZipFile, name: str, data: bytes, method: int = zipfile.ZIP_STORED) -> None:
    # A ZipInfo of its own: the earliest date instead of now, so that equal layers make equal files.
    archive.writestr(zipfile.ZipInfo(name), data, method)


def _png(picture: Image.Image, provenance: Provenance) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "PNG", pnginfo=provenance.png())
    return stream.getvalue()
