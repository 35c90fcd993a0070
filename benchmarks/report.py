"""Results into documents: a block between two markers, replaced by a script and by nothing else."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["write_block"]


def write_block(page: Path, name: str, text: str) -> None:
    """Replace what stands between `<!-- name -->` and `<!-- /name -->`.

    Raises:
        ValueError: the page does not hold the two markers once.
    """
    before, opening, rest = (old := page.read_text(encoding="utf-8")).partition(f"<!-- {name} -->\n")
    _, closing, after = rest.partition(f"<!-- /{name} -->")
    if not closing or len(re.findall(f"<!-- {re.escape(name)} -->", old)) != 1:
        raise ValueError(
            f"{page} needs the markers <!-- {name} --> and <!-- /{name} -->, each once, on lines of their own"
        )
    page.write_text(f"{before}{opening}\n{text.strip()}\n\n{closing}{after}", encoding="utf-8")
