"""Spaces fitted on other users' feedback: five groups of users, each scored in a space fitted on the other four."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.learners import Rows
from langchain_persona import ConfigError, PreferenceSpace
from langchain_persona.spaces import UserRatings

__all__ = ["GROUPS", "CrossFitted", "cross_fitted", "fitted_space", "group"]

GROUPS = 5

Ledger = tuple[Rows, Rows]
"""One user's items, shape (n, d), and rewards in [−1, 1], shape (n,)."""


@dataclass(frozen=True, slots=True, eq=False)
class CrossFitted:
    """A space for each group, or the reason why there is none.

    Attributes:
        spaces: for each group the one that was fitted on all others.
        users: how many users were in each of the fits.
        refused: why there are none, in words.
    """

    spaces: tuple[PreferenceSpace, ...] | None
    users: tuple[int, ...]
    refused: str | None = None

    def of(self, user: str) -> PreferenceSpace:
        """The space in which a user is scored: one that has seen nothing of them."""
        assert self.spaces is not None
        return self.spaces[group(user)]


def group(user: str) -> int:
    """From 0 to 4, by a hash of the user's id: the same in every run and on every machine."""
    return int.from_bytes(hashlib.sha256(user.encode()).digest()[:4], "big") % GROUPS


def cross_fitted(ledgers: Mapping[str, Ledger]) -> CrossFitted:
    """Fit a space for each group, on the ledgers of all others; user to items and rewards."""
    fits: list[PreferenceSpace] = []
    reasons: list[str] = []
    users = [[ledger for user, ledger in ledgers.items() if group(user) != own] for own in range(GROUPS)]
    for others in users:
        found = fitted_space(others, reasons)
        if found is not None:
            fits.append(found)
    counts = tuple(len(others) for others in users)
    spaces = tuple(fits) if len(fits) == GROUPS else None
    return CrossFitted(spaces, counts, min(reasons, key=len) if reasons else None)


def fitted_space(ledgers: Sequence[Ledger], reasons: list[str] | None = None) -> PreferenceSpace | None:
    """One fitted space, or None when there are too few users for one.

    Args:
        ledgers: one pair of items and rewards for each user.
        reasons: gets the reason in words.
    """
    try:
        return PreferenceSpace.fit([UserRatings(items, rewards) for items, rewards in ledgers if len(rewards)])
    except ConfigError as error:
        if reasons is not None:
            # what to do about it, behind the semicolon, is not for who reads a table
            reasons.append(str(error).partition(";")[0])
        return None
