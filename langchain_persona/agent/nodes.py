"""The nodes ahead of the answer and the answer itself, for graphs of your own too: memory, retrieve, persona, act.

Async forms await models and embeddings, and run the rest in a worker thread. The user comes from the run's context or
config, never from the state.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import ensure_config, run_in_executor
from langgraph.graph import END
from langgraph.graph.ui import push_ui_message
from langgraph.pregel.protocol import PregelProtocol
from langgraph.types import Send
from typing_extensions import TypedDict

from langchain_persona import prompt
from langchain_persona.agent.state import (
    PersonaState,
    episode_at,
    episode_id,
    feedback_in,
    has_question,
    last_user_message,
    messages_ahead,
    question_of,
    text_of,
)
from langchain_persona.errors import ConfigError, check_number
from langchain_persona.identity import Identity, context_value, resolve_identity
from langchain_persona.learning import Vector, unit
from langchain_persona.masking import mask
from langchain_persona.memory import PersonaMemory
from langchain_persona.memory.cards import CardSet
from langchain_persona.memory.embedder import embedding_name
from langchain_persona.memory.episodes import MOST_QUERY, other_exchanges
from langchain_persona.memory.turns import TurnReading
from langchain_persona.records import Attempt, Episode, PreferenceCard, read_record
from langchain_persona.reflection import Reflection
from langchain_persona.reflection.model import ModelReflection
from langchain_persona.reflection.verbatim import VerbatimReflection
from langchain_persona.resilience import WarningScope, await_or_default, run_or_default, warn_of, warning_scope
from langchain_persona.retrieval import VARSRetriever
from langchain_persona.retrieval.ranking import Taste, read_taste
from langchain_persona.rewards import Signal, combine, edit, tool_outcome, trust

logger = logging.getLogger(__name__)

State = Mapping[str, Any]
Update = dict[str, Any]

FollowUpReward = Callable[[str, str, str], float | None]
"""The reward of an answer, given the question, the answer and the user's next message; None where it says nothing."""

MOST_STEPS = 25
"""Model calls for one message of the user; a call that still wants tools then becomes the answer."""

MOST_ATTEMPTS = 3
"""Earlier answers to a message that are kept beside the latest."""

LIMIT_NOTICE = "I stopped here: this request needed more steps than I am allowed to take."

_CARD = {"id", "text", "condition", "kind", "scope", "origin", "pinned", "created", "updated"}
_EPISODE = {"id", "query", "answer", "accepted", "outcomes", "reward", "reasons", "time"}
_NO_CARDS = "This turn has only the cards for every conversation, and no earlier exchanges"
_NO_DOCUMENTS = "This turn has no documents: they could not be retrieved"
_NO_VECTOR = "This turn has the newest cards, and no earlier exchanges: the message could not be embedded"
_RELEVANT = 0.2
"""The relevance of the nearest card from which a message gets cards of a topic beyond the budget. On PrefEval, with 20
cards a user, this loses 2 % of the needed ones; of 62 questions of general knowledge 90 % come without any."""
_SAID_OUTRIGHT = frozenset({"thumbs", "edit", "follow_up"})
# of what the last turn left
_EMPTY: Update = {"documents": [], "episodes": [], "learned": [], "reflection": {}, "proposal": None}


class LoopOptions(TypedDict, total=False):
    """The options that graph, middleware and `Loop` share; `create_persona_graph` says what they do."""

    retriever: VARSRetriever | None
    reflection: Reflection | BaseChatModel | str
    reflect: Literal["inline", "background", "off"]
    align_every: int
    budget_tokens: int
    document_tokens: int
    episodes: int
    follow_up_reward: FollowUpReward | None


