"""The errors of this package: one small tree.

```
PersonaError (Exception)
├── ConfigError (ValueError)               the developer passed something that cannot work
│   └── DimensionMismatchError             vectors of different lengths were brought together
├── StoreError (RuntimeError)              a store failed, or gave no answer in time
├── DocumentError (ValueError)             a document that `import_user` was given cannot be taken
├── MissingExtraError (ImportError)        an optional dependency is not installed
└── CorruptRecordError (ValueError)        a stored value is not what was once written
```

Each error is also the built-in one that fits, so `except ValueError` around a constructor goes on working. Every
message says what was given, what is allowed, and what to do.
"""

from __future__ import annotations

from math import inf


class PersonaError(Exception):
    """Catches everything that this package raises on purpose, and nothing else. Never raised itself."""


class ConfigError(PersonaError, ValueError):
    """Raised when an argument cannot work, as early as that can be known. What an end user wrote never raises it."""


class DimensionMismatchError(ConfigError):
    """Raised when vectors of different lengths or spaces meet; the usual cause is a change of embedding model."""


class StoreError(PersonaError, RuntimeError):
    """Raised when a store fails to take or give something; the failure of the backend is its `__cause__`."""


class DocumentError(PersonaError, ValueError):
    """Raised when `import_user` cannot take a document. Nothing of it was imported."""


class MissingExtraError(PersonaError, ImportError):
    """Raised when an optional dependency is not installed. The message is the command to run."""


class CorruptRecordError(PersonaError, ValueError):
    """Raised when a stored value cannot be read back. Who reads many records skips such a one with a warning."""


def check_number(name: str, value: object, low: float, high: float = inf) -> None:
    """Raise `ConfigError` where a value is no number from `low` to `high`; where `low` is an int, no whole number."""
    kinds, words = (int, "a whole number") if isinstance(low, int) else (int | float, "a number")
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        allowed = f"of at least {low}" if high == inf else f"from {low} to {high}"
        raise ConfigError(f"{name} must be {words} {allowed}, got {value!r}")
