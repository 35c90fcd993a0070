"""Who the user is: names that any store accepts, and the order of trust."""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.store.base import PutOp
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite import SqliteStore

from langchain_persona.identity import (
    ANONYMOUS,
    Identity,
    PersonaContext,
    embedding_name,
    label,
    normalise_user,
    resolve_identity,
)
from langchain_persona.testing import HashEmbeddings

ANY_TEXT = st.text(st.characters(), max_size=200)
NASTY = [
    "",
    ".",
    "..",
    "a@b.c",
    "langgraph",
    "user-1",
    "user-10",
    "\x00",
    "~2e",
    "=",
    "#",
    "u=a",
    "🦉",
    "x" * 2_000,
    "\ud800",
]


class State(TypedDict, total=False):
    found: Identity


# names ------------------------------------------------------------------------------------------------------


@given(ANY_TEXT, ANY_TEXT)
def test_labels_are_injective(one, other):
    assert (label(one) == label(other)) == (one == other)


@pytest.mark.parametrize("one", NASTY)
def test_labels_of_nasty_names_are_all_different(one):
    others = {label(other) for other in NASTY if other != one}
    assert len(others) == len(NASTY) - 1
    assert label(one) not in others


@given(ANY_TEXT | st.sampled_from(NASTY), st.sampled_from(["u", "s", "c", "k", "e", "r"]))
def test_labels_are_accepted_by_any_store(name, prefix):
    made = label(name, prefix=prefix)
    assert 0 < len(made) <= 120
    assert "." not in made
    assert "\x00" not in made
    assert not made.startswith("langgraph")
    store = InMemoryStore()
    store.put((made, "things"), made, {"a": 1})  # the public method validates the namespace
    assert store.get((made, "things"), made).value == {"a": 1}


def test_labels_survive_sqlite():
    with SqliteStore.from_conn_string(":memory:") as store:
        store.setup()
        store.batch(
            [PutOp(("persona", label(name)), "key", {"name": name.encode("utf-8", "replace").hex()}) for name in NASTY]
        )
        for name in NASTY:
            found = store.search(("persona", label(name)))
            assert [item.value["name"] for item in found] == [name.encode("utf-8", "replace").hex()]


def test_a_long_name_does_not_collide_with_its_own_hash():
    long = "x" * 2_000
    assert label(label(long)) != label(long)
    assert label(label(long)[2:]) != label(long)