@dataclass(frozen=True, kw_only=True)
class Loop:
    """How an agent learns its user: arguments of `create_persona_graph`. What cannot work is a `ConfigError`.

    `model` is the agent's own, which reflects where `reflection` is "model".
    """

    memory: PersonaMemory
    model: BaseChatModel | None = None
    system_prompt: str = ""
    approve: bool = False
    retriever: VARSRetriever | None = None
    reflection: Reflection | BaseChatModel | str = "model"
    reflect: Literal["inline", "background", "off"] = "inline"
    align_every: int = 3
    budget_tokens: int = 800
    document_tokens: int = 2_000
    episodes: int = 2
    follow_up_reward: FollowUpReward | None = None

    def __post_init__(self) -> None:
        for name, kind in (("memory", PersonaMemory), ("retriever", VARSRetriever), ("system_prompt", str)):
            value = getattr(self, name)
            if not isinstance(value, kind) and (name != "retriever" or value is not None):
                raise ConfigError(f"{name} must be a {kind.__name__}, got {type(value).__name__}")
        for name in ("align_every", "budget_tokens", "document_tokens", "episodes"):
            check_number(name, getattr(self, name), 0)
        if self.retriever is not None and self.retriever.memory is not self.memory:
            raise ConfigError("the retriever has another memory: make both with the same, or nothing is learned of it")
        if self.reflect not in ("inline", "background", "off"):
            raise ConfigError(f'reflect must be "inline", "background" or "off", got {self.reflect!r}')
        if self.approve and self.reflect != "inline":
            raise ConfigError(f'approve=True asks a person within the run: reflect="inline", not {self.reflect!r}')


def make_loop(memory: PersonaMemory, options: LoopOptions, **own: Any) -> Loop:
    """The loop of a graph or a middleware. An option that there is not is a `ConfigError`, as a bad value is."""
    known = LoopOptions.__annotations__
    if unknown := options.keys() - known.keys():
        raise ConfigError(f"no option {', '.join(map(repr, sorted(unknown)))}, only {', '.join(sorted(known))}")
    return Loop(memory=memory, **own, **options)


def choose_reflection(given: object, model: BaseChatModel | None = None) -> Reflection:
    """The reflection of an option: "model", "verbatim", a chat model or its name, or an object with the protocol."""
    if given == "verbatim":
        return VerbatimReflection()
    if isinstance(given, ModelReflection) and given.model is None and model is not None:
        given = copy(given)
        given.model = model
    if isinstance(given, Reflection) and not isinstance(given, type):
        return given
    wanted = 'reflection must be "model", "verbatim", a chat model or its name, or an object with a name, reflect() and'
    if not isinstance(given, str | BaseChatModel):
        raise ConfigError(f"{wanted} areflect(), got {given!r}")
    try:
        return ModelReflection(model if given == "model" else given)
    except ConfigError as error:
        raise ConfigError(f"{wanted} areflect(): {error}") from error


class Node(Runnable[Any, Update]):
    """A node: a `_body` that gets the user, from the state to an update of the key `persona`.

    What one node of a turn has warned of, the later ones do not warn of again. (`RunnableLambda` takes 1 ms more.)
    """

    def __init__(self, loop: Loop) -> None:
        self.loop, self.memory = loop, loop.memory

    def _body(self, identity: Identity, state: State, config: RunnableConfig) -> Update:
        raise NotImplementedError

    async def _abody(self, identity: Identity, state: State, config: RunnableConfig) -> Update:
        return await run_in_executor(None, self._body, identity, state, config)

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Update:
        """The update of the whole state."""
        with self._scope(input) as scope:
            identity = resolve_identity(config := ensure_config(config), trust=self.memory.trust)
            return changes(input, self._body(identity, input, config), scope)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Update:
        """Async twin of `invoke`."""
        with self._scope(input) as scope:
            identity = resolve_identity(config := ensure_config(config), trust=self.memory.trust)
            return changes(input, await self._abody(identity, input, config), scope)

    def _split(self, cards: CardSet) -> tuple[list[PreferenceCard], list[PreferenceCard], int]:
        """`prompt.split_cards` of the active cards, once for each set: nodes of several turns ask for it."""
        budget = self.loop.budget_tokens
        if budget not in cards.memo:
            cards.memo[budget] = prompt.split_cards(cards.active, budget)
        found: tuple[list[PreferenceCard], list[PreferenceCard], int] = cards.memo[budget]
        return found

    def _keep_verdict(self, user: str, turn: Update) -> None:
        """Write the turn before with what was said of it, where no new episode is written with it."""
        if "judged" in turn:
            write = lambda: self.memory.episodes.write(user, read_record(Episode, turn["judged"]))  # noqa: E731
            run_or_default("The verdict on the previous answer was not kept", write, False)

    def _scope(self, state: State) -> AbstractContextManager[WarningScope]:
        turn = (state.get("persona") or {}).get("turn") or {}
        return warning_scope(warned=self.name != "memory" and bool(turn.get("warned")))


