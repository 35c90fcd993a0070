"""What users state in words: likes and dislikes drawn from their tastes, in the phrasing of a person.

A user of PAHF shopping likes some features of a product and none of the others that are sold: about ninety tastes. A
share of them is drawn by user and seed, each with a phrasing. After the drift the drawn features are stated anew: what
changed retires what was said before. In the household the user states what they want in a situation.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.choices import PHASES
from benchmarks.contenders import OURS, Contender
from benchmarks.embodied import Embodied
from benchmarks.learners import Array
from benchmarks.pahf import Pahf
from langchain_persona.learning import Statements, VARSConfig, Words

__all__ = ["LIKES", "SHARES", "Said", "household_sayings", "sayings", "statements_of", "talkers", "texts_of"]

LIKES = {
    True: (
        "I like {product} with {feature}",
        "I prefer {feature} when it comes to {product}",
        "For {product}, I love {feature}",
        "My favourite {product} have {feature}",
        "I'm fond of {feature} on {product}",
    ),
    False: (
        "please no {feature}",
        "I don't like {product} with {feature}",
        "I can't stand {feature} on {product}",
        "No {product} with {feature}, please",
        "I hate {feature}",
    ),
}
"""Phrasings of a like (True) and of a dislike."""

SHARES = {"some": (0.3, "30 % stated"), "all": (1.0, "all stated")}

_FEELINGS = """anxious, celebrating, dehydrated, extremely hungry, feeling sad, ill, in a hurry, nauseous, sick, sleepy,
stressed, thirsty, tired, very hungry"""

Said = Mapping[str, tuple[tuple[str, bool], ...]]
"""What stands before and after the drift: texts, and whether each is a like."""


def sayings(data: Pahf, user: str, share: float, seed: int) -> Said:
    """What a shopper states of their tastes."""
    rng = random.Random(f"{seed} {user} {share}")
    before, after = (_tastes(data, user, phase) for phase in (1, 3))
    keys = list(before)
    drawn = {key: rng.randrange(len(LIKES[True])) for key in rng.sample(keys, round(share * len(keys)))}

    def texts(tastes: Mapping[tuple[str, str], bool]) -> tuple[tuple[str, bool], ...]:
        found = []
        for (product, feature), phrasing in drawn.items():
            if (product, feature) in tastes:
                liked = tastes[product, feature]
                found.append((LIKES[liked][phrasing].format(product=product, feature=feature), liked))
        return tuple(found)

    return {"before": texts(before), "after": texts(after)}


def household_sayings(data: Embodied, user: str, share: float, seed: int) -> Said:
    """What a member of the household states: what they want in a situation, such as "When I'm tired, I like tea"."""
    rng, said = random.Random(f"{seed} {user} {share}"), {}
    for name, phase in (("before", 1), ("after", 3)):
        wanted = [one for one in data.errands if (one.user, one.phase) == (user, phase) and one.wanted is not None]
        texts = dict.fromkeys(_wish(one.context, one.options[one.wanted or 0]) for one in wanted)
        said[name] = tuple((text, True) for text in rng.sample(list(texts), round(share * len(texts))))
    return said


def _wish(context: str, thing: str) -> str:
    words = context.lower()
    lead = "when I'm" if words in _FEELINGS.replace("\n", " ").split(", ") else "for"
    return f"{lead} {words} I like {thing}"


def _tastes(data: Pahf, user: str, phase: int) -> dict[tuple[str, str], bool]:
    """Product and feature to whether it is liked: every feature that the catalogue has of the user's products."""
    found = {}
    for product in dict.fromkeys(scenario.product for scenario in data.scenarios if scenario.user == user):
        liked = {feature for some in data.liked(user, product, phase).values() for feature in some}
        sold = {feature for option in data.catalogue if option.product == product for feature in option.features}
        found.update({(product, feature): feature in liked for feature in sorted(liked | sold)})
    return found


def texts_of(say: Callable[[str, float, int], Said], users: Sequence[str], seeds: int) -> list[str]:
    """Every text that any user states, once."""
    found = [say(user, share, seed) for user in users for share, _ in SHARES.values() for seed in range(seeds)]
    return sorted({text for said in found for some in said.values() for text, _ in some})


def statements_of(said: Sequence[tuple[str, bool]], vectors: Mapping[str, Array]) -> Statements:
    """What was said as the ranking reads it: certain, and fresh."""
    rows = np.array([vectors[text] for text, _ in said], dtype=np.float32).reshape(len(said), -1)
    signs = np.array([1.0 if liked else -1.0 for _, liked in said])
    return Statements(rows, signs, np.ones(len(said)), np.full(len(said), np.inf))


@dataclass(frozen=True, slots=True, eq=False)
class _Acting:
    """What a user stated as it acts on each of their scenarios.

    `asked` is user and phase to the queries, shape (n, d).
    """

    say: Callable[[str, float, int], Said]
    share: float
    vectors: Mapping[str, Array]
    asked: Mapping[str, Mapping[int, Array]]
    words: Words

    def __call__(self, user: str, seed: int) -> Mapping[int, Array]:
        said, found = self.say(user, self.share, seed), {}
        for phase in PHASES:
            queries = self.asked[user][phase]
            statements = statements_of(said["before" if phase <= 2 else "after"], self.vectors)
            unique, places = np.unique(queries, axis=0, return_inverse=True) if len(queries) else (queries, [])
            heard = [statements.about(query, self.words, 0.0) for query in unique]
            rows = [np.zeros(queries.shape[1]) if one is None else one.vector for one in heard]
            found[phase] = np.array(rows).reshape(len(unique), queries.shape[1])[places]
        return found


def talkers(
    say: Callable[[str, float, int], Said],
    vectors: Mapping[str, Array],
    asked: Mapping[str, Mapping[int, Array]],
    background: Array,
) -> tuple[Contender, ...]:
    """The rows *words only* and *words and thumbs*, for each share of `SHARES`."""
    config, found = VARSConfig(), []
    ours = Contender(OURS, "", config, background=background)
    for thumbs, name in ((False, "words only"), (True, "words and thumbs")):
        for key, (share, how) in SHARES.items():
            said = _Acting(say, share, vectors, asked, config.words)
            row = f"{'both' if thumbs else 'words'}_{key}"
            found.append(replace(ours, id=row, name=f"{name}, {how}", said=said, thumbs=thumbs))
    return tuple(found)
