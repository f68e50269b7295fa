"""Run inside Krita (`kritarunner -s krita_script JOB.json`): makes files from recipes and saves them.

The job lists recipes, raw pixels and the names to save under. Krita's own Python has no numpy.
"""

import base64
import json
import os
import re
import time
import traceback
import zipfile

from krita import InfoObject, Krita, Selection


def color(document, rgba):
    from PyQt5.QtGui import QColor

    return QColor(*rgba)


def build(document, parent, node, pictures, originals):
    kind = node["type"]
    if kind == "group":
        made = document.createGroupLayer(node["name"])
        parent.addChildNode(made, None)
        for child in node["children"]:
            build(document, made, child, pictures, originals)
        made.setPassThroughMode(bool(node.get("through")))
    elif kind == "paint":
        made = document.createNode(node["name"], "paintlayer")
        parent.addChildNode(made, None)
        width, height, data = pictures[node["image"]]
        made.setPixelData(data, node.get("x", 0), node.get("y", 0), width, height)
    elif kind == "vector":
        made = document.createVectorLayer(node["name"])
        parent.addChildNode(made, None)
    elif kind == "fill":
        info = InfoObject()
        info.setProperty("color", node["color"])
        selection = Selection()
        selection.select(0, 0, document.width(), document.height(), 255)
        made = document.createFillLayer(node["name"], "color", info, selection)
        parent.addChildNode(made, None)
        settle()
    elif kind == "clone":
        made = document.createCloneLayer(node["name"], originals[node["of"]])
        parent.addChildNode(made, None)
        made.move(node.get("x", 0), node.get("y", 0))
    elif kind == "filter":
        selection = Selection()
        selection.select(0, 0, document.width(), document.height(), 255)
        made = document.createFilterLayer(node["name"], Krita.instance().filter("invert"), selection)
        parent.addChildNode(made, None)
    originals[node["name"]] = made
    made.setBlendingMode(node.get("mode", "normal"))
    made.setOpacity(node.get("opacity", 255))
    made.setVisible(node.get("visible", True))
    if node.get("clip"):
        made.setInheritAlpha(True)
    if "mask" in node:
        width, height, data = pictures["mask " + node["mask"]]
        selection = Selection()
        selection.setPixelData(data, 0, 0, width, height)
        made.addChildNode(document.createFilterMask(TO_BE_MASK, Krita.instance().filter("invert"), selection), None)
    if "filter_mask" in node:
        selection = Selection()
        selection.select(0, 0, document.width(), document.height(), 255)
        made.addChildNode(
            document.createFilterMask("filter", Krita.instance().filter(node["filter_mask"]), selection), None
        )


TO_BE_MASK = "to be a transparency mask"


def settle():
    """Shapes and fills are painted when events are handled."""
    from PyQt5.QtWidgets import QApplication

    for _ in range(10):
        QApplication.processEvents()
        time.sleep(0.1)


def through_file(document, path):
    """Scripts of Krita 5.1 cannot add transparency masks, nor shapes without a window: filter masks are renamed and
    shapes put in, in a file that Krita then reads."""
    document.saveAs(path)
    document.waitForDone()
    document.close()
    changed = path + ".changed.kra"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "maindoc.xml":
                text = data.decode()
                for element in re.findall("<mask [^>]*>", text):
                    if TO_BE_MASK in element:
                        other = re.sub(' filter(name|version)="[^"]*"', "", element).replace(TO_BE_MASK, "mask")
                        text = text.replace(element, other.replace('"filtermask"', '"transparencymask"'))
                data = text.encode()
            new.writestr(name, SHAPES if name.endswith("content.svg") else data)
    found = Krita.instance().openDocument(changed)
    found.setBatchmode(True)
    settle()
    found.refreshProjection()
    found.waitForDone()
    os.unlink(path)
    os.unlink(changed)
    return found


SHAPES = """<svg xmlns="http://www.w3.org/2000/svg" width="96pt" height="64pt" viewBox="0 0 96 64">
<rect x="10" y="8" width="40" height="30" fill="#d03060" stroke="#203040" stroke-width="3"/>
<path d="M50 50 C 60 10 80 10 90 50 Z" fill="#30a070" fill-opacity="0.6"/></svg>"""


def make(job, one):
    application = Krita.instance()
    pictures = {
        name: (picture[0], picture[1], base64.b64decode(picture[2])) for name, picture in one["pictures"].items()
    }
    width, height = job["size"]
    profile = {"RGBA": "sRGB-elle-V2-srgbtrc.icc", "GRAYA": "Gray-D50-elle-V2-srgbtrc.icc"}[one["model"]]
    document = application.createDocument(width, height, one["name"], one["model"], one["depth"], profile, 72.0)
    document.setBatchmode(True)
    root = document.rootNode()
    for node in root.childNodes():
        node.remove()
    if one.get("background"):
        document.setBackgroundColor(color(document, one["background"]))
    originals = {}
    for node in one["layers"]:
        build(document, root, node, pictures, originals)
    document.refreshProjection()
    document.waitForDone()
    if any(word in json.dumps(one["layers"]) for word in ('"mask"', '"vector"')):
        document = through_file(document, one["save"][0] + ".tmp.kra")
    for path in one["save"]:
        if path.endswith(".kra"):
            document.saveAs(path)
        else:
            document.exportImage(path, InfoObject())
        document.waitForDone()
    document.close()


def __main__(arguments):
    application = Krita.instance()
    application.setBatchmode(True)
    with open(arguments[0], encoding="utf-8") as file:
        job = json.load(file)
    for one in job["recipes"]:
        try:
            make(job, one)
            print("made", one["name"], flush=True)
        except Exception:
            print("failed", one["name"], flush=True)
            traceback.print_exc()
