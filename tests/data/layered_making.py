"""OpenRaster and Krita files made by hand, sound ones and hostile ones."""

import io
import struct
import zipfile

import numpy as np
from PIL import Image

from paintsundo.data.source import Item


def png(width=32, height=24, colour=(200, 40, 40, 255)):
    out = io.BytesIO()
    Image.new("RGBA", (width, height), colour).save(out, "PNG")
    return out.getvalue()


def archive(members, compression=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return out.getvalue()


def ora(stack, size=(32, 24), **members):
    xml = f'<image w="{size[0]}" h="{size[1]}"><stack>{stack}</stack></image>'
    files = {"mimetype": "image/openraster", "stack.xml": xml, "data/a.png": png()}
    return archive({**files, **{name.replace("__", "/"): data for name, data in members.items()}})


def kra(layers, size=(32, 24), space="RGBA", **members):
    xml = (
        '<?xml version="1.0"?><!DOCTYPE DOC PUBLIC "-//KDE//DTD krita 2.0//EN" "http://www.calligra.org/DTD/krita.dtd">'
        f'<DOC xmlns="http://www.calligra.org/DTD/krita"><IMAGE name="art" width="{size[0]}" height="{size[1]}" '
        f'colorspacename="{space}"><layers>{layers}</layers></IMAGE></DOC>'
    )
    files = {"mimetype": "application/x-krita", "maindoc.xml": xml}
    files["art/layers/layer2"] = tile_data((10, 120, 220, 255))
    return archive({**files, **{f"art/layers/{name}": data for name, data in members.items()}})


def tile_data(colour):
    tile = np.zeros((64, 64, 4), np.uint8)
    tile[:20, :28] = colour
    head = b"VERSION 2\nTILEWIDTH 64\nTILEHEIGHT 64\nPIXELSIZE 4\nDATA 1\n"
    return head + f"0,0,LZF,{tile.nbytes + 1}\n".encode() + b"\0" + tile.tobytes()


PAINT = '<layer nodetype="paintlayer" name="a" filename="layer2" opacity="255" visible="1"/>'


def psd_header(width, height, channels=3, depth=8, mode=3, version=1):
    return b"8BPS" + struct.pack(">H6xHIIHH", version, channels, height, width, depth, mode)


def item(data, name):
    return Item(name, data, {"subject": "test", "source": f"tests/{name}"})
