"""The rules that are compared: what is known without us, the published rules, and ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.classics import BayesianRegression, ItemAverages, Rocchio
from benchmarks.fitted import CrossFitted
from benchmarks.learners import Array, Learner, Plain, Rows, VarsLearner, sampled
from benchmarks.popularity import Popular
from langchain_persona import PreferenceSpace, VARSConfig

__all__ = [
    "OURS",
    "OURS_FITTED",
    "PAPER",
    "PLAIN",
    "POPULAR",
    "RANDOM",
    "Contender",
    "contenders",
    "described",
]

RANDOM, POPULAR, PLAIN = "random", "popularity", "plain"
PAPER, OURS, OURS_FITTED = "paper", "ours", "ours_fitted"


@dataclass(frozen=True, slots=True, eq=False)
class Contender:
    """One way to learn.

    Attributes:
        id: short, for the JSON document.
        name: for people.
        config: the settings of a rule of this package; None for others.
        space: where such a rule learns; None is the identity.
        fitted: instead of `space`: one for each group of users, fitted on all others.
        make: a fresh learner of a user, for what is not a rule of this package.
        note: what it is, for those.
        background: unit embeddings of a sample of what can be shown, shape (n, d), on which a rule of this package
            measures how far relevance and bonus vary.
        said: user and seed to what they stated as it acts on each scenario: phase to vectors, shape (n, d).
        thumbs: whether it learns from thumbs; False is words only.
        order: whether what it gives depends on the order of the thumbs, or on what else could have been shown.
    """

    id: str
    name: str
    config: VARSConfig | None = None
    space: PreferenceSpace | None = None
    fitted: CrossFitted | None = None
    make: Callable[[str], Learner] | None = None
    note: str = ""
    background: Rows | None = None
    said: Callable[[str, int], Mapping[int, Array]] | None = None
    thumbs: bool = True
    order: bool = True

    def space_of(self, user: str) -> PreferenceSpace | None:
        """Where this rule learns this user's taste; None is the identity."""
        return self.space if self.fitted is None else self.fitted.of(user)

    def learner(self, user: str, dimension: int) -> Learner:
        """A user of whom nothing is known yet; embeddings have this many numbers."""
        if self.make is not None:
            return self.make(user)
        assert self.config is not None
        return VarsLearner(self.config, self.space_of(user) or PreferenceSpace.identity(dimension), self.background)

    @property
    def temperature(self) -> float:
        """Of the retrieval policy, which says what could have been shown."""
        return 1.0 if self.config is None else self.config.temperature


class Nothing(Plain):
    """Not even relevance: every item gets the same score, so that the order of ties decides."""

    def scores(self, rows: Rows, ids: object, base: Rows, session: str | None, spread: Rows | None = None) -> Rows:
        """Zeros."""
        return np.zeros_like(base)


def contenders(
    corpus: Rows, fitted: CrossFitted | None = None, popularity: Callable[[str], Array] | None = None
) -> tuple[Contender, ...]:
    """All of them, ours last.

    Args:
        corpus: unit embeddings of all that can be shown, shape (n, d): the paper's PCA is fitted to it, the classic
            rules are centred on its mean.
        fitted: cross-fitted spaces; without them the two contenders that need them are left out.
        popularity: user to the share of thumbs up over the others, of each item; without it (nothing is rated twice)
            popularity is left out.
    """
    rows = np.asarray(corpus)
    mean = rows.mean(axis=0, dtype=np.float64)
    k = min(256, *rows.shape)
    found = [Contender(RANDOM, "random order", make=lambda _: Nothing(), note="every item the same", order=False)]
    if popularity is not None:
        shares = popularity
        found.append(
            Contender(
                POPULAR, "popularity", make=lambda user: Popular(shares(user)), note=_settings(Popular), order=False
            )
        )
    found += [
        Contender(PLAIN, "plain Chroma", make=lambda _: Plain(), note="relevance alone", order=False),
        Contender("items", "average per item", make=lambda _: ItemAverages(), note=_settings(ItemAverages)),
        Contender("rocchio", "Rocchio", make=lambda _: Rocchio(mean), note=_settings(Rocchio)),
        Contender(
            "bayes", "Bayesian regression", make=lambda _: BayesianRegression(mean), note=_settings(BayesianRegression)
        ),
        Contender("simplified", "simplified rule", VARSConfig.simplified()),
        Contender(PAPER, f"paper's rule, PCA-{k}", VARSConfig.paper(), PreferenceSpace.pca(rows, k=k)),
    ]
    if fitted is not None and fitted.spaces is not None:
        found.append(Contender("paper_fitted", "paper's rule, fitted space", VARSConfig.paper(), fitted=fitted))
    found.append(Contender(OURS, "ours, no fit", VARSConfig()))
    if fitted is not None and fitted.spaces is not None:
        found.append(Contender(OURS_FITTED, "ours, fitted space", VARSConfig(), fitted=fitted))
    background = sampled(rows)
    return tuple(rule if rule.config is None else replace(rule, background=background) for rule in found)


def _settings(kind: type) -> str:
    """The settings of a learner that is not a rule of this package: the defaults of its fields."""
    shown = {
        name: kept.default
        for name, kept in getattr(kind, "__dataclass_fields__", {}).items()
        if isinstance(kept.default, float)
    }
    return f"{kind.__name__}({', '.join(f'{name}={value}' for name, value in shown.items())})"


def described(rule: Contender) -> dict[str, object]:
    """A rule and its settings, for the document."""
    space = "identity" if rule.space is None else rule.space.id
    if rule.fitted is not None and rule.fitted.spaces is not None:
        space = " / ".join(one.id for one in rule.fitted.spaces)
    return {
        "id": rule.id,
        "name": rule.name,
        "rule": rule.note if rule.config is None else repr(rule.config.rule),
        "max_bonus": None if rule.config is None else rule.config.max_bonus,
        "space": None if rule.config is None else space,
    }