def changes(state: State, update: Update, scope: WarningScope | None = None) -> Update:
    """The update of the key `persona`: what differs from the state. Only the user need be there where it is empty."""
    old = state.get("persona") or {}
    if scope is not None and scope.warned:
        update = {**update, "turn": {**(update.get("turn") or old.get("turn") or {}), "warned": True}}
    new = {key: value for key, value in update.items() if (old[key] != value if key in old else value or key == "user")}
    # a run that only brings feedback must change the messages too, or a server gives its client the whole state
    only_feedback = "feedback" in update and not has_question(state)
    return {"persona": new, "messages": []} if only_feedback else {"persona": new}


class MemoryNode(Node):
    """Reads what is known of the user, and records what was said of the previous answer."""

    name = "memory"

    def _body(self, identity: Identity, state: State, config: RunnableConfig) -> Update:
        messages, persona = state.get("messages") or [], state.get("persona") or {}
        reading, turn, scored = self._read(identity, state)
        update: Update = {"user": identity.user, "feedback": None, "scored": scored}
        if not has_question(state):
            self._keep_verdict(identity.user, turn)
            turn = turn or persona.get("turn") or {}
            if persona.get("user") not in (None, identity.user):  # on a shared thread, what was another user's goes
                update |= {**_EMPTY, "query": "", "profile": {}, "cards": [], "system": "", "beside": ""}
            return {**update, "turn": {key: value for key, value in turn.items() if key != "judged"}}
        position, message = last_user_message(messages)
        (shown, others, _), style = self._split(reading.cards), prompt.describe(reading.style)
        held = [line for line, _ in reading.persona.revision.lines_in_force(reading.cards.rest)]
        opened: Update = {"user": identity.user, "id": episode_id(message, identity)}
        opened["message_id"] = message and message.id
        if context_value(config, "reflect", self.loop.reflect) == "off":
            opened["off"] = True
        latest = persona.get("turn") or {}
        if latest.get("user", identity.user) != identity.user:
            opened["apart"] = True  # the answer before was another user's
        also = messages_ahead(messages, latest, identity)
        opened |= {"also": also} if also else {}
        if turn.get("id") not in (None, opened["id"]) and not _SAID_OUTRIGHT.intersection(turn.get("feedback", ())):
            opened["previous"] = turn["id"]  # whose answer this message may react to
        again = reading.again
        if again is not None and again.query == question_of(messages, position, also):  # not edited, but made anew
            attempt = Attempt(answer=again.answer, reward=again.reward)
            opened["retried"] = [one.to_json() for one in (*again.retried, attempt)][-MOST_ATTEMPTS:]
        query, why = text_of(message)[:MOST_QUERY], "always" if others else "all"
        past = other_exchanges(reading.past, identity.session, {one.id for one in messages if one.id})
        update |= _EMPTY
        return {
            **update,
            "query": query if any(map(str.isalnum, query)) else "",
            "profile": {"persona": held, "style": style, "more_cards": len(others), "past": len(past)},
            "cards": [_card_json(card, "pinned" if others and card.pinned else why) for card in shown],
            "turn": opened | ({"judged": turn["judged"]} if "judged" in turn else {}),
        }

    def _read(self, identity: Identity, state: State) -> tuple[TurnReading, Update, list[Update]]:
        """What is known of the user; the turn before, if it was the user's; and the signals on its answer."""
        if identity.anonymous:
            logger.info("An anonymous run: nothing personal is read or written")
            return TurnReading(), {}, []
        messages, persona, asked = state.get("messages") or [], state.get("persona") or {}, has_question(state)
        position, message = last_user_message(messages)
        turn = persona.get("turn") or {}
        # without a new message a run brings feedback on the turn before, or has it answered once more
        new = message is not None and message.id != turn.get("message_id") and bool(turn or asked)
        previous = last_user_message(messages[: max(position, 0)])[0]
        told = episode_at(messages, previous if new else position, identity)
        # where no state was kept the conversation tells; of another user's turn nothing is said
        turn = turn or {"user": identity.user, "id": told.id, "message_id": told.message_id}
        turn = turn if turn.get("user") == identity.user and turn.get("id") else {}
        said = text_of(message) if new else ""
        feedback = feedback_in(persona.get("feedback"), said)
        scores = bool(turn and (told.answer or turn.get("closed")) and (new or feedback))
        signals = scores and "retrieval" in turn and (feedback or told.outcomes or self.loop.follow_up_reward)
        episode, retrievals = turn["id"] if scores else None, [turn["retrieval"]] if signals else []
        # what a conversation adds is in its messages, so the past is read anew only where one begins
        past: Any = ("latest" if previous < 0 else "known") if self.loop.episodes and asked else None
        again = episode_id(message, identity) if message and message.id and asked else None
        ids: Any = {"episode_id": episode, "again": again, "retrieval_ids": retrievals}
        read = partial(self.memory.turns.read, identity.user, past=past, **ids)
        reading, scored = run_or_default("This turn is not personalised", read, TurnReading()), list[Update]()
        if scores:
            score = partial(self._score, identity.user, turn, told, said, feedback, reading)
            turn, scored = run_or_default("What was said of the previous answer is lost", score, (turn, scored))
        return reading, turn, scored

    def _score(
        self, user: str, turn: Update, told: Episode, message: str, feedback: Update, reading: TurnReading
    ) -> tuple[Update, list[Update]]:
        """Record what is said of the turn before; returns that turn, with its judged episode, and the signals.

        It is `told` as the conversation tells it now; `message` is the user's new one, "" in a run that only brings
        feedback. What the conversation itself shows (an edit, tool outcomes) counts once: with the new message.
        """
        kept, accepted, reward = reading.episode, feedback.get("accepted"), feedback.get("reward")
        shown, signals, recorded = told.answer if kept is None else kept.answer, list[Signal](), Update()
        if reward is not None:
            signals.append(Signal("thumbs", reward, f"thumb {'down' if reward < 0 else 'up'} ({reward:+g})"))
        if accepted is None and message and " ".join(shown.split()) not in " ".join(told.answer.split()):
            accepted = told.answer
        if accepted:
            share = edit(shown, accepted)
            signals.append(Signal("edit", share, f"edited: {(share + 1) / 2:.0%} of the answer kept"))
        if message and told.outcomes:
            failed = ", ".join(one.tool for one in told.outcomes if not one.ok)
            mean = sum(tool_outcome(one.ok) for one in told.outcomes) / len(told.outcomes)
            signals.append(Signal("tool", mean, f"tool failed: {failed}" if failed else "tools succeeded"))
        if message and reward is None and self.loop.follow_up_reward is not None:
            ask = partial(self.loop.follow_up_reward, told.query, shown, message)
            verdict = run_or_default("The next message was not read as a verdict", ask, None)
            signals += [] if verdict is None else [Signal("follow_up", verdict, "the next message")]
        if (total := combine(signals)) is not None:
            # what the user said outright stands against what is only seen
            outranked = any(trust(source) > trust(total.source) for source in turn.get("feedback", ()))
            turn, recorded = self._record(user, turn, total, feedback.get("docs", []), reading)
            if kept is not None:
                reasons = tuple(mask(one.reason) for one in signals)
                known: Update = {} if outranked else {"reward": total.reward, "reasons": reasons}
                known |= {"accepted": mask(accepted[:20_000])} if accepted else {}
                turn = {**turn, "judged": kept.model_copy(update=known).to_json()}
        facts = [(one.source, round(one.reward, 3), one.reason) for one in signals]
        return turn, [{"source": source, "reward": value, "reason": why, **recorded} for source, value, why in facts]

    def _record(
        self, user: str, turn: Update, total: Signal, docs: list[str], reading: TurnReading
    ) -> tuple[Update, Update]:
        """One entry in the ledger, if documents were shown; the turn notes what was said in any case.

        A source that changes its mind about an answer takes back what it said before.
        """
        retrieval = turn.get("retrieval") or next(iter(reading.episode.retrievals if reading.episode else ()), "")
        before = turn.get("feedback", {}).get(total.source) or {"number": -1}
        now = {"reward": total.reward, "docs": docs, "number": before["number"]}
        if before.items() >= now.items():
            return turn, {}
        now["number"] += 1
        if retrieval:
            key = f"{turn['id']}:{total.source}:{retrieval}.{now['number']}"  # one answered anew is another retrieval
            add = partial(self.memory.ledger.feedback, user, retrieval, total.reward, source=total.source, key=key)
            about: Any = {"docs": docs, "about_documents": True} if docs else {"about_documents": False}
            try:
                receipt = add(reading=reading.feedback, withdraw=before.get("id"), **about)
            except Exception as error:  # documents that were not shown are no reason not to answer
                warn_of(logger, "Feedback on the previous answer was not recorded", error)
                return turn, {"recorded": False}
            now["id"] = receipt.id or None
        return {**turn, "feedback": {**turn.get("feedback", {}), total.source: now}}, {}


