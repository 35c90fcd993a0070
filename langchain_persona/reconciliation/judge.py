"""One model call for a batch: how its cards stand to known ones."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.runnables import RunnableConfig
from langgraph.constants import TAG_NOSTREAM
from pydantic import BaseModel, Field

from langchain_persona.effects import Steps, Twin
from langchain_persona.prompts_reconciliation import RECONCILIATION
from langchain_persona.reconciliation.relations import Relation
from langchain_persona.records import PreferenceCard
from langchain_persona.trouble import warn

__all__ = ["Judged", "ask_judge"]

logger = logging.getLogger(__name__)

Judged = Mapping[tuple[int, str], Relation]
"""Relations by (position of the new card, id of the known one)."""

_LONGEST_NOTE = 300
_MOST_KNOWN = 30
_MOST_NEW = 20
_MOST_VERDICTS = 40


class _Pair(BaseModel):
    new: Annotated[int, Field(ge=0, lt=_MOST_NEW)]
    known: Annotated[int, Field(ge=-1, lt=_MOST_KNOWN)]
    relation: Relation


class Verdicts(BaseModel):
    """The judge's answer."""

    verdicts: Annotated[list[_Pair], Field(max_length=_MOST_VERDICTS)]


def ask_judge(
    judge: BaseChatModel,
    new: Sequence[PreferenceCard],
    offered: Mapping[int, Sequence[PreferenceCard]],
) -> Steps[Judged]:
    """Ask once; an answer that cannot be used is none, with one warning, and rules decide.

    Args:
        judge: a chat model with structured output (`json_schema`).
        new: the batch.
        offered: known cards by position of the new card that they may have to do with. For a new card of which the
            judge speaks, every offered card that it does not name is unrelated.
    """
    asked = sorted(position for position, cards in offered.items() if cards)[:_MOST_NEW]
    known = list({card.id: card for position in asked for card in offered[position]}.values())[:_MOST_KNOWN]
    if not known:
        return {}
    notes = {
        "known": [card.note[:_LONGEST_NOTE] for card in known],
        "new": [new[position].note[:_LONGEST_NOTE] for position in asked],
    }
    messages = [SystemMessage(RECONCILIATION), HumanMessage(json.dumps(notes, ensure_ascii=False))]
    config: RunnableConfig = {"tags": [TAG_NOSTREAM, "langsmith:nostream"], "run_name": "persona_reconciliation"}
    try:
        model = judge.with_structured_output(Verdicts, method="json_schema", include_raw=True)
        said: Any = yield Twin(lambda: model.invoke(messages, config), lambda: model.ainvoke(messages, config))
        return _checked(said, asked, known)
    except Exception as error:
        # the error's own text may quote notes
        warn(logger, "Cards were reconciled by rules: the judge gave no usable answer (%s)", type(error).__name__)
        return {}


def _checked(said: Any, asked: Sequence[int], known: Sequence[PreferenceCard]) -> Judged:
    """The answer by cards.

    Raises:
        ValueError: it is not what was asked for, or speaks of notes that were not shown, or twice of one pair.
    """
    parsed = said.get("parsed") if isinstance(said, Mapping) else said
    if parsed is None:
        raise ValueError("no answer in the form asked for")
    answer = Verdicts.model_validate(parsed)
    found: dict[tuple[int, str], Relation] = {}
    for pair in answer.verdicts:
        if pair.new >= len(asked) or pair.known >= len(known):
            raise ValueError("a number of no note")
        if pair.known < 0:
            continue
        key = asked[pair.new], known[pair.known].id
        if found.setdefault(key, pair.relation) != pair.relation:
            raise ValueError("two relations for one pair")
    for position in {asked[pair.new] for pair in answer.verdicts}:
        for card in known:
            found.setdefault((position, card.id), "unrelated")
    return found
