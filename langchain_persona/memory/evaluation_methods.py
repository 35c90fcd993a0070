"""The part of `PersonaMemory` that says what another strength would have earned."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from langchain_persona.effects import arun, run
from langchain_persona.memory.decisions import Question, evaluated
from langchain_persona.memory.evaluation import Evaluation
from langchain_persona.memory.ledger import Ledger

__all__ = ["EvaluationMethods"]


class EvaluationMethods:
    """Off-policy evaluation of the ledger; mixed into `PersonaMemory`."""

    ledger: Ledger

    def evaluate(
        self,
        strengths: Sequence[float] = (0.0, 0.5, 1.0, 2.0),
        *,
        users: Iterable[object] | None = None,
        clip: float = 10.0,
        k: int | None = None,
        deterministic: bool = False,
        seed: int = 0,
    ) -> Evaluation:
        """What other strengths would have earned, from the ratings on record; `print` it.

        It needs retrievals whose documents were drawn (`VARSRetriever(explore=0.05)`) and rated. For ratings of others
        it counts only retrievals in which both strengths show the same documents, and says how many those are.

        Args:
            strengths: from 0 (plain) to 10.
            users: whose ratings; all users' when left out.
            clip: bound on the weight of a rating, at least 1; infinity is unbiased and wild.
            k: how many documents the other strength shows; as many as were shown when left out.
            deterministic: the other strength takes the best, where otherwise it draws at the logged temperature (but
                for strength 0, which is the plain ranking).
            seed: of the bootstrap over users.

        Returns:
            For each strength: `ips`, `snips` with 95 % intervals, the effective number of ratings, the share without
            support; and the replay of what was not drawn, with its coverage. See `learning.offpolicy` for what these
            rest on.

        Raises:
            ConfigError: an argument that cannot work.

        Example:
            >>> from langgraph.store.memory import InMemoryStore
            >>> from langchain_persona import PersonaMemory
            >>> print(PersonaMemory(InMemoryStore()).evaluate())
            0 ratings of 0 retrievals by 0 users.
            There is nothing to evaluate.
        """
        asked = Question(strengths, users, clip, k, deterministic, seed)
        return run(evaluated(self.ledger, asked))

    async def aevaluate(
        self,
        strengths: Sequence[float] = (0.0, 0.5, 1.0, 2.0),
        *,
        users: Iterable[object] | None = None,
        clip: float = 10.0,
        k: int | None = None,
        deterministic: bool = False,
        seed: int = 0,
    ) -> Evaluation:
        """Async twin of `evaluate`."""
        asked = Question(strengths, users, clip, k, deterministic, seed)
        return await arun(evaluated(self.ledger, asked))
