"""A preference space: the coordinates in which a user's taste is learned, `v_m = P (e_m − μ)`.

Three kinds: the identity (the default, nothing to fit), PCA of a corpus (the VARS paper, arXiv 2603.20939), and a space
fitted to many users' feedback (see `fitting`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from langchain_persona.errors import ConfigError, CorruptRecordError, DimensionMismatchError, check_number
from langchain_persona.learning.arrays import Vector, decode_vectors, encode_vectors, fix_signs, frozen
from langchain_persona.learning.fitting import Progress, UserRatings, choose_users, fit_map


@dataclass(frozen=True, eq=False, repr=False)
class PreferenceSpace:
    """An affine map from embeddings (d numbers) to item vectors (k numbers), with a name.

    Attributes:
        kind: "identity", "pca", "fitted", or another word for how it was made.
        mean, matrix: `μ`, shape (d,), and `P`, shape (k, d); a matrix of None is the identity.
        about: how it was made, for people to read; JSON values, and no part of the `id`.
    """

    kind: str
    mean: Vector
    matrix: Vector | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "about", MappingProxyType(dict(self.about)))
        for name in ("mean", "matrix"):
            value = getattr(self, name)
            if value is not None:
                # float32 precision, so that the map and its id survive a round trip through JSON
                array = frozen(np.asarray(value, dtype=np.float32))
                if not np.isfinite(array).all():
                    raise ConfigError(f"the {name} of a preference space must be finite")
                object.__setattr__(self, name, array)
        if self.mean.ndim != 1 or self.mean.size == 0:
            raise ConfigError(f"the mean must have shape (d,), got {self.mean.shape}")
        if self.matrix is not None and (self.matrix.ndim != 2 or self.matrix.shape[1] != self.d):
            raise DimensionMismatchError(
                f"the matrix must have shape (k, {self.d}) to fit a mean of {self.d} numbers, got {self.matrix.shape}"
            )

    @classmethod
    def identity(cls, dimension: int) -> PreferenceSpace:
        """`P = I`, `μ = 0`: item vectors are the embeddings.

        Example:
            >>> PreferenceSpace.identity(3).project([1.0, 2.0, 3.0])
            array([1., 2., 3.])
        """
        check_number("dimension", dimension, 1)
        return cls("identity", np.zeros(dimension))

    @classmethod
    def pca(cls, embeddings: npt.ArrayLike, k: int = 256) -> PreferenceSpace:
        """The `k` leading principal axes, at most `min(n, d)`, of a corpus of unit vectors, shape (n, d).

        Example:
            >>> space = PreferenceSpace.pca([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.1]], k=1)
            >>> space.k, space.d
            (1, 2)
        """
        rows = np.asarray(embeddings, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[0] < 2:
            raise ConfigError(f"PCA needs at least two embeddings of shape (n, d), got shape {rows.shape}")
        check_number("k", k, 1, min(rows.shape))
        mean = rows.mean(axis=0)
        return cls("pca", mean, fix_signs(np.linalg.svd(rows - mean, full_matrices=False)[2])[:k])

    @classmethod
    def fit(
        cls,
        ledgers: Sequence[UserRatings],
        *,
        k: int = 64,
        min_users: int = 20,
        min_events: int = 5,
        max_events: int = 1000,
        iterations: int = 20,
        shrink: float = 200.0,
        ridge: float = 0.1,
        progress: Progress | None = None,
        version: str = "1",
    ) -> PreferenceSpace:
        """Fit a space in which taste is learned fast to many users' ratings, by empirical Bayes (see `fitting`).

        Each user counts once, and no user's own vector is in the space.

        Args:
            ledgers: one `UserRatings` for each user, in any order.
            k: numbers in an item vector; fewer where the ratings span fewer.
            min_users, min_events: fit to no fewer users, at least 2, with so many ratings each; others are left out.
            max_events: only the latest so many ratings of a user count.
            iterations: the most iterations of expectation maximisation.
            shrink: tastes are drawn towards no structure, as if so many more users had shown none.
            ridge: the `λ` of the learner.
            progress: called with (done, iterations).
            version: a name for this fit, kept in `about`.

        Raises:
            ConfigError: too few users or ratings, or an argument out of range.
            DimensionMismatchError: embeddings of several lengths.

        Example:
            Half of thirty users like what points along the first of three axes, and half do not:

            >>> rows = np.eye(3)[[0, 1, 2, 0, 1, 2]]
            >>> users = [UserRatings(rows, np.where(rows[:, 0] > 0, sign, 0.0)) for sign in (1.0, -1.0) * 15]
            >>> space = PreferenceSpace.fit(users, k=1)
            >>> int(np.abs(space.matrix).argmax()), space.about["users"]
            (0, 30)
        """
        counts = {"k": k, "min_users": min_users, "min_events": min_events, "max_events": max_events}
        for name, value in {**counts, "iterations": iterations}.items():
            # a space of one user would hand that user's taste to everybody
            check_number(name, value, 2 if name == "min_users" else 1)
        users = choose_users(ledgers, min_users, min_events, max_events)
        mean, matrix, about = fit_map(users, k, iterations, shrink, ridge, progress)
        return cls("fitted", mean, matrix, {"version": version, **about})

    @property
    def d(self) -> int:
        """Numbers in an embedding."""
        return int(self.mean.size)

    @property
    def k(self) -> int:
        """Numbers in an item vector and in a user vector."""
        return self.d if self.matrix is None else int(self.matrix.shape[0])

    @cached_property
    def id(self) -> str:
        """A name that changes whenever the map does, such as `identity-384` or `pca-256-1f0c9a8b77d2`."""
        if self.matrix is None and not self.mean.any():
            return f"{self.kind}-{self.k}"
        numbers = self.mean.tobytes() + (b"" if self.matrix is None else self.matrix.tobytes())
        return f"{self.kind}-{self.k}-{hashlib.sha256(numbers).hexdigest()[:12]}"

    def __repr__(self) -> str:
        return f"<PreferenceSpace {self.id}>"

    def project(self, embeddings: npt.ArrayLike) -> Vector:
        """Item vectors of embeddings: shape (d,) to (k,), or (n, d) to (n, k)."""
        rows = np.asarray(embeddings, dtype=np.float64)
        if rows.shape[-1] != self.d:
            raise DimensionMismatchError(f"the space is for embeddings of {self.d} numbers, got {rows.shape[-1]}")
        centred = rows - self.mean
        return centred if self.matrix is None else np.einsum("kd,...d->...k", self.matrix, centred)

    def lift(self, vector: npt.ArrayLike) -> Vector:
        """`Pᵀ z`: a user vector, shape (k,), as a direction in embedding space, shape (d,)."""
        z = np.asarray(vector, dtype=np.float64)
        return z if self.matrix is None else np.einsum("kd,k->d", self.matrix, z)

    def to_json(self) -> dict[str, Any]:
        """A JSON-safe document from which `from_json` makes the same space, with the same `id`."""
        matrix = None if self.matrix is None else encode_vectors(self.matrix)
        mean = encode_vectors(self.mean)
        return {"kind": self.kind, "d": self.d, "mean": mean, "matrix": matrix, "about": dict(self.about)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> PreferenceSpace:
        """Read what `to_json` wrote; `CorruptRecordError` for anything else."""
        try:
            dimension = int(document["d"])
            (mean,) = decode_vectors(document["mean"], dimension)
            matrix = None if document["matrix"] is None else decode_vectors(document["matrix"], dimension)
            return cls(str(document["kind"]), mean, matrix, document.get("about") or {})
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise CorruptRecordError(f"not a preference space: {error}") from error
