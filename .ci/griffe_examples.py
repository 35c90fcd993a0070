"""For the API pages: griffe draws doctests as code under `Examples:`, and as quotations under our `Example:`."""

from typing import Any

import griffe


class Examples(griffe.Extension):
    """Renames the heading in every docstring."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
