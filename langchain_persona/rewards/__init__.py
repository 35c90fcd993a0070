"""Any signal of a user to one scale: a reward in [−1, 1]. Pure functions, no model call.

| signal | function | value | reliability | source |
| --- | --- | --- | --- | --- |
| a thumb | `thumbs` | −1, 1 | 1.0 | said outright |
| a rating | `stars` | −1 to 1, linear | 1.0 | said outright |
| the answer as the user edited it | `edit` | −1 to 1, share of words kept | 0.9 | Gao et al. 2024, arXiv 2404.15269 |
| a model's verdict | `judge` | −1 to 1, linear | 0.6 | Zheng et al. 2023; VARS, arXiv 2603.20939 |
| the next message | `follow_up` | −0.8 to 0.9, by word lists | 0.5 | VARS, arXiv 2603.20939 |
| copied | `copy` | 0.5 | 0.4 | Oard and Kim, AAAI workshop 1998 |
| answered once more | `retry` | −0.5 | 0.4 | Hassan et al., CIKM 2013 |
| a tool call | `tool_outcome` | −0.5, 0.5 | 0.3 | chosen |
| time spent reading | `dwell` | 0 to 1, saturating | 0.2 | Fox et al., ACM TOIS 2005 |
| a click | `click` | 0.3 | 0.15 | Joachims et al., SIGIR 2005 |

`combine` makes one signal of several, weighted by `RELIABILITY`. The follow-up message needs word lists: `follow_up` is
`langchain_persona.signals.follow_up`, loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_persona.rewards.combining import RELIABILITY, Signal, combine, reliabilities, trust
from langchain_persona.rewards.edits import edit
from langchain_persona.rewards.scale import click, copy, dwell, judge, retry, stars, thumbs, tool_outcome, validated

if TYPE_CHECKING:
    from langchain_persona.signals import follow_up

__all__ = [
    "RELIABILITY",
    "Signal",
    "click",
    "combine",
    "copy",
    "dwell",
    "edit",
    "follow_up",
    "judge",
    "reliabilities",
    "retry",
    "stars",
    "thumbs",
    "tool_outcome",
    "trust",
    "validated",
]


def __getattr__(name: str) -> Any:
    """`follow_up`, whose module is made with this one and so cannot be imported by it."""
    if name == "follow_up":
        from langchain_persona.signals import follow_up

        return follow_up
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
