"""What was said of an answer: explicit feedback, an edit, the follow-up message, tool calls. Rules, no model call."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AnyMessage

from langchain_persona.effects import Steps
from langchain_persona.loop.turn import TurnRecord, answer_now, earlier_questions
from langchain_persona.records import ToolOutcome
from langchain_persona.rewards import RELIABILITY, Signal, combine, edit, tool_outcome, validated
from langchain_persona.signals import follow_up
from langchain_persona.trouble import warn

__all__ = ["Verdict", "given_feedback", "signals_of", "verdict_on"]

logger = logging.getLogger(__name__)


_FACTS = ("reward", "docs", "accepted")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was said of the previous turn.

    Attributes:
        signals: one by one.
        total: together; None when nothing was said.
        documents: ids that explicit feedback was about.
        accepted: the text that the user made of the answer.
    """

    signals: tuple[Signal, ...] = ()
    total: Signal | None = None
    documents: tuple[str, ...] = ()
    accepted: str | None = None


def given_feedback(value: object) -> tuple[Signal | None, Mapping[str, Any]]:
    """Explicit feedback out of the state: a number, or `{"reward": 1, "docs": [ids], "accepted": "text"}`.

    What cannot be read is left out with a warning: it must not cost the answer.
    """
    if value is None:
        return None, {}
    facts: Mapping[str, Any] = value if isinstance(value, Mapping) else {"reward": value}
    unknown = sorted(str(name) for name in facts if name not in _FACTS)
    if unknown:
        # "doc" for "docs" would rate documents that nobody meant
        warn(logger, "Leaving out feedback with an unknown key %r; there are %s", unknown[0], ", ".join(_FACTS))
        return None, {}
    reward = facts.get("reward")
    if isinstance(reward, bool):
        reward = 1.0 if reward else -1.0
    try:
        if reward is None:
            return None, facts
        number = validated(reward)
    except (TypeError, ValueError) as error:
        warn(logger, "Leaving out feedback that is no number from -1 to 1 (%s)", type(error).__name__)
        return None, facts
    words = "thumb up" if number > 0 else "thumb down" if number < 0 else "neutral"
    return Signal("thumbs", number, f"{words} ({number:+g})"), facts


def signals_of(
    previous: TurnRecord,
    message: str,
    *,
    feedback: object = None,
    answer_now: str | None = None,
    earlier: Sequence[str] = (),
    outcomes: Sequence[ToolOutcome] = (),
    reliability: Mapping[str, float] = RELIABILITY,
) -> Verdict:
    """Every signal on a turn: explicit feedback, an edited answer, the follow-up message, its tool calls.

    Args:
        previous: the turn.
        message: the user's next message; "" where there is none.
        feedback: see `given_feedback`.
        answer_now: the answer as the conversation holds it now; where it differs, a person edited it.
        earlier: the user's messages before, newest first.
        outcomes: of the turn's tool calls.
        reliability: weight of each source where several said something.
    """
    signals = []
    explicit, facts = given_feedback(feedback)
    if explicit is not None:
        signals.append(explicit)
    accepted = facts.get("accepted")
    if not isinstance(accepted, str) and answer_now is not None and answer_now != previous.answer:
        accepted = answer_now
    if isinstance(accepted, str) and accepted.strip() and previous.answer:
        reward = edit(previous.answer, accepted)
        signals.append(Signal("edit", reward, f"edited: {(reward + 1) / 2:.0%} of the answer kept"))
    if message and previous.answer:
        said = follow_up(message[:4_000], question=previous.query, answer=previous.answer, earlier=earlier)
        if said is not None:
            signals.append(said)
    if outcomes:
        rewards = [tool_outcome(outcome.ok) for outcome in outcomes]
        failed = [outcome.tool for outcome in outcomes if not outcome.ok]
        reason = f"tool failed: {', '.join(failed)}" if failed else "tools succeeded"
        signals.append(Signal("tool", sum(rewards) / len(rewards), reason))
    docs = facts.get("docs") or ()
    named = [docs] if isinstance(docs, str) else docs if isinstance(docs, list | tuple) else []
    documents = tuple(doc for doc in named if isinstance(doc, str))
    return Verdict(
        tuple(signals), combine(signals, reliability), documents, accepted if isinstance(accepted, str) else None
    )


def verdict_on(
    previous: TurnRecord,
    said: str,
    state: Mapping[str, Any],
    messages: Sequence[AnyMessage],
    position: int,
    reliability: Mapping[str, float] = RELIABILITY,
) -> Steps[Verdict | None]:
    """What a conversation's state says of the turn before; as steps, so that its trouble is survived like any other.

    A run without a new message brings only what it was made for. What can be seen in the conversation, an edited answer
    and the outcomes of tools, is counted once: with the next message.
    """
    yield from ()
    return signals_of(
        previous,
        said,
        feedback=state.get("feedback"),
        answer_now=answer_now(previous, messages) if said else None,
        earlier=earlier_questions(messages, position)[1:],
        outcomes=tuple(map(ToolOutcome.model_validate, state.get("outcomes") or ())) if said else (),
        reliability=reliability,
    )
