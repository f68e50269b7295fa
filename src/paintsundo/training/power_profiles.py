"""Least squares between power-function profiles: which sum of stored averages is closest to a wanted one.

Karras et al. 2024, "Analyzing and Improving the Training Dynamics of Diffusion Models", appendix C.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from paintsundo.training.averages import power_exponent


@dataclass(frozen=True)
class Combination:
    """A sum of stored averages.

    Attributes:
        coefficients: one per stored average; they add up to 1.
        residual: distance of the sum's profile from the wanted one, relative to the wanted one's norm.
    """

    coefficients: np.ndarray
    residual: float


def inner_product(t1: np.ndarray, gamma1: np.ndarray, t2: np.ndarray, gamma2: np.ndarray) -> np.ndarray:
    """∫ p₁ p₂ dτ of the profiles p(τ) = (γ + 1) τ^γ / t^(γ+1), 0 ≤ τ ≤ t; arrays are broadcast.

    (γ₁ + 1)(γ₂ + 1)/(γ₁ + γ₂ + 1) · min(t₁, t₂)^(γ₁+γ₂+1) / (t₁^(γ₁+1) t₂^(γ₂+1)), the powers as logarithms, which
    neither overflow nor vanish.
    """
    power = (gamma1 + gamma2 + 1) * np.log(np.minimum(t1, t2)) - (gamma1 + 1) * np.log(t1) - (gamma2 + 1) * np.log(t2)
    return (gamma1 + 1) * (gamma2 + 1) / (gamma1 + gamma2 + 1) * np.exp(power)


def combine(times: Sequence[float], stds: Sequence[float], time: float, std: float) -> Combination:
    """The combination of averages over (times[i], stds[i]) whose profile is closest to that of (time, std).

    Closest among those whose coefficients add up to 1, as every profile's mass is 1: the published algorithm
    divides by the sum afterwards, which is as good with many snapshots and worse with few.

    Args:
        times: steps averaged by each, > 0.
        stds: relative width of each; no pair (time, std) twice.
        time, std: what is wanted.
    """
    count = len(times)
    if (time, std) in set(zip(times, stds, strict=True)):
        coefficients = np.array([float(pair == (time, std)) for pair in zip(times, stds, strict=True)])
        return Combination(coefficients, 0.0)
    t, gamma = np.asarray(times, np.float64), np.array([power_exponent(s) for s in stds])
    wanted_t, wanted_gamma = np.array(float(time)), np.array(power_exponent(std))
    gram = inner_product(t[:, None], gamma[:, None], t[None], gamma[None])
    towards = inner_product(t, gamma, wanted_t, wanted_gamma)
    own = float(inner_product(wanted_t, wanted_gamma, wanted_t, wanted_gamma))
    # The condition on the sum joins the normal equations by a Lagrange multiplier; all rows are brought to size 1.
    norm = np.sqrt(np.diag(gram))
    system = np.zeros((count + 1, count + 1))
    system[:count, :count] = gram / norm[:, None] / norm[None]
    system[count, :count] = system[:count, count] = norm.min() / norm
    right = np.append(towards / norm, norm.min())
    coefficients = np.linalg.lstsq(system, right, rcond=None)[0][:count] / norm
    coefficients /= coefficients.sum()  # rounding only
    squared = coefficients @ gram @ coefficients - 2 * towards @ coefficients + own
    return Combination(coefficients, float(np.sqrt(max(0.0, squared) / own)))
