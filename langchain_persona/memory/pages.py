"""Everything below a namespace, however much a store gives at a time."""

from __future__ import annotations

from langgraph.store.base import BaseStore, ListNamespacesOp, MatchCondition, SearchItem, SearchOp

from langchain_persona.effects import Steps, StoreOps

__all__ = ["children", "everything", "users_in"]

_PAGE = 1_000

Namespace = tuple[str, ...]


def everything(store: BaseStore, place: Namespace) -> Steps[list[SearchItem]]:
    """All items in a namespace and below it."""
    found: list[SearchItem] = []
    offset = 0
    while True:
        (items,) = yield StoreOps(store, [SearchOp(place, limit=_PAGE, offset=offset, refresh_ttl=False)])
        # some stores matched prefixes as text: never another user's entry
        found += [item for item in items if tuple(item.namespace)[: len(place)] == place]
        if len(items) < _PAGE:
            return found
        offset += _PAGE


def children(store: BaseStore, place: Namespace) -> Steps[list[str]]:
    """The labels that follow a namespace, sorted, each once."""
    found: set[str] = set()
    offset = 0
    condition = MatchCondition(match_type="prefix", path=place)
    while True:
        op = ListNamespacesOp((condition,), max_depth=len(place) + 1, limit=_PAGE, offset=offset)
        (names,) = yield StoreOps(store, [op])
        found |= {name[-1] for name in map(tuple, names) if name[:-1] == place}
        if len(names) < _PAGE:
            return sorted(found)
        offset += _PAGE


def users_in(store: BaseStore, root: Namespace) -> Steps[list[str]]:
    """Labels of all users in a store, sorted."""
    labels = yield from children(store, root)
    return [name for name in labels if name.startswith(("u=", "u#"))]
