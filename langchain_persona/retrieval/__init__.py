"""One personalised retrieval.

`request` is what is asked, `taste` what is known of the user for it, `steps` the retrieval itself as effects,
`recorded` what is kept of it for later feedback and what each document says, `rating` the way back.
"""

from langchain_persona.retrieval.request import Request, Reranker
from langchain_persona.retrieval.steps import retrieve

__all__ = ["Request", "Reranker", "retrieve"]
