"""Arrays in and out of JSON, and to unit length: the few NumPy helpers that everything else shares."""

from __future__ import annotations

import base64
import binascii

import numpy as np
import numpy.typing as npt

from langchain_persona.errors import CorruptRecordError

__all__ = ["HALF", "SINGLE", "Vector", "decode_vectors", "encode_vectors", "frozen", "unit"]

Vector = npt.NDArray[np.float64]
"""A float64 array: all learning is done in double precision; stored is what `encode_vectors` writes."""

SINGLE = "<f4"
"""float32, little-endian: 2,048 characters of base64 for 384 numbers."""

HALF = "<f2"
"""float16, little-endian: 1,024 characters for 384 numbers; for a learner's internals."""


def unit(vectors: npt.ArrayLike) -> Vector:
    """Scale vectors to length 1; a zero vector stays zero.

    Args:
        vectors: shape (d,) or (n, d).

    Returns:
        A new float64 array of the same shape.

    Example:
        >>> unit([3.0, 4.0])
        array([0.6, 0.8])
    """
    array = np.asarray(vectors, dtype=np.float64)
    norm = np.sqrt(np.einsum("...d,...d->...", array, array))[..., None]
    return array / np.where(norm > 0.0, norm, 1.0)


def encode_vectors(vectors: npt.ArrayLike, dtype: str = SINGLE) -> str:
    """Write an array as base64 of `SINGLE` or `HALF` numbers.

    Example:
        >>> encode_vectors([1.0, 0.5])
        'AACAPwAAAD8='
    """
    return base64.b64encode(np.asarray(vectors, dtype=dtype).tobytes()).decode("ascii")


def decode_vectors(text: str, dimension: int, dtype: str = SINGLE) -> Vector:
    """Read what `encode_vectors` wrote.

    Args:
        text: base64 of numbers.
        dimension: numbers in one vector.
        dtype: as it was written.

    Returns:
        Shape (n, dimension), float64.

    Raises:
        CorruptRecordError: not base64, not a whole number of vectors, or not finite.

    Example:
        >>> decode_vectors("AACAPwAAAD8=", 2)
        array([[1. , 0.5]])
    """
    try:
        array = np.frombuffer(base64.b64decode(text, validate=True), dtype=dtype).reshape(-1, dimension)
    except (binascii.Error, ValueError, TypeError) as error:
        raise CorruptRecordError(f"not base64 of vectors of {dimension} numbers: {error}") from error
    if not np.isfinite(array).all():
        raise CorruptRecordError("a stored vector holds NaN or infinity")
    return array.astype(np.float64)


def frozen(vectors: npt.ArrayLike) -> Vector:
    """A read-only float64 array of its own, so that an immutable object cannot be changed through its arrays."""
    own = isinstance(vectors, np.ndarray) and vectors.dtype == np.float64 and vectors.flags.owndata
    if isinstance(vectors, np.ndarray) and own and not vectors.flags.writeable:
        return vectors
    array = np.array(vectors, dtype=np.float64)
    array.flags.writeable = False
    return array
