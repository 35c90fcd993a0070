"""Public test doubles and check lists, for our tests and for those of who builds on this package.

`HashEmbeddings` and `ScriptedChatModel` stand in for models; `check_update_rule` holds a learning rule to what every
such rule must keep.
"""

from langchain_persona.testing.chat_model import ScriptedChatModel
from langchain_persona.testing.embeddings import HashEmbeddings
from langchain_persona.testing.update_rules import check_update_rule, random_events

__all__ = ["HashEmbeddings", "ScriptedChatModel", "check_update_rule", "random_events"]
