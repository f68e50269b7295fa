"""Photoshop files that no free program writes (clipping, fill opacity, vector masks, adjustment layers), built and
composited by psd-tools, whose compositor is not ours.
"""

import io
from types import SimpleNamespace

import numpy as np
import pytest
from layered_making import item
from PIL import Image

from paintsundo.data.layered.compositing import Flattening, in_bytes, over_white
from paintsundo.data.layered.limits import Limits
from paintsundo.data.layered.opening import opened
from paintsundo.data.layered.photoshop import read
from paintsundo.data.layered.photoshop_paths import vector_mask
from paintsundo.data.source import Canvas, Unusable
from paintsundo.data.sources.layered import LayeredSource

psd_tools = pytest.importorskip("psd_tools")
SIZE = 30, 40


def image(random, width, height, low=0):
    values = random.integers(0, 256, (height, width, 4), np.uint8)
    values[..., 3] = np.maximum(values[..., 3], low)
    return Image.fromarray(values, "RGBA")


def saved(file):
    out = io.BytesIO()
    file.save(out)
    return out.getvalue()


def ours(data):
    document = read(io.BytesIO(data), Limits())[0]
    return in_bytes(over_white(Flattening(document).canvas(), False)), document


def theirs(data):
    picture = psd_tools.PSDImage.open(io.BytesIO(data)).composite(force=True).convert("RGBA")
    return np.asarray(Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB"))


def new():
    return psd_tools.PSDImage.new("RGB", (SIZE[1], SIZE[0]))


@pytest.mark.parametrize("mode", ["NORMAL", "MULTIPLY", "SCREEN", "OVERLAY", "HARD_LIGHT", "LINEAR_BURN", "LUMINOSITY"])
@pytest.mark.parametrize("opacity", [255, 140])
def test_clipping(mode, opacity):
    from psd_tools.constants import BlendMode

    random = np.random.default_rng(opacity + len(mode))
    file = new()
    file.create_pixel_layer(image(random, *SIZE[::-1], 255), name="paper")
    file.create_pixel_layer(image(random, 30, 20), name="base", top=2, left=3, opacity=opacity)
    for name in ("one", "two"):
        layer = file.create_pixel_layer(image(random, 25, 25), name=name, top=1, left=6, blend_mode=BlendMode[mode])
        layer.clipping = True
    file.create_pixel_layer(image(random, 10, 10), name="above", top=15, left=20)
    data = saved(file)
    found, document = ours(data)
    assert np.abs(found.astype(int) - theirs(data)).max() <= 2
    assert [node.name for node in document.root.children] == ["paper", "base", "above"]
    assert [node.name for node in document.root.children[1].children] == ["base", "one", "two"]


@pytest.mark.parametrize("mode", ["PASS_THROUGH", "NORMAL", "MULTIPLY"])
def test_groups(mode):
    from psd_tools.constants import BlendMode

    random = np.random.default_rng(5)
    file = new()
    file.create_pixel_layer(image(random, *SIZE[::-1], 255), name="paper")
    group = file.create_group(name="group", opacity=200, blend_mode=BlendMode[mode])
    for name in ("a", "b"):
        layer = file.create_pixel_layer(image(random, 20, 20), name=name, top=4, left=7, blend_mode=BlendMode.MULTIPLY)
        group.append(layer)
    data = saved(file)
    found, document = ours(data)
    assert document.root.children[1].through == (mode == "PASS_THROUGH")
    assert np.abs(found.astype(int) - theirs(data)).max() <= 2


def test_a_hidden_base_hides_what_is_clipped_to_it():
    random = np.random.default_rng(6)
    file = new()
    file.create_pixel_layer(image(random, *SIZE[::-1], 255), name="paper")
    base = file.create_pixel_layer(image(random, 30, 20), name="base")
    clipped = file.create_pixel_layer(image(random, 30, 20), name="clipped")
    base.visible, clipped.clipping = False, True
    found, _ = ours(saved(file))
    assert np.abs(found.astype(int) - np.asarray(file[0].topil().convert("RGB"))).max() <= 1


def test_a_mask_hides_and_a_switched_off_one_does_not():
    file = new()
    layer = file.create_pixel_layer(Image.new("RGB", SIZE[::-1], (10, 20, 200)), name="a")
    mask = Image.new("L", (20, 10), 0)
    mask.paste(255, (0, 0, 10, 10))
    if layer.has_mask():
        layer.remove_mask()
    layer.create_mask(mask)
    found, _ = ours(saved(file))
    assert found[5, 5].tolist() == [10, 20, 200]
    assert found[5, 15].tolist() == [255, 255, 255]
    layer.mask.disabled = True
    assert (ours(saved(file))[0] == (10, 20, 200)).all()


def test_stages_of_a_photoshop_file():
    random = np.random.default_rng(8)
    file = new()
    for name in ("flats", "shadow", "line art"):
        file.create_pixel_layer(image(random, *SIZE[::-1]), name=name)
    process = LayeredSource().draw(item(with_merged(file), "a.psd"), Canvas(64), 0, 0)
    assert [layer["stage"] for layer in process.extra["layers"]] == ["line", "flats", "shading"]


def with_merged(file):
    """The file's bytes with psd-tools' composite as its flattened picture, which lies unpacked at the end."""
    data = saved(file)
    planes = np.ascontiguousarray(theirs(data).transpose(2, 0, 1)).tobytes()
    end = psd_tools.PSDImage.open(io.BytesIO(data))._record.image_data
    whole = len(data) - len(end.data) - 2
    return data[:whole] + b"\0\0" + planes


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda layer, tags: tags.set_data("BLEND_FILL_OPACITY", 100), ""),
        (lambda layer, tags: tags.set_data("KNOCKOUT_SETTING", 1), "knockout of 'a'"),
    ],
)
def test_settings_of_layers_are_taken_or_named(change, words):
    from psd_tools.constants import Tag
    from psd_tools.psd.tagged_blocks import ByteElement

    file = new()
    layer = file.create_pixel_layer(Image.new("RGB", SIZE[::-1], (0, 0, 0)), name="a")

    class Tags:
        @staticmethod
        def set_data(name, value):
            from psd_tools.psd.tagged_blocks import TaggedBlock

            tag = getattr(Tag, name)
            layer.tagged_blocks[tag] = TaggedBlock(key=tag, data=ByteElement(value))

    change(layer, Tags)
    found, document = ours(saved(file))
    assert document.unsupported == ((words,) if words else ())
    assert found[0, 0, 0] == (0 if words else 155)


