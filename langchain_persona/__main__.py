"""`python -m langchain_persona`, and the command of that name: says which extra is missing where one is."""

from __future__ import annotations

import sys
from io import TextIOWrapper

from langchain_persona.errors import MissingExtraError


def main() -> None:
    """Run the command line."""
    try:
        from langchain_persona.cli import app
    except MissingExtraError as error:
        sys.exit(str(error))
    if isinstance(sys.stdout, TextIOWrapper):  # a terminal that is not UTF-8 shows "?" for what it cannot
        sys.stdout.reconfigure(errors="replace")
    app(prog_name="langchain-persona")


if __name__ == "__main__":
    main()
