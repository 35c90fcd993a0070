"""PAHF shopping: twelve users, three options a scenario, and the rule by which a user accepts an option.

An option is acceptable when each of its features is among those that the user likes most or second most for that
product. Phases 1 (learning) and 2 (test) follow the user's first persona, 3 and 4 the one after their taste changed.

Source: *Learning Personalized Agents from Human Feedback*, arXiv 2602.16173; the data are under the MIT licence.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["BUNDLED", "LEARNING_PHASES", "Option", "Pahf", "Scenario", "load"]

BUNDLED = Path(__file__).parent / "data"
"""The folder that comes with the repository; `load(BUNDLED)` reads it."""

LEARNING_PHASES = {1: 2, 3: 4}
"""Each learning phase and the test phase that belongs to it."""

_LETTERS = ("A", "B", "C")
_PHASES = (1, 2, 3, 4)
_PERSONAS = ("persona_info.json", "updated_persona_info.json")
_FILES = (*(f"phase{phase}.json" for phase in _PHASES), *_PERSONAS)

Likes = Mapping[str, Mapping[str, Mapping[str, tuple[str, ...]]]]
"""User, product and feature category to the features liked, the favourite first."""


@dataclass(frozen=True, slots=True)
class Option:
    """Something that can be bought; two options with the same features are one.

    Attributes:
        id: short name, such as `headphones-017`.
        text: what is embedded, such as `headphones: over-ear design, dynamic driver system, wired connection`.
        features: one of each category of the product, always in the same order of categories.
    """

    id: str
    text: str
    features: tuple[str, ...]

    @property
    def product(self) -> str:
        """What kind of thing it is."""
        return self.text.partition(":")[0]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One request of one user, with three options and what the user would say to each.

    Attributes:
        user, product, task: who wants what, in whose words.
        options: the three options, in the order of the data.
        acceptable: whether the user accepts each of them.
        phase: 1 to 4.
        gt: the data's own answer: the position of an acceptable option, or None where there is none.
    """

    user: str
    product: str
    task: str
    options: tuple[Option, Option, Option]
    acceptable: tuple[bool, bool, bool]
    phase: int
    gt: int | None = None

    @property
    def matters(self) -> bool:
        """True when the choice makes a difference: one or two of the three are acceptable."""
        return 0 < sum(self.acceptable) < len(self.acceptable)

    def accepts(self, option_id: str) -> bool:
        """Whether the user takes one of the three options.

        Raises:
            KeyError: it is not on offer here.
        """
        for option, acceptable in zip(self.options, self.acceptable, strict=True):
            if option.id == option_id:
                return acceptable
        raise KeyError(f"{option_id!r} is not one of {[option.id for option in self.options]}")


@dataclass(frozen=True, slots=True)
class Pahf:
    """The whole data set.

    Attributes:
        catalogue: every option of every phase, once.
        scenarios: in the order of the data, phase by phase.
        likes: what each user likes before the change.
        likes_after: what each user likes after it.
    """

    catalogue: tuple[Option, ...]
    scenarios: tuple[Scenario, ...]
    likes: Likes = field(repr=False)
    likes_after: Likes = field(repr=False)

    @property
    def users(self) -> tuple[str, ...]:
        """The users, in the order of the data."""
        return tuple(dict.fromkeys(scenario.user for scenario in self.scenarios))

    def of(self, user: str, phase: int) -> tuple[Scenario, ...]:
        """The scenarios of one user in one phase, in the order of the data."""
        return tuple(scenario for scenario in self.scenarios if scenario.user == user and scenario.phase == phase)

    def liked(self, user: str, product: str, phase: int) -> Mapping[str, tuple[str, ...]]:
        """What the user likes about a product in a phase: category to features, the favourite first."""
        return (self.likes if phase <= 2 else self.likes_after)[user][product]

    def accepts(self, user: str, option: Option, phase: int) -> bool:
        """Whether the user would take an option of the catalogue in a phase."""
        return _accepts(self.liked(user, option.product, phase), option.features)


