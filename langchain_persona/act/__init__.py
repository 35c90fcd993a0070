"""The act node: the model and its tools in a loop, or the host's own agent.

`create_act_graph` is the loop as a graph of its own, `add_act` puts the same loop into a bigger graph, `agent_node`
wraps an agent that the host brings.
"""

from langchain_persona.act.agent import agent_node
from langchain_persona.act.graph import add_act, create_act_graph
from langchain_persona.act.outcomes import outcomes_of
from langchain_persona.act.state import ActInput, ActOutput, ActState

__all__ = ["ActInput", "ActOutput", "ActState", "add_act", "agent_node", "create_act_graph", "outcomes_of"]
