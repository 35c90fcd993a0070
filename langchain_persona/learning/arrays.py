"""Small NumPy helpers that everything else shares: unit length, base64, read-only arrays."""

from __future__ import annotations

import base64
import binascii
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from langchain_persona.errors import CorruptRecordError

Vector = npt.NDArray[np.float64]
"""A float64 array. All learning is done in double precision; storage is smaller, see `encode_vectors`."""

F = TypeVar("F", np.float32, np.float64)

SINGLE, HALF = "<f4", "<f2"
"""float32 and float16, little-endian: 384 numbers are 2,048 and 1,024 characters of base64."""


def unit(vectors: npt.ArrayLike) -> Vector:
    """Vectors, shape (d,) or (n, d), scaled to length 1 in a new array; a zero vector stays zero.

    Example:
        >>> unit([3.0, 4.0])
        array([0.6, 0.8])
    """
    array = np.asarray(vectors, dtype=np.float64)
    norm = np.sqrt(np.einsum("...d,...d->...", array, array))[..., None]
    return array / np.where(norm > 0.0, norm, 1.0)


def dots(rows: npt.NDArray[F], vector: npt.NDArray[F]) -> npt.NDArray[F]:
    """`⟨row, vector⟩` of rows of shape (n, d), row by row: each is too small for BLAS to start threads, see `gram`."""
    products: npt.NDArray[F] = (rows[:, None] @ vector)[:, 0]
    return products


def deviation(values: Vector) -> float:
    """The standard deviation of a few numbers, without what `np.std` spends on any other shape."""
    off = values - values.sum() / values.size
    return float(np.sqrt(off @ off / values.size))


def encode_vectors(vectors: npt.ArrayLike, dtype: str = SINGLE) -> str:
    """Write an array as base64 of `SINGLE` or `HALF` numbers."""
    return base64.b64encode(np.asarray(vectors, dtype=dtype).tobytes()).decode("ascii")


def decode_vectors(text: str, dimension: int, dtype: str = SINGLE) -> Vector:
    """Read what `encode_vectors` wrote with the same `dtype`: vectors of `dimension` numbers, shape (n, dimension).

    `CorruptRecordError`: the text is not base64, not a whole number of vectors, or not finite.

    Example:
        >>> decode_vectors("AACAPwAAAD8=", 2)
        array([[1. , 0.5]])
    """
    try:
        array = np.frombuffer(binascii.a2b_base64(text, strict_mode=True), dtype=dtype).reshape(-1, dimension)
    except (binascii.Error, ValueError, TypeError) as error:
        raise CorruptRecordError(f"not base64 of vectors of {dimension} numbers: {error}") from error
    if not np.isfinite(array).all():
        raise CorruptRecordError("a stored vector holds NaN or infinity")
    return array.astype(np.float64)


def frozen(vectors: npt.ArrayLike) -> Vector:
    """A read-only float64 copy, with which immutable objects hold their arrays; what is already one is returned."""
    array = np.asarray(vectors, dtype=np.float64)
    if array is not vectors or array.flags.writeable or not array.flags.owndata:
        array = np.array(array)
        array.flags.writeable = False
    return array


def fix_signs(axes: Vector) -> Vector:
    """Axes, shape (n, d), whose sign is arbitrary, with the one that makes the largest number of each positive."""
    signs: Vector = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])
    return axes * signs[:, None]


def gram(rows: Vector) -> Vector:
    """`X Xᵀ`, shape (n, n), of rows of shape (n, k).

    In blocks that are too small for BLAS to start threads, which wait for each other where the cores are busy.
    """
    product = np.empty((len(rows), len(rows)))
    for i in range(0, len(rows), 16):
        for j in range(0, i + 16, 32):
            product[i : i + 16, j : j + 32] = rows[i : i + 16] @ rows[j : j + 32].T
    lower = np.tril(product)
    return lower + np.tril(lower, -1).T


def solve(matrix: Vector, right: Vector) -> Vector:
    """`A⁻¹ B` of a positive definite matrix, shapes (n, n) and (n, m), by halves that BLAS solves on one thread."""
    half = len(matrix) // 2
    if half <= 32:
        return np.asarray(np.linalg.solve(matrix, right), dtype=np.float64)
    upper, corner = matrix[:half, :half], matrix[:half, half:]
    solved = solve(upper, np.hstack([corner, right[:half]]))
    crossed, first = solved[:, : -right.shape[1]], solved[:, -right.shape[1] :]
    second = solve(matrix[half:, half:] - corner.T @ crossed, right[half:] - corner.T @ first)
    return np.vstack([first - crossed @ second, second])
