"""The part of `VARSRetriever` that takes ratings of the documents it returned."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from langchain_core.documents import Document
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config

from langchain_persona.errors import ConfigError
from langchain_persona.identity import resolve_identity
from langchain_persona.memory import FeedbackReceipt, PersonaMemory
from langchain_persona.memory.feedback import not_recorded

__all__ = ["RatingMethods"]

_NOT_OURS = ""


class RatingMethods:
    """Rate what was retrieved; mixed into `VARSRetriever`."""

    if TYPE_CHECKING:  # pydantic would take them for fields
        memory: PersonaMemory
        user_id: str | int | uuid.UUID | None

    def feedback(
        self,
        docs: Document | Sequence[Document],
        reward: float,
        config: RunnableConfig | None = None,
        *,
        user_id: str | int | None = None,
        source: str = "thumbs",
        key: str | None = None,
    ) -> FeedbackReceipt:
        """Rate documents that this retriever returned; the short way to `PersonaMemory.feedback`.

        Args:
            docs: one document or several of one retrieval.
            reward: from −1 (bad) to 1 (good).
            config: names the user as in `invoke`.
            user_id: names the user directly.
            source: what kind of signal.
            key: idempotency key.

        Returns:
            A receipt; `applied` is False for documents of an anonymous retrieval, and for documents whose retrieval
            could not be recorded.

        Raises:
            ConfigError: these are not documents of one retrieval by a `VARSRetriever`, or the user is missing.
            TypeError, ValueError: the reward is not a number from −1 to 1.
            StoreError: the store could not take the feedback.
        """
        user, retrieval_id, ids = self._rated(docs, config, user_id)
        if retrieval_id is None:
            return not_recorded(reward)
        return self.memory.feedback(user, retrieval_id, reward=reward, source=source, key=key, docs=ids)

    async def afeedback(
        self,
        docs: Document | Sequence[Document],
        reward: float,
        config: RunnableConfig | None = None,
        *,
        user_id: str | int | None = None,
        source: str = "thumbs",
        key: str | None = None,
    ) -> FeedbackReceipt:
        """Async twin of `feedback`."""
        user, retrieval_id, ids = self._rated(docs, config, user_id)
        if retrieval_id is None:
            return not_recorded(reward)
        return await self.memory.afeedback(user, retrieval_id, reward=reward, source=source, key=key, docs=ids)

    def _rated(
        self, docs: Document | Sequence[Document], config: RunnableConfig | None, user_id: str | int | None
    ) -> tuple[str, str | None, list[str]]:
        """User, retrieval id (None where there is none) and document ids of a rating."""
        rated = [docs] if isinstance(docs, Document) else list(docs)
        if not all(isinstance(doc, Document) for doc in rated):
            raise ConfigError(
                f"feedback takes the documents that this retriever returned, got {docs!r}; for ids use "
                "memory.feedback(user, retrieval_id, reward=..., docs=[...])"
            )
        facts = [doc.metadata.get("persona") for doc in rated]
        found = {fact.get("retrieval_id") if isinstance(fact, Mapping) else _NOT_OURS for fact in facts}
        if len(found) != 1 or _NOT_OURS in found:
            raise ConfigError(
                f"feedback needs documents that one invoke of a VARSRetriever returned, got {len(rated)} documents of "
                f"{len(found)} retrievals; rate each retrieval in a call of its own"
            )
        identity = resolve_identity(ensure_config(config), user_id=user_id, default_user=self.user_id)
        retrieval_id = found.pop()
        if identity.anonymous and retrieval_id is not None:
            raise ConfigError(
                "these documents were retrieved for a user, and the feedback names none: pass user_id or config"
            )
        return identity.user, retrieval_id, [str(doc.id) for doc in rated]
