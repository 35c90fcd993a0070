"""The inspector: web pages on which users see, correct, take along and erase what is held on them.

`create_inspector` makes the Starlette app; `langchain-persona inspector --path ./persona` serves it on this machine.
It needs the extra `inspector`.
"""

from langchain_persona.errors import MissingExtraError

try:
    from langchain_persona.inspector.app import create_inspector
except ModuleNotFoundError as error:
    raise MissingExtraError(
        f'the inspector needs the package {error.name}: pip install "langchain-persona[inspector]"'
    ) from error

__all__ = ["create_inspector"]
