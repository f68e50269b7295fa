"""Blend functions B(source, backdrop) of painting programs, on straight colours.

Sources: W3C Compositing and Blending Level 1; Adobe PDF 1.7 reference, 11.3.5; the documentation of Krita's and GIMP's
blending modes. Values are float32, nominally 0 … 1, any leading shape, channels last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float32]
BlendFunction = Callable[[Values, Values], Values]
Weights = tuple[float, float, float]

LUMA: Weights = (0.299, 0.587, 0.114)
PHOTOSHOP_LUMA: Weights = (0.3, 0.59, 0.11)
GIMP_LUMINANCE: Weights = (0.22248840, 0.71690369, 0.06060791)
_TINY = 1e-6
_HALF = 127.5 / 255


def _clipped(values: Values) -> Values:
    return np.clip(values, 0, 1)


def _quotient(above: Values, below: Values, otherwise: Values | float) -> Values:
    """above / below where below > 0."""
    safe = below > _TINY
    return np.where(safe, above / np.where(safe, below, 1), otherwise)


def normal(s: Values, b: Values) -> Values:
    return s


def multiply(s: Values, b: Values) -> Values:
    return s * b


def screen(s: Values, b: Values) -> Values:
    return s + b - s * b


def hard_light(s: Values, b: Values) -> Values:
    return np.where(s > 0.5, screen(2 * s - 1, b), 2 * s * b)


def overlay(s: Values, b: Values) -> Values:
    return hard_light(b, s)


def darken(s: Values, b: Values) -> Values:
    return np.minimum(s, b)


def lighten(s: Values, b: Values) -> Values:
    return np.maximum(s, b)


def color_dodge(s: Values, b: Values) -> Values:
    """Black stays black under any source (W3C)."""
    return np.where(b <= _TINY, 0, _clipped(_quotient(b, 1 - s, 1)))


def color_dodge_white(s: Values, b: Values) -> Values:
    """A white source gives white even on black (Krita)."""
    return np.where(s >= 1 - _TINY, 1, _clipped(_quotient(b, 1 - s, 1)))


def color_burn(s: Values, b: Values) -> Values:
    return np.where(b >= 1 - _TINY, 1, 1 - _clipped(_quotient(1 - b, s, 1)))


def soft_light(s: Values, b: Values) -> Values:
    """Photoshop's and Krita's: a square root for light sources."""
    root = np.sqrt(np.maximum(b, 0))
    return np.where(s > 0.5, b + (2 * s - 1) * (root - b), b - (1 - 2 * s) * b * (1 - b))


def soft_light_svg(s: Values, b: Values) -> Values:
    """W3C's: a polynomial for dark backdrops."""
    lifted = np.where(b > 0.25, np.sqrt(np.maximum(b, 0)), ((16 * b - 12) * b + 4) * b)
    return np.where(s > 0.5, b + (2 * s - 1) * (lifted - b), b - (1 - 2 * s) * b * (1 - b))


def soft_light_gimp(s: Values, b: Values) -> Values:
    """GIMP's, without a square root: also what its legacy overlay does."""
    return (1 - b) * s * b + b * screen(s, b)


def difference(s: Values, b: Values) -> Values:
    return np.abs(s - b)


def exclusion(s: Values, b: Values) -> Values:
    return s + b - 2 * s * b


def addition(s: Values, b: Values) -> Values:
    return _clipped(s + b)


def addition_unbounded(s: Values, b: Values) -> Values:
    """GIMP's: what is too bright is cut off after it is mixed."""
    return s + b


def subtract_unbounded(s: Values, b: Values) -> Values:
    return b - s


def linear_burn_unbounded(s: Values, b: Values) -> Values:
    return s + b - 1


def linear_light_unbounded(s: Values, b: Values) -> Values:
    return b + 2 * s - 1


def divide_unbounded(s: Values, b: Values) -> Values:
    return np.where(b > _TINY, b / np.maximum(s, _TINY), 0)


def color_dodge_unbounded(s: Values, b: Values) -> Values:
    return divide_unbounded(1 - s, b)


def color_burn_unbounded(s: Values, b: Values) -> Values:
    return 1 - divide_unbounded(s, 1 - b)


def subtract(s: Values, b: Values) -> Values:
    return _clipped(b - s)


def inverse_subtract(s: Values, b: Values) -> Values:
    return _clipped(b - (1 - s))


def divide(s: Values, b: Values) -> Values:
    return _clipped(_quotient(b, s, np.where(b <= _TINY, 0.0, 1.0)))