@pytest.mark.parametrize(
    ("given_id", "text"),
    [
        (None, ""),
        ("", ""),
        (" \t\n", ""),
        ("ana@example.com", "ana@example.com"),
        (" ana ", " ana "),
        (7, "7"),
        ("7", "7"),
        (0, "0"),
        (-1, "-1"),
        (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
    ],
)
def test_ids_become_text(given_id, text):
    assert normalise_user(given_id) == text


@pytest.mark.parametrize("wrong", [True, False, 1.0, float("nan"), b"ana", ["ana"], {"id": 1}, object()])
def test_ids_of_other_types_are_refused(wrong):
    with pytest.raises(TypeError, match="must be a str, int or UUID"):
        normalise_user(wrong)


def test_embedding_names_tell_models_and_dimensions_apart():
    assert embedding_name(HashEmbeddings(8), 8) == "HashEmbeddings/hash-8/8"
    assert embedding_name(SimpleNamespace(model="m"), 8) == "SimpleNamespace/m/8"
    assert embedding_name(SimpleNamespace(model=None, model_name="n"), 8) == "SimpleNamespace/n/8"
    assert embedding_name(SimpleNamespace(model=object(), deployment="d"), 8) == "SimpleNamespace/d/8"
    assert embedding_name(SimpleNamespace(), 8) == "SimpleNamespace/8"
    assert embedding_name(SimpleNamespace(model="m"), 8) != embedding_name(SimpleNamespace(model="m"), 16)


def test_identity_knows_the_anonymous():
    assert Identity(ANONYMOUS).anonymous
    assert not Identity("0").anonymous


# order of trust ---------------------------------------------------------------------------------------------


def within_a_graph(
    configurable: dict[str, Any] | None = None, *, context: object = None, schema: Any = None, **arguments: Any
) -> Identity:
    """What is resolved inside a node of a real graph."""

    def node(state: State, config: RunnableConfig) -> State:
        return {"found": resolve_identity(ensure_config(config), **arguments)}

    builder = StateGraph(State, context_schema=schema)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    builder.add_edge("node", END)
    return builder.compile().invoke({}, {"configurable": configurable or {}}, context=context)["found"]


def authenticated(identity: object) -> dict[str, Any]:
    """What LangGraph's server puts into the config of an authenticated run."""
    return {"assistant_id": "a", "graph_id": "g", "langgraph_auth_user": SimpleNamespace(identity=identity)}


CLAIMS = ["verified", "keyword", "context", "configurable", "default"]


@pytest.mark.parametrize("first", range(len(CLAIMS) + 1))
def test_order_of_trust(first):
    given_claims = CLAIMS[first:]
    found = within_a_graph(
        {
            **(authenticated("verified") if "verified" in given_claims else {}),
            **({"user_id": "configurable"} if "configurable" in given_claims else {}),
        },
        context={"user_id": "context"} if "context" in given_claims else None,
        user_id="keyword" if "keyword" in given_claims else None,
        default_user="default" if "default" in given_claims else None,
    )
    assert found.user == (given_claims[0] if given_claims else ANONYMOUS)


def test_law_4_the_verified_identity_beats_every_claim():
    found = within_a_graph(
        {**authenticated("ana"), "user_id": "mallory"},
        context={"user_id": "mallory"},
        user_id="mallory",
        default_user="mallory",
    )
    assert found.user == "ana"


def test_law_4_a_verified_identity_in_the_runtime_itself_is_found():
    from langgraph.runtime import ServerInfo

    runtime = Runtime(server_info=ServerInfo("a", "g", SimpleNamespace(identity="ana")), context={"user_id": "mallory"})
    config: RunnableConfig = {"configurable": {"__pregel_runtime": runtime, "user_id": "mallory"}}
    assert resolve_identity(config, user_id="mallory").user == "ana"


def test_an_unauthenticated_server_run_falls_back_to_the_claim():
    assert within_a_graph({"assistant_id": "a", "graph_id": "g", "user_id": "bo"}).user == "bo"


def test_outside_a_graph_a_claimed_auth_user_is_no_proof():
    config: RunnableConfig = {"configurable": {**authenticated("mallory"), "user_id": "ana"}}
    assert resolve_identity(config).user == "ana"


@dataclass
class DataclassContext:
    user_id: str | None = None


@pytest.mark.parametrize(
    ("schema", "context"),
    [
        (None, {"user_id": "ana"}),
        (dict, {"user_id": "ana"}),
        (DataclassContext, DataclassContext("ana")),
        (DataclassContext, {"user_id": "ana"}),
        (PersonaContext, PersonaContext(user_id="ana")),
        (PersonaContext, {"user_id": "ana"}),
        (None, SimpleNamespace(user_id="ana")),
    ],
)
def test_every_kind_of_context(schema, context):
    assert within_a_graph({"user_id": "other"}, context=context, schema=schema).user == "ana"


@pytest.mark.parametrize(
    ("schema", "context"), [(DataclassContext, {}), (PersonaContext, {}), (None, {}), (None, "ana")]
)
def test_a_context_without_a_user_leaves_it_to_the_configurable(schema, context):
    assert within_a_graph({"user_id": "other"}, context=context, schema=schema).user == "other"


def test_an_explicit_empty_id_asks_for_anonymous():
    assert resolve_identity({"configurable": {"user_id": "ana"}}, user_id="", default_user="bo").anonymous


@pytest.mark.parametrize("wrong", [True, 1.5, ["ana"]])
def test_an_id_of_a_wrong_type_is_anonymous_with_one_warning(wrong, caplog):
    with caplog.at_level(logging.WARNING):
        found = resolve_identity({"configurable": {"user_id": wrong, "thread_id": "t"}}, default_user="ana")
    assert found == Identity(ANONYMOUS, "t")
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize(
    ("configurable", "explicit", "session"),
    [
        ({}, None, ""),
        ({"thread_id": "t"}, None, "t"),
        ({"thread_id": 12}, None, "12"),
        ({"thread_id": "t", "session_id": "s"}, None, "t"),
        ({"session_id": "s"}, None, "s"),
        ({"thread_id": "t"}, "x", "x"),
        ({"thread_id": "t"}, "", ""),
    ],
)
def test_the_session_is_the_thread(configurable, explicit, session):
    assert resolve_identity({"configurable": configurable}, session_id=explicit).session == session


def test_a_config_without_configurable_is_anonymous():
    assert resolve_identity({}) == Identity(ANONYMOUS, "")
