"""The persona: rendered into a prompt by `render`, written from what is known by a `PersonaWriter`."""

from langchain_persona.memory.revisions import Draft
from langchain_persona.persona.clean import clean_line
from langchain_persona.persona.model_writer import ModelWriter
from langchain_persona.persona.render import Notes, approximate, notes, render, system_message
from langchain_persona.persona.writer import PersonaWriter, TemplateWriter

__all__ = [
    "Draft",
    "ModelWriter",
    "Notes",
    "PersonaWriter",
    "TemplateWriter",
    "approximate",
    "clean_line",
    "notes",
    "render",
    "system_message",
]
