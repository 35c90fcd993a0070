"""Personalised retrieval: `VARSRetriever` over any vector store, `PersonalizedCompressor` behind any retriever.

Arrows of import: sources <- ranking <- retriever <- compressor.
"""

from langchain_persona.retrieval.compressor import PersonalizedCompressor
from langchain_persona.retrieval.retriever import VARSRetriever
from langchain_persona.retrieval.sources import Candidates, Source

__all__ = ["Candidates", "PersonalizedCompressor", "Source", "VARSRetriever"]