def _card_json(card: PreferenceCard, why: str, score: float | None = None) -> Update:
    told, first = {} if score is None else {"score": round(score, 4)}, card.evidence[:1]
    evidence = {"evidence": [one.to_json() for one in first]} if first else {}
    return {**card.model_dump(mode="json", include=_CARD), **evidence, "why": why, **told}


def after_memory(loop: Loop, state: State) -> str:
    """The way on: to the end where there is no question, and past `retrieve` where there is nothing to find."""
    if not has_question(state):
        return END
    finds = loop.retriever is not None or _searches(state["persona"])
    return "retrieve" if finds else "persona"


def _searches(persona: Update) -> bool:
    return bool(persona["profile"]["more_cards"] or (persona.get("query") and persona["profile"]["past"]))


class RetrieveNode(Node):
    """Finds for the message the host's documents, earlier exchanges, and beyond the budget the cards it calls for."""

    name = "retrieve"

    def _body(self, identity: Identity, state: State, config: RunnableConfig) -> Update:
        query, strength = state["persona"].get("query", ""), context_value(config, "strength", None)
        vector, found, shared, documents = None, Update(), Update(), list[Document]()
        if _searches(state["persona"]):
            if query and self.memory.embedder.has_model:
                vector = run_or_default(_NO_VECTOR, partial(self.memory.embedder.embed_query, query), None)
            find = partial(self._find, identity, state, vector, strength)
            found, shared = run_or_default(_NO_CARDS, find, (found, shared))
        if query and self.loop.retriever is not None:
            rank = partial(self.loop.retriever.rank_for, query, identity, strength=strength, **shared)
            documents = run_or_default(_NO_DOCUMENTS, rank, documents)
        return _found(state, found, documents)

    async def _abody(self, identity: Identity, state: State, config: RunnableConfig) -> Update:
        query, strength = state["persona"].get("query", ""), context_value(config, "strength", None)
        vector, found, shared, documents = None, Update(), Update(), list[Document]()
        if _searches(state["persona"]):
            if query and self.memory.embedder.has_model:
                vector = await await_or_default(_NO_VECTOR, self.memory.embedder.aembed_query(query), None)
            find = partial(self._find, identity, state, vector, strength)
            found, shared = await await_or_default(_NO_CARDS, run_in_executor(None, find), (found, shared))
        if query and self.loop.retriever is not None:
            rank = self.loop.retriever.arank_for(query, identity, strength=strength, **shared)
            documents = await await_or_default(_NO_DOCUMENTS, rank, documents)
        return _found(state, found, documents)

    def _find(
        self, identity: Identity, state: State, vector: Vector | None, strength: float | None
    ) -> tuple[Update, Update]:
        """Cards and exchanges for the message, best first; and what the documents share: its embedding, the taste."""
        memory, known, cards = self.memory, state["persona"]["profile"], self.memory.cards.latest(identity.user)
        found, shared, retriever = Update(), Update(), self.loop.retriever
        if vector is not None:
            found["vector"] = memory.embedder.encode(unit(vector))
            models = [memory.embeddings, *([] if retriever is None else [retriever.source.embeddings])]
            name, *more = {embedding_name(one, vector.size) for one in models}
            shared = {} if more else {"vector": vector}
            if shared and known["more_cards"]:
                shared["taste"] = read_taste(memory, identity, name, vector.size)
            if known["past"]:
                ids = {one.id for one in state["messages"] if one.id}
                past = other_exchanges(memory.episodes.read_past(identity.user), identity.session, ids)
                similar = memory.episodes.similar(past, cards, vector, self.loop.episodes)
                found["episodes"] = [_episode_json(one, score) for one, score in similar]
        if known["more_cards"]:
            found["cards"] = self._find_cards(cards, vector, shared.get("taste"), strength)
        return found, shared

    def _find_cards(
        self, cards: CardSet, vector: Vector | None, taste: Taste | None, strength: float | None
    ) -> list[Update]:
        config, rows, scores = self.memory.config, cards.vectors, dict[str, float]()
        _, others, left = self._split(cards)
        if vector is not None and rows.shape[1] == vector.size:
            direction = unit(vector)
            total = cards.relevance(direction)
            if not cards.unembedded and total.max() < _RELEVANT:  # but an allergy is no matter of relevance
                others = [card for card in others if card.pinned or card.scope == "always"]
            bonus = taste.moderated(vector, rows, config.spread).bonus if taste else None
            if bonus is not None:
                factor = bonus.shrink(config.max_bonus) * (config.strength if strength is None else strength)
                total = cards.relevance(direction + bonus.times(factor).total)
            missing, pairs = {card.id for card in cards.unembedded}, zip(cards.active, total.tolist(), strict=True)
            scores = {card.id: one for card, one in pairs if card.id not in missing}
        ranked = sorted(others, key=lambda card: (-scores.get(card.id, -1.0), -card.updated))
        return [_card_json(card, "relevant", scores.get(card.id)) for card in prompt.fit_cards(ranked, left)]


