"""Who the user is: names that any store accepts, and whom to believe."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime, ServerInfo
from langgraph.store.base import PutOp
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite import SqliteStore
from pydantic import ValidationError

from langchain_persona.identity import (
    ANONYMOUS,
    Identity,
    Label,
    PersonaContext,
    allow_own_records,
    context_value,
    label,
    normalise_user,
    resolve_identity,
)
from langchain_persona.memory.embedder import embedding_name
from langchain_persona.testing import HashEmbeddings
from tests.memories import warnings_in

TEXT = st.text(st.characters(), max_size=150)
NASTY = ["", ".", "..", "a@b", "langgraph", "\x00", "~2e", "=", "#", "u=a", "🦉", "é", "e\u0301", "x" * 2_000, "\ud800"]


class State(TypedDict, total=False):
    found: Any


# names ----------------------------------------------------------------------------------------------------------------


@given(TEXT | st.sampled_from(NASTY), TEXT | st.sampled_from(NASTY), st.sampled_from(["u", "s", "c"]))
def test_labels_are_injective_and_accepted_by_any_store(one, other, prefix):
    made = label(one, prefix=prefix)
    assert (made == label(other, prefix=prefix)) == (one == other)
    assert len(made) <= 120
    assert not {".", "\x00", "%"} & set(made)
    store = InMemoryStore()
    store.put((made, "things"), made, {"a": 1})  # the public method validates the namespace
    assert store.get((made, "things"), made).value == {"a": 1}


def test_labels_of_nasty_names_stay_apart_in_sqlite():
    with SqliteStore.from_conn_string(":memory:") as store:
        store.setup()
        store.batch([PutOp(("p", label(name)), "key", {"number": number}) for number, name in enumerate(NASTY)])
        for number, name in enumerate(NASTY):
            assert [item.value["number"] for item in store.search(("p", label(name)))] == [number]


def test_a_long_name_does_not_collide_with_its_own_hash_and_a_label_stands_for_itself():
    long = label("x" * 2_000)
    assert len({long, label(str(long)), label(str(long)[2:])}) == 3
    assert label(Label("u=ana")) == label("ana") != label("u=ana")


def test_ids_become_text():
    given_ids = [None, "", " \t\n", "a@b.c", " ana ", 7, "7", 0, -1, uuid.UUID(int=5)]
    texts = ["", "", "", "a@b.c", " ana ", "7", "7", "0", "-1", "00000000-0000-0000-0000-000000000005"]
    assert [normalise_user(one) for one in given_ids] == texts


def test_ids_of_other_types_are_refused():
    for wrong in (True, 1.0, b"ana", ["ana"], {"id": 1}, object()):
        with pytest.raises(TypeError, match="must be a str, int or UUID"):
            normalise_user(wrong)


def test_embedding_names_tell_models_and_dimensions_apart():
    model = HashEmbeddings(8)
    assert embedding_name(model, 8) == "HashEmbeddings/hash-8/8"
    assert embedding_name(SimpleNamespace(model=None, model_name="n"), 8) == "SimpleNamespace/n/8"
    assert embedding_name(SimpleNamespace(model=object(), deployment="d"), 8) == "SimpleNamespace/d/8"
    assert embedding_name(SimpleNamespace(), 8) == "SimpleNamespace/8"
    assert embedding_name(model, 8) != embedding_name(model, 16)
    cached = SimpleNamespace(underlying_embeddings=model)  # as CacheBackedEmbeddings
    assert embedding_name(cached, 8) == embedding_name(model, 8)


# whom to believe ------------------------------------------------------------------------------------------------------


@dataclass
class StudioUser:
    identity: str = "langgraph-studio-user"
    kind: str = "StudioUser"


def resolve(verified: object = None, *, context: object = None, configurable: Any = None, **options: Any) -> Identity:
    """What is resolved in a node, by the server's user and the claims."""
    runtime = Runtime(
        context=context,
        server_info=None if verified is None else ServerInfo("a", "g", verified),  # type: ignore[arg-type]
    )
    config: RunnableConfig = {"configurable": {"__pregel_runtime": runtime, **(configurable or {})}}
    return resolve_identity(config, **options)


def named(identity: object) -> SimpleNamespace:
    return SimpleNamespace(identity=identity)


CLAIMS = ["keyword", "context", "configurable", "default"]


def test_the_order_of_claims():
    for first in range(len(CLAIMS) + 1):
        claims = CLAIMS[first:]
        found = resolve(
            context={"user_id": "context"} if "context" in claims else None,
            configurable={"user_id": "configurable"} if "configurable" in claims else None,
            user_id="keyword" if "keyword" in claims else None,
            default_user="default" if "default" in claims else None,
        )
        assert found.user == (claims[0] if claims else ANONYMOUS)


@pytest.mark.parametrize("claim", CLAIMS)
def test_law_4_an_authenticated_user_and_another_claim_make_the_call_anonymous(claim, caplog):
    places: dict[str, Any] = {
        "keyword": {"user_id": "bob"},
        "context": {"context": {"user_id": "bob"}},
        "configurable": {"configurable": {"user_id": "bob"}},
        "default": {"default_user": "bob"},
    }
    session = {"session_id": "t1"}
    assert resolve(named("ana"), **places[claim], **session) == Identity(ANONYMOUS, "t1")
    (warning,) = warnings_in(caplog)
    assert 'trust="caller"' in warning
    assert "bob" not in warning
    caplog.clear()
    assert resolve(named("ana"), trust="caller", **places[claim]).user == "bob"
    assert resolve(named("bob"), **places[claim]).user == "bob"
    assert warnings_in(caplog) == []


