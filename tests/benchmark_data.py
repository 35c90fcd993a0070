"""Tiny data in the layout of the real ones, for the tests of the learning benchmark."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

PRODUCTS = ("mug", "pen")
CATEGORIES = {
    "colour": ["crimson", "azure", "emerald", "ochre", "violet", "black"],
    "material": ["steel", "oak", "glass", "clay", "resin", "paper"],
}
NAMES = ("ana@example.com", "李雷", "0", "a/b c", " user 4 ", "../5")
"""Ids may be anything."""


def write_shop(folder: Path, *, users: int = 2, scenarios: int = 12) -> Path:
    """PAHF shopping with few users; each likes three features of six, and three others after the change."""
    rng = random.Random(7)
    where = folder / "pahf" / "shopping"
    where.mkdir(parents=True)
    names = list(NAMES[:users])
    for file, first in (("persona_info.json", 0), ("updated_persona_info.json", 3)):
        taste = {
            name: {
                "persona_info": {
                    product: {
                        category: {
                            "like_most": features[first],
                            "like_second": features[first + 1 : first + 3],
                            "dislike": [feature for feature in features if feature not in features[first : first + 3]],
                        }
                        for category, features in CATEGORIES.items()
                    }
                    for product in PRODUCTS
                }
            }
            for name in names
        }
        (where / file).write_text(json.dumps(taste))
    for phase in (1, 2, 3, 4):
        first = 0 if phase <= 2 else 3
        good, bad = (
            [list(trio) for trio in itertools.product(*(f[start : start + 3] for f in CATEGORIES.values()))]
            for start in (first, 3 - first)
        )
        rows = []
        for name, index in itertools.product(names, range(scenarios)):
            options = [rng.choice(good), *rng.sample(bad, 2)]
            rng.shuffle(options)
            right = next(place for place, option in enumerate(options) if option in good)
            product = PRODUCTS[index * len(PRODUCTS) // scenarios]
            trio = {f"Option {letter}": option for letter, option in zip("ABC", options, strict=True)}
            row = {"product": product, "User": name, "Task": f"Please find a {product}", "gt": "ABC"[right]}
            rows.append(row | trio)
        (where / f"phase{phase}.json").write_text(json.dumps(rows))
    return folder


def write_films(folder: Path) -> Path:
    """MovieLens with three users, one of them with too few thumbs; the others like comedies only."""
    where = folder / "movielens"
    where.mkdir(parents=True)
    films = [f"{number},Film {number} (1999),{'Comedy' if number % 2 else 'Horror|War'}" for number in range(30)]
    (where / "movies.csv").write_text("\n".join(["movieId,title,genres", *films]))
    ratings = [
        f"{user},{number},{5.0 if number % 2 else 2.0},{1_000 + 10 * number}"
        for user, count in (("1", 30), ("b/2 李", 30), ("3", 4))
        for number in range(count)
    ]
    extra = ["1,5,3.5,9999", "1,777,5.0,9999"]  # neither up nor down; a film that is not there
    (where / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *ratings, *extra]))
    (where / "tags.csv").write_text("userId,movieId,tag,timestamp\n1,1,funny,5\n2,1,funny,6\n2,1,warm,7")
    return folder


def write_home(folder: Path, *, users: int = 2) -> Path:
    """PAHF embodied: each user wants tea when tired, juice when it is hot, and after the change the other way round."""
    where = folder / "pahf" / "embodied"
    where.mkdir(parents=True)
    for file, (tired, hot, place) in (
        ("original_scenarios", ("green tea", "cold juice", "top shelf")),
        ("evolved_scenarios", ("cold juice", "green tea", "low drawer")),
    ):
        for side in ("A", "B"):
            rows = []
            for name in NAMES[:users]:
                for context, wanted in (("Tired", tired), ("Hot weather", hot)):
                    scene = ["green tea", "cold juice", "dry toast"]
                    rows.append(_errand(name, context, "Bring me a drink?", scene, wanted, "pick-up"))
                scene = ["snacks", "top shelf", "low drawer"]
                rows.append(_errand(name, "Storage", "Could you put it away?", scene, "snacks", place))
                rows.append(_errand(name, "Nothing there", "Bring me soup?", [], "soup", "pick-up"))
                rows.append(_errand(name, "Sold out", "Bring me soup?", ["tea", "toast"], "soup", "pick-up"))
            (where / f"{file}_{side}.json").write_text(json.dumps(rows))
    return folder


def _errand(user: str, context: str, task: str, scene: list[str], thing: str, place: str) -> dict[str, object]:
    return {
        "user": user,
        "context": context,
        "task": task,
        "scene_objects": scene,
        "user_intent_object": thing,
        "user_intent_location": place,
    }


def write_all(folder: Path, *, users: int = 2) -> Path:
    """All three."""
    return write_home(write_films(write_shop(folder, users=users)), users=users)
