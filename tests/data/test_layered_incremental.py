"""The cached compositor shows what compositing from scratch shows, whatever is shown and hidden in whatever order."""

from dataclasses import replace

import numpy as np
import pytest

from paintsundo.data.layered.compositing import Flattening, in_bytes, over_white
from paintsundo.data.layered.document import Document, Group, Layer, Mask, Pixels, mapped
from paintsundo.data.layered.incremental import Incremental
from paintsundo.data.layered.rules import GIMP_LEGACY, KRITA, NORMAL

SIZE = 24, 32
MODES = ("multiply", "screen", "overlay", "erase", "behind", "destination-in", "hue")


def layer(random, mode=None):
    height, width = (int(n) for n in random.integers(4, 20, 2))
    y, x = (int(n) for n in random.integers(-5, 20, 2))
    pixels = Pixels(x, y, random.integers(0, 256, (height, width, 4), np.uint8))
    blend = KRITA[mode] if mode else NORMAL
    if random.random() < 0.15:
        blend = blend.atop()
    masks = (lambda: Mask(3, 2, np.full((9, 9), 0.4, np.float32), 0.8),) if random.random() < 0.2 else ()
    return Layer(f"layer {x}", lambda: pixels, opacity=float(random.uniform(0.3, 1)), blend=blend, masks=masks)


def tree(random, depth=0):
    children = []
    for _ in range(int(random.integers(2, 40 if depth == 0 else 5))):
        if depth < 3 and random.random() < 0.2:
            children.append(tree(random, depth + 1))
        else:
            children.append(layer(random, random.choice(MODES) if random.random() < 0.25 else None))
    if depth == 0:
        return Group("root", tuple(children))
    blend = KRITA[random.choice(MODES)] if random.random() < 0.3 else NORMAL
    through = random.random() < 0.3
    return Group("group", tuple(children), opacity=float(random.choice([1, 0.6])), blend=blend, through=through)


def from_scratch(document, shown):
    root = mapped(document.root, lambda leaf: replace(leaf, visible=id(leaf.load) in shown), lambda group: group)

    def without_empty(group):
        children = [without_empty(child) if isinstance(child, Group) else child for child in group.children]
        visible = any(child.visible for child in children)
        return replace(group, children=tuple(children), visible=visible or group.name == "root")

    changed = replace(document, root=without_empty(root))
    return in_bytes(over_white(Flattening(changed).canvas(), document.linear))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("linear", [False, True])
def test_equals_compositing_from_scratch(seed, linear):
    random = np.random.default_rng(seed)
    document = Document(SIZE, tree(random), "test", linear=linear, background=(0.2, 0.5, 0.9, 0.5 * (seed % 2)))
    leaves = [leaf for leaf, _ in document.leaves()]
    incremental, shown = Incremental(document), set()
    order = list(random.permutation(len(leaves)))[:25] + list(range(len(leaves)))[:10]
    for k in order:
        leaf = leaves[k]
        shown ^= {id(leaf.load)}
        incremental.show(leaf, id(leaf.load) in shown)
        apart = np.abs(incremental.picture().astype(int) - from_scratch(document, shown)).max()
        assert apart <= 1


def test_a_group_that_did_not_change_is_not_composited_again():
    random = np.random.default_rng(0)
    loads = []

    def counted(one):
        def load():
            loads.append(one.name)
            return one.load()

        return replace(one, load=load)

    inner = Group("inner", tuple(counted(layer(random)) for _ in range(50)), blend=KRITA["multiply"])
    tops = tuple(counted(layer(random)) for _ in range(50))
    document = Document(SIZE, Group("root", (inner, *tops)), "test")
    incremental = Incremental(document)
    for leaf in inner.children:
        incremental.show(leaf)
    incremental.picture()
    loads.clear()
    for leaf in tops:
        incremental.show(leaf)
        incremental.picture()
    assert len(loads) <= 3 * len(tops)  # n layers in depth order cost about n, not n²


def test_plain_layers_above_are_merged():
    many = tuple(layer(np.random.default_rng(k)) for k in range(200))
    many = tuple(replace(one, blend=NORMAL) for one in many)
    loads = []
    many = tuple(replace(one, load=lambda one=one: loads.append(1) or one.load()) for one in many)
    document = Document(SIZE, Group("root", many), "test")
    incremental = Incremental(document)
    for leaf in many[100:]:
        incremental.show(leaf)
    incremental.picture()
    loads.clear()
    for leaf in many[:100]:  # below those that are shown: each step lays blocks, not layers
        incremental.show(leaf)
        incremental.picture()
    assert len(loads) < 100 * 40


def test_gimp_mixes_groups_in_light():
    black = Layer("black", lambda: Pixels(0, 0, np.full((*SIZE, 4), (0, 0, 0, 255), np.uint8)))
    white = Layer("white", lambda: Pixels(0, 0, np.full((*SIZE, 4), 255, np.uint8)), blend=GIMP_LEGACY["norm"])
    group = Group("through", (white,), opacity=0.5, through=True)
    for in_light, value in ((False, 128), (True, 188)):
        document = Document(SIZE, Group("root", (black, group)), "test", through_in_light=in_light)
        incremental = Incremental(document)
        incremental.show(black)
        incremental.show(white)
        assert abs(int(incremental.picture()[0, 0, 0]) - value) <= 1
