"""Everything held on users, behind one object.

`PersonaMemory` is the façade; `ledger` keeps feedback and folds it, `feedback` turns a signal into an entry,
`explanation` says what was learned, `local` opens the embedded default.
"""

from langchain_persona.memory.explanation import Explanation
from langchain_persona.memory.facade import PersonaMemory
from langchain_persona.memory.feedback import FeedbackReceipt

__all__ = ["Explanation", "FeedbackReceipt", "PersonaMemory"]
