"""Extraction: from what a user wrote to preference cards, by rules or by a chat model."""

from langchain_persona.extraction.llm import LLMExtractor
from langchain_persona.extraction.protocol import PreferenceExtractor, Turn
from langchain_persona.extraction.rules import RuleExtractor

__all__ = ["LLMExtractor", "PreferenceExtractor", "RuleExtractor", "Turn"]