def test_modes_of_other_programs_are_told_by_the_flattened_picture():
    random = np.random.default_rng(9)
    file = new()
    file.create_pixel_layer(image(random, *SIZE[::-1], 255), name="a")
    data = with_merged(file)
    assert opened(io.BytesIO(data), "a.psd", Limits()).agreement.holds
    broken = data[:-3600] + bytes(3600)  # another flattened picture
    assert not opened(io.BytesIO(broken), "a.psd", Limits()).agreement.holds
    with pytest.raises(Unusable, match="agrees"):
        LayeredSource().draw(item(broken, "a.psd"), Canvas(64), 0, 0)


def square(left, top, right, bottom, operation):
    corners = [(top, left), (top, right), (bottom, right), (bottom, left)]
    knots = [SimpleNamespace(anchor=p, leaving=p, preceding=p) for p in corners]

    class Path(list):
        pass

    path = Path(knots)
    path.operation = operation
    return path


@pytest.mark.parametrize(
    ("operation", "expected"),
    [(1, (1, 1, 1, 0)), (2, (1, 0, 0, 0)), (3, (0, 1, 0, 0)), (0, (1, 0, 1, 0))],
)
def test_vector_masks(operation, expected):
    paths = [square(0, 0, 0.5, 1, 1), square(0.25, 0, 0.75, 1, operation)]
    mask = SimpleNamespace(paths=paths, initial_fill_rule=0, inverted=False)
    found = vector_mask(mask, (20, 40)).values[10]
    assert tuple(found[[4, 14, 24, 34]].round(3)) == expected
    inverse = vector_mask(SimpleNamespace(paths=paths, initial_fill_rule=0, inverted=True), (20, 40)).values[10]
    assert np.allclose(found + inverse, 1)