def _episode_json(episode: Episode, score: float) -> Update:
    return {**episode.model_dump(mode="json", include=_EPISODE), "score": round(score, 4)}


def _found(state: State, found: Update, documents: Sequence[Document]) -> Update:
    plain = [{"id": one.id, "text": one.page_content, "metadata": one.metadata} for one in documents]
    facts, persona = json.loads(json.dumps(plain, default=str)), state["persona"]
    retrieval = {"retrieval": facts[0]["metadata"]["persona"]["retrieval_id"]} if facts else {}
    made = {key: value for key, value in {**retrieval, "vector": found.get("vector")}.items() if value}
    cards, episodes = [*persona.get("cards", ()), *found.get("cards", ())], found.get("episodes", [])
    return {"documents": facts, "cards": cards, "episodes": episodes, "turn": {**persona["turn"], **made}}


class PersonaNode(Node):
    """Renders the system prompt, and what stands beside the message. Pure."""

    name = "persona"

    def _body(self, identity: Identity, state: State, config: RunnableConfig) -> Update:
        persona, shown, relevant = state["persona"], list[PreferenceCard](), list[PreferenceCard]()
        for one in persona.get("cards") or []:
            (relevant if one["why"] == "relevant" else shown).append(PreferenceCard.model_validate(one))
        base, known = context_value(config, "system_prompt", self.loop.system_prompt), persona["profile"]
        documents = [Document(one["text"]) for one in persona.get("documents") or []]
        episodes = [Episode.model_validate(one) for one in persona.get("episodes") or []]
        limit = self.loop.document_tokens
        beside = prompt.render_beside(relevant, documents, episodes=episodes, document_tokens=limit)
        system = prompt.render_system(base, persona=known["persona"], style=known["style"], cards=shown)
        return {"system": system, "beside": beside}