def load(folder: str | Path = BUNDLED) -> Pahf:
    """Read the shopping half.

    Args:
        folder: the folder with the six files, or one that holds them in `shopping/` or `pahf/shopping/`.

    Raises:
        FileNotFoundError: some of the files are not there; names them and where they were looked for.
        ValueError: a file is not what it should be; names the file and the place in it.
    """
    where = _find(Path(folder))
    likes, after = (_likes(where / name) for name in _PERSONAS)
    catalogue = _Catalogue(_category_order(likes, after))
    scenarios = []
    for phase in _PHASES:
        path = where / f"phase{phase}.json"
        for index, row in enumerate(_read(path)):
            try:
                scenarios.append(_scenario(row, phase, catalogue, likes if phase <= 2 else after))
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(f"{path}: scenario {index} cannot be read ({error!r})") from error
    return Pahf(tuple(catalogue.options.values()), tuple(scenarios), likes, after)


class _Catalogue:
    """Every option once, whatever the order in which the data list its features."""

    def __init__(self, order: Mapping[tuple[str, str], int]) -> None:
        self.order = order
        self.options: dict[tuple[str, ...], Option] = {}
        self.counts: Counter[str] = Counter()

    def option(self, product: str, features: Iterable[str]) -> Option:
        """The option with these features; a new one gets the next number of its product."""
        last = len(self.order)
        ranked = sorted(features, key=lambda feature: (self.order.get((product, feature), last), feature))
        key = (product, *ranked)
        if key not in self.options:
            self.counts[product] += 1
            name = f"{product.replace(' ', '-')}-{self.counts[product]:03d}"
            self.options[key] = Option(name, f"{product}: {', '.join(ranked)}", tuple(ranked))
        return self.options[key]


def _scenario(row: Mapping[str, Any], phase: int, catalogue: _Catalogue, likes: Likes) -> Scenario:
    a, b, c = (catalogue.option(row["product"], row[f"Option {letter}"]) for letter in _LETTERS)
    liked = likes[row["User"]][row["product"]]
    return Scenario(
        user=row["User"],
        product=row["product"],
        task=row["Task"],
        options=(a, b, c),
        acceptable=(_accepts(liked, a.features), _accepts(liked, b.features), _accepts(liked, c.features)),
        phase=phase,
        gt=None if row["gt"] is None else _LETTERS.index(row["gt"]),
    )


def _find(folder: Path) -> Path:
    places = (folder / "pahf" / "shopping", folder / "shopping", folder)
    for place in places:
        if all((place / name).is_file() for name in _FILES):
            return place
    best = min(places, key=lambda place: sum(not (place / name).is_file() for name in _FILES))
    missing = ", ".join(name for name in _FILES if not (best / name).is_file())
    looked = ", ".join(str(place) for place in places)
    raise FileNotFoundError(f"no PAHF shopping data: {best} lacks {missing} (looked in {looked})")


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error


def _likes(path: Path) -> Likes:
    try:
        return {
            user: {
                product: {
                    category: (taste["like_most"], *taste["like_second"]) for category, taste in categories.items()
                }
                for product, categories in entry["persona_info"].items()
                if isinstance(categories, dict)  # the original files keep the user's name beside the products
            }
            for user, entry in _read(path).items()
        }
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a PAHF persona file: {error!r}") from error


def _category_order(*personas: Likes) -> dict[tuple[str, str], int]:
    """The position of each feature of a product: that of its category in the persona files."""
    return {
        (product, feature): position
        for likes in personas
        for products in likes.values()
        for product, categories in products.items()
        for position, features in enumerate(categories.values())
        for feature in features
    }


def _accepts(liked: Mapping[str, tuple[str, ...]], features: Iterable[str]) -> bool:
    wanted = {feature for some in liked.values() for feature in some}
    return all(feature in wanted for feature in features)
