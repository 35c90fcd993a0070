"""What becomes of new cards beside old ones, and what becomes of cards that the user asks to forget."""

from langchain_persona.reconciliation.batch import reconcile
from langchain_persona.reconciliation.changes import Change
from langchain_persona.reconciliation.forgetting import forget_matching

__all__ = ["Change", "forget_matching", "reconcile"]
