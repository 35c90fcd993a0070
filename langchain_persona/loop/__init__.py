"""The persona loop as effects: settle the turn before, recall, and reflect; what nodes and middleware are made of."""

from langchain_persona.loop.judge import Judge
from langchain_persona.loop.reflect import Reflected, Reflector
from langchain_persona.loop.state import PersonaInput, PersonaState

__all__ = ["Judge", "PersonaInput", "PersonaState", "Reflected", "Reflector"]
