"""The errors of this package: one small tree.

```
PersonaError (Exception)
├── ConfigError (ValueError)               the developer passed something that cannot work
│   └── DimensionMismatchError             vectors of different lengths were brought together
├── StoreError (RuntimeError)              a store or database failed while it was being used
│   └── LockedError                        another process holds the same folder
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
    "LockedError",
    "MissingExtraError",
    "PersonaError",
    "StoreError",
]


class PersonaError(Exception):
    """The root: catches everything that this package raises on purpose, and nothing else.

    Never raised itself.
    """


class ConfigError(PersonaError, ValueError):
    """Raised when an argument cannot work, as early as it can be known, usually in a constructor.

    Examples are a knob outside its range, an unknown name of a rule, or a model file whose checksum is not the
    expected one. It is the caller's to mend: trying again does not help. A call on behalf of an end user never
    raises it because of what that user wrote.
    """


class DimensionMismatchError(ConfigError):
    """Raised when vectors of different lengths, or of different spaces, meet.

    The usual cause is a change of embedding model: the collection holds vectors of 384 numbers and the new model
    makes 1,536. The message names both sides. It is never answered by padding, cutting, or silently leaving out
    the personal part.
    """


class StoreError(PersonaError, RuntimeError):
    """Raised when a store fails to take feedback or a withdrawal, so that nothing is lost unnoticed.

    What was not kept is not acknowledged; trying again later may help. The failure of the backend is its `__cause__`.
    Reading for a ranking degrades to the unpersonalised result and one warning instead.
    """


class LockedError(StoreError):
    """Raised when a folder of the embedded set-up is already open in another process.

    Two processes on one embedded database damage or block each other, so the second is refused. Close the first,
    use another folder, or move to a database server.
    """


class MissingExtraError(PersonaError, ImportError):
    """Raised when a feature is used whose optional dependency is not installed.

    The message is the command to run, for example `pip install "langchain-persona[local]"`.
    """


class CorruptRecordError(PersonaError, ValueError):
    """Raised when a stored value cannot be read back: not of the expected shape, wrong length, or not finite.

    Whoever reads many records skips such a one with a warning, so that one damaged value costs that value and
    no more.
    """
