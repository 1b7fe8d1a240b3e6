"""Statistics of experiments: t tests, and the fit of a scaling law. NumPy alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, isclose, lgamma, log, sqrt

import numpy as np

from tinytensor.interop.safetensors_file import Array

_ALPHAS = np.linspace(0.01, 2.0, 400)  # exponents that a fit tries
_TINY = 1e-300


def welch(a: Sequence[float], b: Sequence[float]) -> float | None:
    """p-value of Welch's t test: how likely means that differ so much are, if both samples have the same.
    None if a sample has fewer than two values.

    t = (mean a - mean b) / sqrt(va / na + vb / nb), with degrees of freedom by Welch and Satterthwaite; p is
    two-sided.

    Source: Welch 1947, "The generalization of 'Student's' problem when several different population variances
        are involved".

    Example:
        >>> round(welch([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]), 4)
        0.0213
    """
    if min(len(a), len(b)) < 2:
        return None
    parts = [float(np.var(x, ddof=1)) / len(x) for x in (a, b)]
    gap, both = float(np.mean(a) - np.mean(b)), sum(parts)
    if both == 0:
        return 1.0 if gap == 0 else 0.0
    freedom = both * both / sum([v * v / (len(x) - 1) for v, x in zip(parts, (a, b), strict=True)])
    return two_sided(gap / sqrt(both), freedom)


def below(sample: Sequence[float], limit: float) -> float | None:
    """p-value of a one-sided t test: how likely so low a mean is, if the expected value is the limit. None
    for fewer than two values.

    Example:
        >>> round(below([0.9, 1.0, 1.1], 1.2), 4)
        0.0371
    """
    if len(sample) < 2:
        return None
    gap, error = limit - float(np.mean(sample)), float(np.std(sample, ddof=1)) / sqrt(len(sample))
    if error == 0:
        return 0.0 if gap > 0 else 1.0
    half = two_sided(gap / error, len(sample) - 1) / 2
    return half if gap >= 0 else 1 - half


def two_sided(t: float, freedom: float) -> float:
    """Probability that |T| >= |t| for Student's t distribution: I_x(freedom / 2, 1 / 2), x = f / (f + t²).

    I is the regularized incomplete beta function, by its continued fraction.

    Accuracy: 1e-12, absolute, against the closed forms of one to four degrees of freedom.
    Source: DLMF 8.17.22, evaluated by Lentz's method; Abramowitz and Stegun 26.7.1 for the relation.

    Example:
        >>> round(two_sided(2.776, 4), 4)
        0.05
    """
    x, y = freedom / (freedom + t * t), t * t / (freedom + t * t)  # which sum to 1
    a, b = freedom / 2, 0.5
    if y == 0 or x == 0:
        return 1.0 if y == 0 else 0.0
    if x < (a + 1) / (a + b + 2):
        return _beta_fraction(x, y, a, b)
    return 1 - _beta_fraction(y, x, b, a)


def _beta_fraction(x: float, y: float, a: float, b: float) -> float:
    """I_x(a, b) where the continued fraction converges fast: x < (a + 1) / (a + b + 2); y = 1 - x."""
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log(y)) / a
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1) or _TINY)
    value = d
    for m in range(1, 1000):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d, c = 1 / (1 + term * d or _TINY), 1 + term / c or _TINY
            value *= c * d
        if isclose(c * d, 1.0, rel_tol=1e-15):
            break
    return front * value


@dataclass(frozen=True)
class ScalingLaw:
    """L(N) = floor + factor / N^alpha, with the middle 95 % of the bootstrap for each, in this order, or
    None.
    """

    floor: float
    factor: float
    alpha: float
    intervals: tuple[tuple[float, float], ...] | None = None

    def at(self, size: float) -> float:
        """The loss at a size."""
        return float(self.floor + self.factor / size**self.alpha)

    def __str__(self) -> str:
        law = f"L(N) = {self.floor:.3f} + {self.factor:.4g} / N^{self.alpha:.3f}"
        if self.intervals is None:
            return law
        (a, b), _, (c, d) = self.intervals
        return f"{law}; 95 % by bootstrap: E {a:.3f} to {b:.3f}, alpha {c:.3f} to {d:.3f}"


def fit_scaling_law(
    sizes: Sequence[float], losses: Sequence[Sequence[float]], draws: int = 1000, seed: int = 0
) -> ScalingLaw:
    """Least-squares fit of L(N) = E + A / N^alpha to the mean losses, with E and A not negative.

    Args:
        sizes: N of each model, at least three different ones.
        losses: its losses over seeds.
        draws: of the bootstrap: losses of each model drawn with replacement; needs two seeds.

    Source: Hoffmann et al. 2022, arXiv:2203.15556, section 3.3, in one variable.

    Example:
        >>> law = fit_scaling_law([1e5, 2e5, 4e5, 8e5], [[1 + 50 * n**-0.35] for n in (1e5, 2e5, 4e5, 8e5)])
        >>> round(law.floor, 2), round(law.factor), round(law.alpha, 2)
        (1.0, 50, 0.35)
    """
    N = np.asarray(sizes, float)
    floor, factor, alpha = _fit(N, np.array([[np.mean(values) for values in losses]]))[0].tolist()
    if min(len(values) for values in losses) < 2:
        return ScalingLaw(floor, factor, alpha)
    rng = np.random.default_rng(seed)
    drawn = [rng.choice(values, (draws, len(values))).mean(1) for values in losses]
    low, high = np.quantile(_fit(N, np.stack(drawn, 1)), (0.025, 0.975), axis=0)
    return ScalingLaw(floor, factor, alpha, tuple(zip(low.tolist(), high.tolist(), strict=True)))


def _fit(N: Array, losses: Array) -> Array:
    """E, A and alpha, (D, 3), of the least squares for each row of losses (D, K): for each alpha that is
    tried, a straight line in N^-alpha.
    """
    scale = N.min()
    x = (N / scale) ** -_ALPHAS[:, None]  # (alphas, K)
    centred = x - x.mean(1, keepdims=True)
    slope = np.maximum(losses @ centred.T / (centred * centred).sum(1), 0)  # (D, alphas)
    floor = losses.mean(1, keepdims=True) - slope * x.mean(1)
    through_zero = losses @ x.T / (x * x).sum(1)
    slope = np.where(floor < 0, through_zero, slope)
    floor = np.maximum(floor, 0)
    error = ((floor[..., None] + slope[..., None] * x - losses[:, None]) ** 2).sum(-1)  # (D, alphas)
    rows, best = np.arange(len(losses)), error.argmin(1)
    alpha = _ALPHAS[best]
    return np.stack([floor[rows, best], slope[rows, best] * scale**alpha, alpha], axis=1)
