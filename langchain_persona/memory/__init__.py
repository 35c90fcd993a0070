"""Everything held on users, behind one object.

`PersonaMemory` is the façade; `ledger` keeps feedback and folds it, `feedback` turns a signal into an entry,
`explanation` says what was learned, `evaluation` what another strength would have earned, `local` opens the embedded
default.
"""

from langchain_persona.memory.evaluation import Evaluation
from langchain_persona.memory.explanation import Explanation
from langchain_persona.memory.facade import PersonaMemory
from langchain_persona.memory.feedback import FeedbackReceipt

__all__ = ["Evaluation", "Explanation", "FeedbackReceipt", "PersonaMemory"]