class ActNode(Runnable[Any, Update]):
    """One call with the rendered prompt, which never enters the messages. Its own errors are raised.

    Args:
        model: a chat model; or an agent: a compiled graph over `messages`, or any Runnable on a list of messages that
            answers with a message, a text, a list of messages, or a dict of these. Only new messages come back.
        tools: for the chat model.
    """

    name = "act"

    def __init__(self, model: Runnable[Any, Any], tools: Sequence[Any] = ()) -> None:
        self._is_model, self._is_graph = isinstance(model, BaseChatModel), isinstance(model, PregelProtocol)
        try:
            self._model = model.bind_tools(tools) if isinstance(model, BaseChatModel) and tools else model
        except NotImplementedError:
            raise ConfigError(f"{type(model).__name__} takes no tools: pass memory_tools=False, and no tools") from None

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Update:
        """The new messages."""
        model, given = self._prepare(input, config := ensure_config(config))
        return _new_messages(model.invoke(given, config), input["messages"])

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Update:
        """Async twin of `invoke`."""
        model, given = self._prepare(input, config := ensure_config(config))
        return _new_messages(await model.ainvoke(given, config), input["messages"])

    def _prepare(self, state: State, config: RunnableConfig) -> tuple[Runnable[Any, Any], Any]:
        persona, name = state["persona"], context_value(config, "model", None) if self._is_model else None
        front = [SystemMessage(persona["system"], id="persona")] if persona.get("system") else []
        messages = [*front, *prompt.append_to_last_message(state["messages"], persona.get("beside") or "")]
        model = self._model if name is None else self._model.bind(model=name)
        return model, {"messages": messages} if self._is_graph else messages


