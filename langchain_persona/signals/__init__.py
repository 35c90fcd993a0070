"""What a message says beside its question: pure functions on text, five languages, no model call.

Word lists for English, German, French, Spanish and Chinese are data files, read once at import.
"""

from langchain_persona.signals.followup import follow_up
from langchain_persona.signals.forgetting import ForgetRequest, forget_request
from langchain_persona.signals.guard import objection
from langchain_persona.signals.language import language_of
from langchain_persona.signals.objective import is_objective
from langchain_persona.signals.secrets import has_secret, mask

__all__ = [
    "ForgetRequest",
    "follow_up",
    "forget_request",
    "has_secret",
    "is_objective",
    "language_of",
    "mask",
    "objection",
]
