"""The retrieval policy: which candidate is shown with which probability, and what would make the chosen likelier.

Source: Hao et al., arXiv 2603.20939 (VARS): `π = softmax(s / τ)`, `g = mean_{m ∈ chosen} v_m − Σ_m π_m v_m`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from langchain_persona.arrays import Vector
from langchain_persona.errors import ConfigError

__all__ = ["attribution_gate", "policy", "update_direction"]


def policy(scores: npt.ArrayLike, temperature: float = 1.0) -> Vector:
    """Probabilities of the candidates: `softmax(scores / temperature)`.

    Args:
        scores: personalised scores, shape (n,).
        temperature: `τ > 0`, in units of the score.

    Raises:
        ConfigError: the temperature is not positive.

    Example:
        >>> policy([0.5, 0.5]).tolist()
        [0.5, 0.5]
    """
    if not temperature > 0.0:
        raise ConfigError(f"temperature must be above 0, got {temperature}")
    logits = np.asarray(scores, dtype=np.float64) / temperature
    weights: Vector = np.exp(logits - logits.max())
    weights /= weights.sum()
    return weights


def update_direction(vectors: npt.ArrayLike, probabilities: npt.ArrayLike, chosen: Sequence[int]) -> Vector:
    """`g`, the direction that makes the chosen likelier; `g / τ` is the gradient of `mean log π_chosen` in `z`.

    Args:
        vectors: item vectors of the candidates, shape (n, k).
        probabilities: shape (n,), from `policy`.
        chosen: positions of the chosen, at least one.

    Returns:
        Shape (k,).

    Raises:
        ConfigError: nothing was chosen.

    Example:
        >>> update_direction([[1.0, 0.0], [0.0, 1.0]], [0.5, 0.5], [0])
        array([ 0.5, -0.5])
    """
    if len(chosen) == 0:
        raise ConfigError("an update needs at least one chosen candidate")
    rows = np.asarray(vectors, dtype=np.float64)
    expected = np.einsum("n,nk->k", np.asarray(probabilities, dtype=np.float64), rows)
    direction: Vector = rows[list(chosen)].mean(axis=0) - expected
    return direction


def attribution_gate(reward: float, similarity: float) -> float:
    """How much of a turn's reward is due to retrieval (`γ`), by the rules of the VARS paper.

    Args:
        reward: in [−1, 1].
        similarity: highest base score (cosine) among what was chosen.

    Returns:
        0.9 for a strong no to something dissimilar (< 0.2): retrieval brought the wrong thing; 0.2 for a strong no
        although it was similar (> 0.5): the answer was wrong, not retrieval; 0.6 for a strong yes to something similar
        (> 0.4), 0.3 for another strong yes; 0.5 otherwise.

    Example:
        >>> attribution_gate(-1.0, 0.1), attribution_gate(1.0, 0.6)
        (0.9, 0.6)
    """
    if reward < -0.5:
        if similarity < 0.2:
            return 0.9
        return 0.2 if similarity > 0.5 else 0.5
    if reward > 0.5:
        return 0.6 if similarity > 0.4 else 0.3
    return 0.5
