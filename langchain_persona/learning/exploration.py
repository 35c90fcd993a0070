"""Drawing what is shown instead of taking the best, and with which probability each candidate is among it.

`k` candidates are drawn without replacement from `softmax(scores / temperature)` (Plackett-Luce). Adding Gumbel noise
to the logits and taking the `k` largest is the same thing. All functions here take logits: scores over temperature.

Source: Kool, van Hoof and Welling, *Stochastic Beams and Where to Find Them*, ICML 2019; Plackett, 1975.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from langchain_persona.arrays import Vector

__all__ = ["gumbel_order", "inclusion", "list_log_probability"]

_STEP = 0.5
_EARLY, _LATE = -25.0, 5.0
_FLOOR = -60.0


def gumbel_order(logits: npt.ArrayLike, seed: int) -> list[int]:
    """All positions in drawn order: its first `k` are a draw of `k` without replacement.

    Args:
        logits: shape (n,).
        seed: names the draw; the same seed and logits give the same order.

    Example:
        >>> gumbel_order([0.0, -100.0, 100.0], seed=7)
        [2, 0, 1]
    """
    values = np.asarray(logits, dtype=np.float64)
    noisy = values + np.random.default_rng(seed).gumbel(size=values.size)
    return [int(position) for position in np.argsort(-noisy, kind="stable")]


def list_log_probability(logits: npt.ArrayLike, shown: Sequence[int]) -> float:
    """Log of the probability that exactly these are drawn, in this order.

    Args:
        logits: shape (n,).
        shown: positions, in the order in which they were shown.

    Example:
        Two of three alike, in one of six orders:

        >>> round(float(np.exp(list_log_probability([0.0, 0.0, 0.0], [2, 0]))), 4)
        0.1667
    """
    left = np.array(logits, dtype=np.float64)
    total = 0.0
    for position in shown:
        top = left.max()
        total += float(left[position] - top - np.log(np.exp(left - top).sum()))
        left[position] = -np.inf
    return total


def inclusion(logits: npt.ArrayLike, k: int) -> Vector:
    """Probability of each candidate to be among the `k` that are drawn.

    For `k = 1` the softmax. Otherwise each candidate is a clock that rings after an exponential time with rate
    `w = exp(logit)`, and the first `k` to ring are drawn:
    `p_i = ∫ w_i exp(−w_i t) · P(fewer than k others rang before t) dt`. The others ring independently of each other, so
    that the second factor is a Poisson-binomial tail, found by recursion; the integral over `log t` is a trapezoidal
    sum, which for such an integrand is exact to about 1e-7. No random numbers are needed.

    Args:
        logits: shape (n,).
        k: how many are drawn; with `k ≥ n` all are.

    Returns:
        Shape (n,), with sum `min(k, n)`.

    Example:
        >>> inclusion([0.0, 0.0, 0.0, 0.0], 2).round(6).tolist()
        [0.5, 0.5, 0.5, 0.5]
    """
    values = np.asarray(logits, dtype=np.float64)
    n = values.size
    if k >= n:
        return np.ones(n)
    # what is e^-60 times as likely as the best is never seen; the floor keeps the grid of times finite
    values = np.maximum(values - values.max(), _FLOOR)
    weights = np.exp(values)
    if k == 1:
        softmax: Vector = weights / weights.sum()
        return softmax
    # rates lie in [exp(values.min()), 1]: before `_EARLY` hardly anything rings, after `_LATE − min` everything did
    moments = np.exp(np.arange(_EARLY, _LATE - float(values.min()), _STEP))
    spent = weights[:, None] * moments
    rang = -np.expm1(-spent)
    # counts[i, c] = P(exactly c of the others than i rang), for c < k
    counts = np.zeros((n, k, moments.size))
    counts[:, 0] = 1.0
    for j in range(n):
        others = np.arange(n) != j
        before = counts[others]
        after = before * (1.0 - rang[j])
        after[:, 1:] += before[:, :-1] * rang[j]
        counts[others] = after
    probabilities: Vector = _STEP * np.einsum("nt,nct->n", spent * np.exp(-spent), counts)
    probabilities *= k / probabilities.sum()
    return np.minimum(probabilities, 1.0)
