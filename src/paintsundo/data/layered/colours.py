"""Colours of other profiles as sRGB."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from paintsundo.data.source import Unusable


def to_srgb(picture: NDArray[np.uint8], profile: bytes | None) -> NDArray[np.uint8]:
    """A picture (H, W, 3) whose values are meant by an ICC profile, RGB or grey, as sRGB. Raises Unusable."""
    if profile is None:
        return picture
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        if space not in ("RGB", "GRAY"):
            raise Unusable(f"a colour profile for {space}")
        mode = "RGB" if space == "RGB" else "L"
        change = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
        image = Image.fromarray(np.ascontiguousarray(picture if mode == "RGB" else picture[..., 0]), mode)
        changed = ImageCms.applyTransform(image, change)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        if isinstance(error, Unusable):
            raise
        raise Unusable(f"a colour profile that cannot be used: {error}") from error
    return np.asarray(changed)
