"""Blend functions and the compositing rule against independent implementations and analytic values."""

import numpy as np
import pytest
from PIL import Image, ImageChops

from paintsundo.data.layered import modes, rules
from paintsundo.data.layered.compositing import in_light, lay, over_white, to_encoded, to_light
from paintsundo.data.layered.rules import Blend

RANDOM = np.random.default_rng(7)
S = RANDOM.integers(0, 256, (40, 50, 3), np.uint8)
B = RANDOM.integers(0, 256, (40, 50, 3), np.uint8)


@pytest.mark.parametrize(
    ("function", "other", "levels"),
    [
        (modes.multiply, ImageChops.multiply, 1),
        (modes.screen, ImageChops.screen, 1),
        (modes.darken, ImageChops.darker, 0),
        (modes.lighten, ImageChops.lighter, 0),
        (modes.difference, ImageChops.difference, 0),
        (modes.addition, ImageChops.add, 0),
        (modes.subtract, lambda s, b: ImageChops.subtract(b, s), 0),
        (modes.overlay, lambda s, b: ImageChops.overlay(b, s), 2),
        (modes.hard_light, lambda s, b: ImageChops.hard_light(b, s), 2),
        (modes.soft_light_gimp, lambda s, b: ImageChops.soft_light(b, s), 2),
    ],
)
def test_functions_agree_with_pillow(function, other, levels):
    ours = np.round(255 * function(S.astype(np.float32) / 255, B.astype(np.float32) / 255))
    theirs = np.asarray(other(Image.fromarray(S), Image.fromarray(B))).astype(np.float32)
    assert np.abs(ours - theirs).max() <= levels


def test_every_function_keeps_to_colours():
    extremes = np.array([0, 1e-7, 0.25, 0.5, 0.75, 1], np.float32)
    s, b = (np.stack([a, a[::-1], np.roll(a, 3)], axis=-1) for a in np.meshgrid(extremes, extremes, indexing="ij"))
    for table in (rules.KRITA, rules.PHOTOSHOP, rules.OPENRASTER, rules.GIMP_LEGACY):
        for name, blend in table.items():
            with np.errstate(divide="raise", invalid="raise"):
                found = blend.function(s, b)
            assert found.min() >= -1e-5, name
            assert found.max() <= 1 + 1e-5, name


@pytest.mark.parametrize("model", sorted(modes.MODELS))
def test_colour_modes_take_their_parts_from_the_right_side(model):
    lightness, saturation = modes.MODELS[model]
    s = RANDOM.uniform(0.35, 0.65, (500, 3)).astype(np.float32)
    b = RANDOM.uniform(0.35, 0.65, (500, 3)).astype(np.float32)  # far from the borders: nothing is cut off
    assert np.allclose(lightness(modes.color(model, s, b)), lightness(b), atol=1e-4)
    assert np.allclose(lightness(modes.luminosity(model, s, b)), lightness(s), atol=1e-4)
    assert np.allclose(lightness(modes.hue(model, s, b)), lightness(b), atol=1e-4)
    same = modes.luminosity(model, b, b)
    assert np.allclose(same, b, atol=1e-5)
    assert (saturation(b) >= 0).all()


def test_mode_names_of_the_three_formats_mean_the_same_for_shared_modes():
    s, b = S.astype(np.float32) / 255, B.astype(np.float32) / 255
    for krita, photoshop, svg in (
        ("multiply", "mul ", "svg:multiply"),
        ("screen", "scrn", "svg:screen"),
        ("diff", "diff", "svg:difference"),
    ):
        values = [rules.KRITA[krita], rules.PHOTOSHOP[photoshop], rules.OPENRASTER[svg]]
        first, *others = (blend.function(s, b) for blend in values)
        assert all(np.array_equal(first, other) for other in others)


def canvas_of(alpha):
    colour = RANDOM.uniform(0, 1, (*alpha.shape, 3)).astype(np.float32)
    return np.dstack([colour * alpha[..., None], alpha])


def test_laying_follows_the_general_rule():
    source, under = (
        canvas_of(np.float32(RANDOM.uniform(0, 1, (9, 8)))),
        canvas_of(np.float32(RANDOM.uniform(0, 1, (9, 8)))),
    )
    for blend in (rules.KRITA["multiply"], rules.KRITA["normal"], rules.KRITA["hue"]):
        canvas = under.copy()
        lay(canvas, source, blend)
        a_s, a_b = source[..., 3:].astype(np.float64), under[..., 3:].astype(np.float64)
        c_s, c_b = source[..., :3] / a_s, under[..., :3] / a_b
        mixed = (1 - a_s) * a_b * c_b + a_s * (1 - a_b) * c_s + a_s * a_b * blend.function(c_s, c_b)
        assert np.allclose(canvas[..., :3], mixed, atol=1e-5), blend.name
        assert np.allclose(canvas[..., 3:], a_s + a_b - a_s * a_b, atol=1e-6)


@pytest.mark.parametrize("alpha", ["atop", "gimp"])
def test_clipped_layers_leave_opacity_alone(alpha):
    source, under = (
        canvas_of(np.float32(RANDOM.uniform(0, 1, (9, 8)))),
        canvas_of(np.float32(RANDOM.uniform(0, 1, (9, 8)))),
    )
    under[:3] = 0
    canvas = under.copy()
    lay(canvas, source, Blend("multiply", modes.multiply, alpha))
    assert np.array_equal(canvas[..., 3], under[..., 3])
    assert (canvas[:3] == 0).all()
    assert np.abs(canvas[3:] - under[3:]).max() > 0.05


def test_compositing_of_many_bands_equals_that_of_one():
    source, under = canvas_of(np.float32(RANDOM.uniform(0, 1, (400, 300)))), canvas_of(np.ones((400, 300), np.float32))
    whole = under.copy()
    lay(whole, source, rules.KRITA["overlay"])
    rows = under.copy()
    for k in range(400):
        lay(rows[k : k + 1], source[k : k + 1], rules.KRITA["overlay"])
    assert np.array_equal(whole, rows)


def test_half_white_over_black_in_light_and_encoded():
    canvas = np.zeros((1, 1, 4), np.float32)
    canvas[..., 3] = 1
    light = in_light(canvas)
    white = np.full((1, 1, 4), 0.5, np.float32)
    lay(canvas, white, rules.NORMAL)
    lay(light, white, rules.NORMAL, linear=True)
    assert over_white(canvas, False)[0, 0, 0] == pytest.approx(0.5)
    assert over_white(light, True)[0, 0, 0] == pytest.approx(0.7354, abs=1e-3)  # sRGB of half the light: 188 of 255
    values = np.linspace(0, 1, 100, dtype=np.float32)
    assert np.allclose(to_encoded(to_light(values)), values, atol=1e-5)