def test_the_authenticated_user_is_taken_where_nothing_is_claimed_and_may_stay_anonymous():
    assert resolve(named("ana")).user == "ana"
    assert resolve(named("7"), user_id=7).user == "7"
    assert resolve(named("ana"), user_id="").anonymous  # asked for
    assert resolve(named("ana"), user_id="", trust="caller").anonymous


def test_law_4_who_has_no_name_of_their_own_does_not_merge_users(caplog):
    for nobody in (named(None), named(" "), named(7), StudioUser(), {"kind": "StudioUser"}):
        assert [resolve(nobody, context={"user_id": name}).user for name in ("ana", "bob")] == ["ana", "bob"]
        assert resolve(nobody).anonymous
    assert warnings_in(caplog) == []


def test_law_4_a_service_key_does_not_merge_users(caplog):
    """One key for many users: the claims differ from it, so they are believed only where the developer says so."""
    contexts = [PersonaContext(user_id=name) for name in ("ana", "bob")]
    assert [resolve(named("key"), context=one, trust="caller").user for one in contexts] == ["ana", "bob"]
    assert all(resolve(named("key"), context=one).anonymous for one in contexts)
    assert len(warnings_in(caplog)) == 2


def test_a_claimed_auth_user_is_no_proof():
    configurable = {"langgraph_auth_user": named("mallory"), "langgraph_auth_user_id": "mallory", "user_id": "ana"}
    assert resolve_identity({"configurable": configurable}).user == "ana"


@pytest.mark.parametrize(
    ("action", "namespace", "allowed"),
    [
        ("search", ("persona", "u=ana"), True),
        ("get", ["persona", "u=ana", "cards"], True),
        ("list_namespaces", ("persona", "u=ana"), True),
        ("put", ("persona", "u=ana", "cards"), False),
        ("delete", ("persona", "u=ana", "cards"), False),
        ("search", ("persona", "u=anab"), False),
        ("search", ("persona", "u=an"), False),
        ("search", ("persona",), False),
        ("list_namespaces", None, False),
        ("search", ("notes", "u=ana"), False),
    ],
)
async def test_law_4_over_http_a_caller_reads_own_records_and_no_others(action, namespace, allowed):
    def ask(user: Any) -> Any:
        return allow_own_records(SimpleNamespace(user=user, action=action), {"namespace": namespace})

    assert await ask(named("ana")) is allowed
    assert await ask(StudioUser()) is True
    for nobody in (named(None), named(" "), named(7)):
        assert await ask(nobody) is False


@dataclass
class Context:
    user_id: str | None = None
    strength: float | None = None


@pytest.mark.parametrize(
    ("schema", "context"),
    [
        (None, {"user_id": "ana"}),
        (Context, Context("ana")),
        (Context, {"user_id": "ana"}),
        (PersonaContext, PersonaContext(user_id="ana")),
        (PersonaContext, {"user_id": "ana"}),
        (None, SimpleNamespace(user_id="ana")),
    ],
)
def test_every_kind_of_context_reaches_a_node_of_a_real_graph(schema, context):
    def node(state: State, config: RunnableConfig) -> State:
        config = ensure_config(config)
        return {"found": (resolve_identity(config), context_value(config, "strength", 0.5))}

    graph = StateGraph(State, context_schema=schema).add_node("node", node).add_edge(START, "node").compile()
    config: RunnableConfig = {"configurable": {"user_id": "other", "thread_id": "t"}}
    assert graph.invoke({}, config, context=context)["found"] == (Identity("ana", "t"), 0.5)
    empty = type(context)() if schema is Context and isinstance(context, Context) else {}
    assert graph.invoke({}, config, context=empty)["found"][0].user == "other"


def test_a_field_of_the_context_goes_before_the_default():
    runtime = Runtime(context=PersonaContext(strength=0.0, model="", system_prompt="Be brief."))
    config: RunnableConfig = {"configurable": {"__pregel_runtime": runtime}}
    assert [context_value(config, name, "default") for name in ("strength", "model", "system_prompt", "reflect")] == [
        0.0,
        "default",
        "Be brief.",
        "default",
    ]
    assert context_value({}, "strength", 1.0) == 1.0


def test_a_context_with_unknown_fields_or_values_raises():
    wrong = [{"userid": "ana"}, {"user_id": True}, {"user_id": 1.5}, {"strength": 11}, {"reflect": "later"}]
    for fields in wrong:
        with pytest.raises(ValidationError):
            PersonaContext(**fields)


def test_an_id_of_a_wrong_type_is_anonymous_with_one_warning(caplog):
    for number, wrong in enumerate((True, 1.5, ["ana"]), start=1):
        found = resolve(configurable={"user_id": wrong, "thread_id": "t"}, default_user="ana")
        assert found == Identity(ANONYMOUS, "t")
        assert len(warnings_in(caplog)) == number


def test_the_session_is_the_thread():
    cases = [({}, None, ""), ({"thread_id": "t"}, None, "t"), ({"thread_id": 12}, None, "12")]
    cases += [({"thread_id": "t", "session_id": "s"}, None, "t"), ({"session_id": "s"}, None, "s")]
    cases += [({"thread_id": "t"}, "x", "x"), ({"thread_id": "t"}, "", "")]
    for configurable, explicit, session in cases:
        assert resolve(configurable=configurable, session_id=explicit).session == session
    assert resolve_identity({}) == Identity(ANONYMOUS, "")
    assert Identity(ANONYMOUS).anonymous
    assert not Identity("0").anonymous
