"""How like two answers are, in meaning and in length."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from langchain_core.embeddings import Embeddings

from langchain_persona.arrays import unit
from langchain_persona.effects import Embed, Steps
from langchain_persona.persona.clean import clean_line
from langchain_persona.persona.grounding import tokens

__all__ = ["likeness"]

_LONGEST = 2_000


def likeness(reference: str, answers: Sequence[str], embeddings: Embeddings | None) -> Steps[list[float]]:
    """Likeness of each answer to a reference, in [0, 1]: three parts cosine, one part the ratio of lengths.

    Length counts because it is what users correct most and what embeddings do not see.

    Args:
        reference: what the user accepted.
        answers: to be compared with it.
        embeddings: for the cosine; without them it is that of word counts.
    """
    texts = [clean_line(text, _LONGEST) or " " for text in (reference, *answers)]
    if embeddings is None:
        counts = [Counter(tokens(text)) for text in texts]
        cosines = [_cosine(counts[0], count) for count in counts[1:]]
    else:
        rows = unit((yield Embed(embeddings, texts)))
        cosines = [max(0.0, float(row @ rows[0])) for row in rows[1:]]
    lengths = [min(len(texts[0]), len(text)) / max(len(texts[0]), len(text)) for text in texts[1:]]
    return [0.75 * min(1.0, cosine) + 0.25 * length for cosine, length in zip(cosines, lengths, strict=True)]


def _cosine(one: Counter[str], other: Counter[str]) -> float:
    product = sum(count * other[word] for word, count in one.items())
    norms = math.sqrt(sum(n * n for n in one.values()) * sum(n * n for n in other.values()))
    return product / norms if norms else 0.0
