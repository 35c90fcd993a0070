"""The part of `PersonaMemory` that fits preference spaces from everybody's feedback and chooses among them."""

from __future__ import annotations

from langchain_persona.effects import arun, run
from langchain_persona.memory.feedback import acknowledged
from langchain_persona.memory.ledger import Ledger
from langchain_persona.memory.refit import Progress, RefitOptions, refit_steps
from langchain_persona.memory.space_versions import SpaceVersions
from langchain_persona.records import SpaceVersion
from langchain_persona.spaces import PreferenceSpace

__all__ = ["SpaceMethods"]

Named = str | PreferenceSpace | SpaceVersion
"""A version of a fitted space, or its id."""

_UNCHANGED = "what was in force stays so where it was not replaced yet (see memory.spaces()): try again"


class SpaceMethods:
    """Fit, list and choose preference spaces; mixed into `PersonaMemory`."""

    ledger: Ledger
    _spaces: SpaceVersions

    def refit(
        self,
        *,
        embedding: str | None = None,
        k: int = 64,
        min_users: int = 20,
        min_events: int = 5,
        progress: bool | Progress = False,
    ) -> PreferenceSpace:
        """Fit a preference space from the feedback of all users in the store, and put it in force.

        A new version is written and older ones stay: `spaces` lists them, `use_space` goes back. Every memory on this
        store that was made without `space=` learns in it from a user's next read on, in which that user's ledger is
        folded anew. A memory that was made with `space=` keeps that one: the version is stored and returned only.

        Withdrawn feedback is left out, and embedding models are never mixed. What is written is an aggregate over many
        users, without anybody's own vector or name. Beyond some 1,000 users a fixed sample of them is taken.

        150 users with 20,000 thumbs take about ten seconds of one core. It is linear algebra: on a machine whose other
        cores are busy, run it with `OPENBLAS_NUM_THREADS=1`: threads that wait for each other make it ten times that.

        Args:
            embedding: name of the embedding model, as `explain(user).embedding` tells it; by default the one in which
                most users have enough feedback.
            k: numbers in an item vector.
            min_users: refuse to fit from fewer.
            min_events: users with less feedback are left out.
            progress: True shows a bar where tqdm is installed; a function is called with (done, total), from worker
                threads in the async twin. What it raises ends the fit and comes out as it is.

        Raises:
            ConfigError: too few users with enough feedback (says how many are needed), ratings that tell no tastes
                apart, an embedding model of which there is none, or an argument out of range. Nothing is changed.
            StoreError: the store failed; what was in force stays so.

        Example:
            >>> space = memory.refit(progress=True)  # doctest: +SKIP
            >>> memory.use_space(None)  # undo: back to the identity  # doctest: +SKIP
        """
        options = RefitOptions(embedding, k, min_users, min_events, self._ridge, progress)
        return run(acknowledged(refit_steps(self.ledger, self._spaces, options), _UNCHANGED))

    async def arefit(
        self,
        *,
        embedding: str | None = None,
        k: int = 64,
        min_users: int = 20,
        min_events: int = 5,
        progress: bool | Progress = False,
    ) -> PreferenceSpace:
        """Async twin of `refit`."""
        options = RefitOptions(embedding, k, min_users, min_events, self._ridge, progress)
        return await arun(acknowledged(refit_steps(self.ledger, self._spaces, options), _UNCHANGED))

    def spaces(self, embedding: str | None = None) -> list[SpaceVersion]:
        """The fitted versions, oldest first; `current` marks the one in force for its embedding model."""
        return run(self._spaces.versions(embedding))

    async def aspaces(self, embedding: str | None = None) -> list[SpaceVersion]:
        """Async twin of `spaces`."""
        return await arun(self._spaces.versions(embedding))

    def use_space(self, space: Named | None, embedding: str | None = None) -> None:
        """Put an earlier version in force again, for every memory on this store that was made without `space=`.

        Args:
            space: a version or its id; None is the identity, as before the first `refit`.
            embedding: name of an embedding model; by default that of the version, or all for None.

        Raises:
            ConfigError: there is no such version, or none for this embedding model; names those that there are.
            StoreError: the store failed.
        """
        run(acknowledged(self._spaces.use(_id_of(space), embedding), _UNCHANGED))

    async def ause_space(self, space: Named | None, embedding: str | None = None) -> None:
        """Async twin of `use_space`."""
        await arun(acknowledged(self._spaces.use(_id_of(space), embedding), _UNCHANGED))

    @property
    def _ridge(self) -> float:
        """The `λ` for which a space is scaled: that of the rule, where it has one."""
        return float(getattr(self.ledger.config.rule, "ridge", 0.1))


def _id_of(space: Named | None) -> str | None:
    return space.id if isinstance(space, PreferenceSpace | SpaceVersion) else space
