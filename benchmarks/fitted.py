"""Spaces fitted on other users' feedback: two halves of users, each scored in a space fitted on the other half."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.learners import Rows
from langchain_persona import ConfigError, PreferenceSpace, spaces

__all__ = ["CrossFitted", "cross_fitted", "fitted_space", "half"]

Ledger = tuple[Rows, Rows]
"""One user's items, shape (n, d), and rewards in [−1, 1], shape (n,)."""


@dataclass(frozen=True, slots=True, eq=False)
class CrossFitted:
    """Two spaces, or the reason why there are none.

    Attributes:
        spaces: at 0 the one for users of half 0, fitted on half 1, and the other way round.
        users: how many users were in each of the two fits.
        refused: why there are none, in words.
    """

    spaces: tuple[PreferenceSpace, PreferenceSpace] | None
    users: tuple[int, int]
    refused: str | None = None

    def of(self, user: str) -> PreferenceSpace:
        """The space in which a user is scored: one that has seen nothing of them."""
        assert self.spaces is not None
        return self.spaces[half(user)]


def half(user: str) -> int:
    """0 or 1, by a hash of the user's id: the same in every run and on every machine."""
    return hashlib.sha256(user.encode()).digest()[0] & 1


def cross_fitted(ledgers: Mapping[str, Ledger], corpus: Rows) -> CrossFitted:
    """Fit on each half for the other.

    Args:
        ledgers: user to items and rewards.
        corpus: embeddings of everything that can be shown, shape (n, d).
    """
    fits: list[PreferenceSpace] = []
    reasons: list[str] = []
    users = [[ledger for user, ledger in ledgers.items() if half(user) == other] for other in (1, 0)]
    for chosen in users:
        found = fitted_space(chosen, corpus, reasons)
        if found is not None:
            fits.append(found)
    counts = (len(users[0]), len(users[1]))
    return CrossFitted(
        (fits[0], fits[1]) if len(fits) == 2 else None, counts, ", ".join(dict.fromkeys(reasons)) or None
    )


def fitted_space(
    users_items_rewards: Sequence[Ledger], films: Rows, reasons: list[str] | None = None
) -> PreferenceSpace | None:
    """One fitted space, or None when there are too few users for one.

    Args:
        users_items_rewards: one pair for each user.
        films: the corpus, shape (n, d); for a fit that wants to know it.
        reasons: gets the reason in words.
    """
    fit = getattr(PreferenceSpace, "fit", None)
    ratings = getattr(spaces, "UserRatings", None)
    reasons = [] if reasons is None else reasons
    if fit is None or ratings is None:
        reasons.append("this version of the package cannot fit a space")
        return None
    kept = [(items, rewards) for items, rewards in users_items_rewards if len(rewards)]
    try:
        space: PreferenceSpace = fit([ratings(np.asarray(items), np.asarray(rewards)) for items, rewards in kept])
    except ConfigError as error:
        # what to do about it, behind the semicolon, is not for who reads a table
        reasons.append(str(error).partition(";")[0])
        return None
    return space
