"""The inspector's pages on the server, below `/persona/`; `langgraph.json` mounts them behind its authentication.

Where the server has none, as in `make studio`, a browser on this machine may choose a user.
"""

from graphs.shared import films, memory
from langchain_persona.inspector import create_inspector

app = create_inspector(memory, films, local=True)