def linear_burn(s: Values, b: Values) -> Values:
    return _clipped(s + b - 1)


def linear_light(s: Values, b: Values) -> Values:
    return _clipped(b + 2 * s - 1)


def vivid_light(s: Values, b: Values) -> Values:
    burnt = 1 - _clipped(_quotient(1 - b, 2 * s, np.where(b >= 1 - _TINY, 0.0, 1.0)))
    dodged = _clipped(_quotient(b, 2 * (1 - s), np.where(b <= _TINY, 0.0, 1.0)))
    return np.where(s < 0.5, burnt, dodged)


def pin_light(s: Values, b: Values) -> Values:
    return np.maximum(2 * s - 1, np.minimum(b, 2 * s))


def hard_mix(s: Values, b: Values) -> Values:
    """Photoshop's: every channel on or off."""
    return np.asarray(s + b > 1, np.float32)


def hard_mix_inclusive(s: Values, b: Values) -> Values:
    """GIMP's: on where both make white exactly, too."""
    return np.asarray(s + b >= 1 - 1e-4, np.float32)


def hard_mix_soft(s: Values, b: Values) -> Values:
    """Krita's "hard mix": dodge the light, burn the dark."""
    return np.where(b > 0.5, color_dodge_white(s, b), color_burn(s, b))


def grain_merge(s: Values, b: Values) -> Values:
    return _clipped(b + s - _HALF)


def grain_extract(s: Values, b: Values) -> Values:
    return _clipped(b - s + _HALF)


def allanon(s: Values, b: Values) -> Values:
    return np.float32(0.5) * (s + b)


def geometric_mean(s: Values, b: Values) -> Values:
    return np.sqrt(s * b)


def parallel(s: Values, b: Values) -> Values:
    return _clipped(2 * s * b / np.maximum(s + b, _TINY))


def gamma_light(s: Values, b: Values) -> Values:
    return np.power(b, s)


def gamma_dark(s: Values, b: Values) -> Values:
    return np.where(s <= _TINY, 0, np.power(b, 1 / np.maximum(s, _TINY)))


def negation(s: Values, b: Values) -> Values:
    return 1 - np.abs(1 - s - b)


def easy_dodge(s: Values, b: Values) -> Values:
    return np.where(s >= 1 - _TINY, 1, np.power(b, (1 - np.minimum(s, 1)) * np.float32(1.039999999)))


def easy_burn(s: Values, b: Values) -> Values:
    return 1 - np.power(1 - np.minimum(s, np.float32(0.999999)), b * np.float32(1.039999999))


def arc_tangent(s: Values, b: Values) -> Values:
    return (np.arctan2(s, b) * (2 / np.pi)).astype(np.float32)


# Modes that look at the whole colour. A model of lightness is a function of the colour; Krita has four.


def _luma(weights: Weights, c: Values) -> Values:
    return (c @ np.array(weights, np.float32))[..., None]


def _mean(c: Values) -> Values:
    return c.mean(axis=-1, keepdims=True)


def _middle(c: Values) -> Values:
    return (c.max(axis=-1, keepdims=True) + c.min(axis=-1, keepdims=True)) / 2


def _value(c: Values) -> Values:
    return c.max(axis=-1, keepdims=True)


def _chroma(c: Values) -> Values:
    return c.max(axis=-1, keepdims=True) - c.min(axis=-1, keepdims=True)


def _saturation_hsl(c: Values) -> Values:
    span = 1 - np.abs(2 * _middle(c) - 1)
    return _quotient(_chroma(c), span, 1.0) * (span > _TINY) + (span <= _TINY)


def _saturation_hsv(c: Values) -> Values:
    return _quotient(_chroma(c), _value(c), 0)


def _saturation_hsi(c: Values) -> Values:
    return np.where(_chroma(c) > _TINY, 1 - _quotient(c.min(axis=-1, keepdims=True), _mean(c), 0), 0)


Measure = Callable[[Values], Values]
MODELS: Mapping[str, tuple[Measure, Measure]] = {  # lightness, saturation
    "hsy": (partial(_luma, LUMA), _chroma),
    "photoshop": (partial(_luma, PHOTOSHOP_LUMA), _chroma),
    "gimp": (partial(_luma, GIMP_LUMINANCE), _chroma),
    "hsi": (_mean, _saturation_hsi),
    "hsl": (_middle, _saturation_hsl),
    "hsv": (_value, _saturation_hsv),
}


