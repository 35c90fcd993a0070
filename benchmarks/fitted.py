"""Spaces fitted on other users' feedback: five groups of users, each scored in a space fitted on the other four."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.learners import Rows
from langchain_persona import ConfigError, PreferenceSpace
from langchain_persona.learning import UserRatings

__all__ = ["GROUPS", "CrossFitted", "cross_fitted", "group"]

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
    others = [[ledger for user, ledger in ledgers.items() if group(user) != own] for own in range(GROUPS)]
    fits: list[PreferenceSpace] = []
    refused: dict[int, str] = {}
    for some in others:
        try:
            fits.append(PreferenceSpace.fit([UserRatings(items, rewards) for items, rewards in some if len(rewards)]))
        except ConfigError as error:
            # what to do about it, behind the semicolon, is not for who reads a table
            refused[len(some)] = str(error).partition(";")[0]
    return CrossFitted(
        None if refused else tuple(fits),
        tuple(len(some) for some in others),
        refused[min(refused)] if refused else None,
    )
