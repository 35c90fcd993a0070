"""The errors of this package: one small tree.

```
PersonaError (Exception)
├── ConfigError (ValueError)               the developer passed something that cannot work
│   └── DimensionMismatchError             vectors of different lengths were brought together
├── StoreError (RuntimeError)              a store failed, or gave no answer in time
├── MissingExtraError (ImportError)        an optional dependency is not installed
└── CorruptRecordError (ValueError)        a stored value is not what was once written
```

Each error is also the built-in one that fits, so `except ValueError` around a constructor goes on working. Every
message says what was given, what is allowed, and what to do.
"""

from __future__ import annotations

__all__ = [
    "ConfigError",
    "CorruptRecordError",
    "DimensionMismatchError",
    "MissingExtraError",
    "PersonaError",
    "StoreError",
]


class PersonaError(Exception):
    """Catches everything that this package raises on purpose, and nothing else. Never raised itself."""


class ConfigError(PersonaError, ValueError):
    """Raised when an argument cannot work, as early as that can be known, usually in a constructor.

    Trying again does not help. What an end user wrote never raises it.
    """


class DimensionMismatchError(ConfigError):
    """Raised when vectors of different lengths, or of different spaces, meet.

    The usual cause is a change of embedding model. The message names both sides; nothing is ever padded, cut or left
    out to make them fit.
    """


class StoreError(PersonaError, RuntimeError):
    """Raised when a store fails to take or give something, so that nothing is lost unnoticed.

    What raised it was not recorded; trying again later may help. The failure of the backend is its `__cause__`. Reading
    for a ranking or a prompt goes on without, with one warning.
    """


class MissingExtraError(PersonaError, ImportError):
    """Raised when an optional dependency is not installed. The message is the command to run."""


class CorruptRecordError(PersonaError, ValueError):
    """Raised when a stored value cannot be read back. Who reads many records skips such a one with a warning."""
