"""What is kept in the store, as pydantic models of plain JSON.

`feedback` holds the ledger and what leads to it, `cards` semantic memory, `episodes` episodic memory, `profile` the
communication style and the persona. Times are seconds since the epoch.
"""

from langchain_persona.records.base import Record, new_id, read_record
from langchain_persona.records.cards import Evidence, PreferenceCard
from langchain_persona.records.episodes import Episode, ToolOutcome
from langchain_persona.records.feedback import (
    Feedback,
    LedgerEntry,
    Logged,
    Retrieval,
    Snapshot,
    Window,
    Withdrawal,
    read_entry,
)
from langchain_persona.records.profile import CommunicationStyle, Language, Persona, PersonaRevision, Trait
from langchain_persona.records.spaces import SpaceDocument, SpacePointer, SpaceVersion

__all__ = [
    "CommunicationStyle",
    "Episode",
    "Evidence",
    "Feedback",
    "Language",
    "LedgerEntry",
    "Logged",
    "Persona",
    "PersonaRevision",
    "PreferenceCard",
    "Record",
    "Retrieval",
    "Snapshot",
    "SpaceDocument",
    "SpacePointer",
    "SpaceVersion",
    "ToolOutcome",
    "Trait",
    "Window",
    "Withdrawal",
    "new_id",
    "read_entry",
    "read_record",
]
