"""MovieLens: real people's ratings as thumbs, in the order in which they gave them.

Nothing of it comes with this repository. Get `ml-latest-small` from GroupLens and name its folder with `--data`.

Source: Harper and Konstan, *The MovieLens Datasets: History and Context*, ACM TiiS 5(4), 2015. For research, not for
commercial use; to be cited.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["MovieLens", "Thumb", "load"]

_NEEDED = ("movies.csv", "ratings.csv")


@dataclass(frozen=True, slots=True)
class Thumb:
    """One rating as a thumb.

    Attributes:
        time: seconds since the epoch.
        film: position in `MovieLens.texts`.
        up: a rating of 4 or more; 3 or less is down, what lies between is left out.
    """

    time: float
    film: int
    up: bool


@dataclass(frozen=True, slots=True)
class MovieLens:
    """Films and thumbs.

    Attributes:
        texts: what is embedded of each film: title, genres, tags.
        thumbs: each user's, oldest first; of a film rated twice the later.
        unknown: ratings of films that `movies.csv` does not name; left out.
        genres, tags: of each film, as they are written.
    """

    texts: tuple[str, ...]
    thumbs: Mapping[str, tuple[Thumb, ...]]
    unknown: int = 0
    genres: tuple[tuple[str, ...], ...] = ()
    tags: tuple[tuple[str, ...], ...] = ()


def load(folder: str | Path) -> MovieLens:
    """Read the data.

    Args:
        folder: holds `movies.csv` and `ratings.csv` (and `tags.csv`, if there is one), itself or in `movielens/`.

    Raises:
        FileNotFoundError: the files are not there; names them and where they were looked for.
        ValueError: a file is not what it should be; names the file and the line.
    """
    where = _find(Path(folder))
    tags: dict[str, dict[str, None]] = {}
    if (where / "tags.csv").is_file():
        for row in _rows(where / "tags.csv", "movieId", "tag"):
            tags.setdefault(row["movieId"], {})[row["tag"]] = None
    texts: list[str] = []
    kinds: list[tuple[str, ...]] = []
    words: list[tuple[str, ...]] = []
    place: dict[str, int] = {}
    for row in _rows(where / "movies.csv", "movieId", "title", "genres"):
        genres = tuple(row["genres"].split("|")) if row["genres"] and "no genres" not in row["genres"] else ()
        kinds.append(genres)
        words.append(tuple(tags.get(row["movieId"], ())))
        parts = (row["title"], ", ".join(genres), ", ".join(words[-1]))
        place[row["movieId"]] = len(texts)
        texts.append(". ".join(part for part in parts if part))
    unknown, thumbs = 0, dict[str, dict[int, Thumb]]()
    path = where / "ratings.csv"
    for line, row in enumerate(_rows(path, "userId", "movieId", "rating", "timestamp"), start=2):
        try:
            rating, time = float(row["rating"]), float(row["timestamp"])
        except ValueError as error:
            raise ValueError(f"{path}, line {line}: {error}") from error
        if row["movieId"] not in place:
            unknown += 1
        elif rating >= 4.0 or rating <= 3.0:
            given, film = thumbs.setdefault(row["userId"], {}), place[row["movieId"]]
            if film not in given or time >= given[film].time:
                given[film] = Thumb(time, film, rating >= 4.0)
    ordered = {
        user: tuple(sorted(given.values(), key=lambda thumb: (thumb.time, thumb.film)))
        for user, given in thumbs.items()
    }
    return MovieLens(tuple(texts), ordered, unknown, tuple(kinds), tuple(words))


def _find(folder: Path) -> Path:
    places = (folder / "movielens", folder)
    for place in places:
        if all((place / name).is_file() for name in _NEEDED):
            return place
    looked = ", ".join(str(place) for place in places)
    raise FileNotFoundError(f"no MovieLens data: no folder with {' and '.join(_NEEDED)} (looked in {looked})")


def _rows(path: Path, *columns: str) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        reader = csv.DictReader(lines)
        missing = [name for name in columns if name not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"{path} has no column {', '.join(missing)}")
        for number, row in enumerate(reader, start=2):
            if any(row[name] is None for name in columns):
                raise ValueError(f"{path}, line {number}: a value is missing")
            yield row
