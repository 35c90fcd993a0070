"""Everything held on users, in one LangGraph store.

`memory` is the façade; `store` is all that knows `BaseStore`; `ledger` keeps feedback and folds it; `cards`,
`episodes` and `persona` keep words; `spaces` the preference space in force; `local` opens the embedded default.
"""

from langchain_persona.memory.explanation import Explanation, Rating
from langchain_persona.memory.ledger import FeedbackReceipt
from langchain_persona.memory.memory import PersonaMemory, Profile
from langchain_persona.memory.migration import MigrationReport
from langchain_persona.memory.store import RuntimeStore

__all__ = ["Explanation", "FeedbackReceipt", "MigrationReport", "PersonaMemory", "Profile", "Rating", "RuntimeStore"]
