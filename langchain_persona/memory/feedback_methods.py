"""The part of `PersonaMemory` that takes feedback and takes it back."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_persona.effects import arun, run
from langchain_persona.memory.feedback import (
    DocumentLike,
    FeedbackReceipt,
    Retrievals,
    acknowledged,
    record_feedback,
    record_withdrawal,
)
from langchain_persona.memory.ledger import Ledger

__all__ = ["FeedbackMethods"]


class FeedbackMethods:
    """Record and withdraw feedback; mixed into `PersonaMemory`."""

    ledger: Ledger
    retrievals: Retrievals

    def feedback(
        self,
        user: object,
        retrieval_id: str,
        *,
        reward: float,
        source: str = "thumbs",
        key: str | None = None,
        docs: DocumentLike | Sequence[DocumentLike] | None = None,
        gate: float | None = None,
    ) -> FeedbackReceipt:
        """Record how good a retrieval was for a user; the very next ranking moves.

        Args:
            user: whose; a retrieval of another user is unknown here.
            retrieval_id: `document.metadata["persona"]["retrieval_id"]`.
            reward: from −1 (bad) to 1 (good); `langchain_persona.rewards` makes one of any signal.
            source: what kind of signal; a name of `rewards.RELIABILITY`, or one of your own.
            key: idempotency key; a second feedback with the same key changes nothing.
            docs: the documents (or their ids) that it is about; the whole retrieval when left out.
            gate: how much it counts, in [0, 1]. By default the share that is due to retrieval (1 for thumbs, rating,
                click, dwell and copy, else by the rules of `attribution_gate`) times how far the source is believed
                (`rewards.RELIABILITY`: 1 for thumbs and rating, 0.15 for a click, 0.3 for a source of your own).

        Returns:
            A receipt. `applied` is False for an anonymous user, a used key, a gate of 0, and an unknown or expired
            retrieval; the last three kinds are kept in the ledger, of the last two with one warning.

        Raises:
            TypeError, ValueError: the reward is not a number, NaN, or out of range.
            ConfigError: another argument cannot be right, such as `docs` that this retrieval did not return.
            StoreError: the store failed; nothing was recorded, so the same call can be made again.
        """
        steps = record_feedback(
            self.ledger,
            self.retrievals,
            user,
            retrieval_id,
            reward,
            source=source,
            key=key,
            docs=docs,
            gate=gate,
        )
        return run(acknowledged(steps))

    async def afeedback(
        self,
        user: object,
        retrieval_id: str,
        *,
        reward: float,
        source: str = "thumbs",
        key: str | None = None,
        docs: DocumentLike | Sequence[DocumentLike] | None = None,
        gate: float | None = None,
    ) -> FeedbackReceipt:
        """Async twin of `feedback`."""
        steps = record_feedback(
            self.ledger,
            self.retrievals,
            user,
            retrieval_id,
            reward,
            source=source,
            key=key,
            docs=docs,
            gate=gate,
        )
        return await arun(acknowledged(steps))

    def withdraw(self, user: object, feedback_id: str) -> None:
        """Take one feedback back: the vectors become what they would be without it.

        Args:
            user: whose.
            feedback_id: `FeedbackReceipt.id`.
        """
        run(acknowledged(record_withdrawal(self.ledger, user, feedback_id)))

    async def awithdraw(self, user: object, feedback_id: str) -> None:
        """Async twin of `withdraw`."""
        await arun(acknowledged(record_withdrawal(self.ledger, user, feedback_id)))