def _new_messages(answer: Any, given: Sequence[AnyMessage]) -> Update:
    """What comes behind the last message that was given; an agent may shorten what is before it."""
    found = answer["messages"] if isinstance(answer, Mapping) and "messages" in answer else answer
    found = [AIMessage(found)] if isinstance(found, str) else [found] if isinstance(found, BaseMessage) else found
    if not isinstance(found, list) or not all(isinstance(one, BaseMessage) for one in found):
        raise TypeError(f"the agent must answer with messages or a text, got {type(answer).__name__}")
    known = {message.id for message in given if message.id}
    places = [index for index, one in enumerate(found) if one.id in known]
    places = places or [index for index, one in enumerate(found) if isinstance(one, HumanMessage)]
    new = [one for one in found[places[-1] + 1 if places else 0 :] if not isinstance(one, SystemMessage)]
    steps = sum(isinstance(one, AIMessage) for one in given[last_user_message(given)[0] + 1 :])
    if steps + 1 >= MOST_STEPS and new and isinstance(last := new[-1], AIMessage) and last.tool_calls:
        told = {"content": last.text or LIMIT_NOTICE, "tool_calls": [], "additional_kwargs": {}}
        new[-1] = last.model_copy(update=told)
    return {"messages": new}


def show_cards(state: PersonaState) -> Update:
    """With `ui=True`: the component of the cards that the model saw, beside its answer."""
    cards = (state.get("persona") or {}).get("cards") or ()
    if cards:
        told = [{name: card[name] for name in ("id", "text", "kind", "why")} for card in cards]
        push_ui_message("persona_cards", {"cards": told}, message=state["messages"][-1])
    return {}


def after_act(state: State) -> list[Send] | str:
    """The way on from `act`: one task for each tool call, so that what is done is not done again on a resume."""
    last = state["messages"][-1]
    calls = last.tool_calls if isinstance(last, AIMessage) else []
    return [Send("tools", [call]) for call in calls] or "reflect"
