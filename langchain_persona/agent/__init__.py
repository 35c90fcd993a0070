"""The agent that learns its user: nodes, the prebuilt graph, and a middleware over the same functions.

`middleware` needs the extra `langchain` and is not loaded here.
"""

from langchain_persona.agent.graph import create_persona_graph
from langchain_persona.agent.nodes import ActNode, Loop, LoopOptions, MemoryNode, PersonaNode, RetrieveNode
from langchain_persona.agent.reflector import ApproveNode, ReflectNode
from langchain_persona.agent.state import PersonaInput, PersonaOutput, PersonaState
from langchain_persona.agent.tools import memory_tools

__all__ = [
    "ActNode",
    "ApproveNode",
    "Loop",
    "LoopOptions",
    "MemoryNode",
    "PersonaInput",
    "PersonaNode",
    "PersonaOutput",
    "PersonaState",
    "ReflectNode",
    "RetrieveNode",
    "create_persona_graph",
    "memory_tools",
]
