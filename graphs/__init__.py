"""The graphs that LangGraph Studio opens; `make studio`."""