def _lightened(lightness: Measure, c: Values, by: Values) -> Values:
    """The colour with so much more lightness, brought back into range towards its grey (W3C ClipColor)."""
    c = c + by
    grey = lightness(c)
    low, high = c.min(axis=-1, keepdims=True), c.max(axis=-1, keepdims=True)
    c = np.where(low < 0, grey + (c - grey) * grey / np.maximum(grey - low, _TINY), c)
    return np.where(
        (high > 1) & (high - grey > _TINY), grey + (c - grey) * (1 - grey) / np.maximum(high - grey, _TINY), c
    )


def _with_saturation(c: Values, saturation: Values) -> Values:
    low, span = c.min(axis=-1, keepdims=True), _chroma(c)
    return np.where(span > 0, (c - low) * saturation / np.where(span > 0, span, 1), 0)


def hue(model: str, s: Values, b: Values) -> Values:
    lightness, saturation = MODELS[model]
    c = _with_saturation(s, saturation(b))
    return _lightened(lightness, c, lightness(b) - lightness(c))


def saturation(model: str, s: Values, b: Values) -> Values:
    lightness, measure = MODELS[model]
    c = _with_saturation(b, measure(s))
    return _lightened(lightness, c, lightness(b) - lightness(c))


def color(model: str, s: Values, b: Values) -> Values:
    lightness, _ = MODELS[model]
    return _lightened(lightness, s, lightness(b) - lightness(s))


def luminosity(model: str, s: Values, b: Values) -> Values:
    lightness, _ = MODELS[model]
    return _lightened(lightness, b, lightness(s) - lightness(b))


def darker_color(model: str, s: Values, b: Values) -> Values:
    lightness, _ = MODELS[model]
    return np.where(lightness(b) < lightness(s), b, s)


def lighter_color(model: str, s: Values, b: Values) -> Values:
    lightness, _ = MODELS[model]
    return np.where(lightness(b) > lightness(s), b, s)


# GIMP's HSV and HSL modes convert to the model and back instead of moving along the greys.


def _to_hue(c: Values) -> Values:
    """Hue 0 … 6 of colours (…, 3); 0 for greys."""
    red, green, blue = c[..., 0], c[..., 1], c[..., 2]
    span = np.where(_chroma(c)[..., 0] > _TINY, _chroma(c)[..., 0], 1)
    top = c.argmax(axis=-1)
    found = np.choose(top, [(green - blue) / span % 6, (blue - red) / span + 2, (red - green) / span + 4])
    return np.where(_chroma(c)[..., 0] > _TINY, found, 0)


def _from_hue(hue_: Values, low: Values, high: Values) -> Values:
    """Colours (…, 3) of a hue between a lowest and a highest channel (…, 1)."""
    ramp = np.clip(np.abs((hue_[..., None] - np.array([0, 2, 4], np.float32) + 3) % 6 - 3), 0, 3)
    return low + (high - low) * np.clip(2 - ramp, 0, 1)


def gimp_hue(s: Values, b: Values) -> Values:
    """Hue of the source (HSV), unless it is grey."""
    high = _value(b)
    c = _from_hue(_to_hue(s), high * (1 - _saturation_hsv(b)), high)
    return np.where(_saturation_hsv(s) > _TINY, c, b)


def gimp_saturation(s: Values, b: Values) -> Values:
    """Saturation of the source (HSV); greys stay."""
    high = _value(b)
    return np.where(_chroma(b) > _TINY, _from_hue(_to_hue(b), high * (1 - _saturation_hsv(s)), high), b)


def gimp_saturation_legacy(s: Values, b: Values) -> Values:
    """The same, but the hue of a grey counts as red."""
    high = _value(b)
    low = high * (1 - _saturation_hsv(s))
    return np.where(_chroma(b) > _TINY, _from_hue(_to_hue(b), low, high), np.concatenate([high, low, low], axis=-1))


def gimp_value(s: Values, b: Values) -> Values:
    """The backdrop scaled to the source's HSV value."""
    return np.where(_value(b) > _TINY, b * _quotient(_value(s), _value(b), 0), _value(s) + 0 * b)


def gimp_color(s: Values, b: Values) -> Values:
    """Hue and saturation of the source, lightness of the backdrop (HSL)."""
    half = _saturation_hsl_plain(s) * (1 - np.abs(2 * _middle(b) - 1)) / 2
    return _from_hue(_to_hue(s), _middle(b) - half, _middle(b) + half)


def _saturation_hsl_plain(c: Values) -> Values:
    return _quotient(_chroma(c), 1 - np.abs(2 * _middle(c) - 1), 0)
