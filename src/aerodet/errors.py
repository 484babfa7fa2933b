"""The errors of aerodet, one tree.

::

    AerodetError
    ├── UserError            exit 2   the caller's mistake: what, where, what to do
    │   ├── DataError                 a data set that cannot be used as it is
    │   ├── SpecError                 an experiment spec, profile or option out of its limits
    │   └── RegistryError             a publication that the registry's state forbids
    ├── MachineError         exit 3   the machine's fault: disk, memory, a missing library, an unreachable service
    └── TrainingError        exit 1   a numerical failure, such as a loss that is not finite

Any other exception is a defect of aerodet: exit 1 with its traceback.
"""

from __future__ import annotations

__all__ = ["AerodetError", "DataError", "MachineError", "RegistryError", "SpecError", "TrainingError", "UserError"]


class AerodetError(Exception):
    """Base of all errors that aerodet raises on purpose; the message is one sentence for a person."""

    exit_code = 1


class UserError(AerodetError):
    """The caller's mistake."""

    exit_code = 2


class DataError(UserError):
    """A data set that cannot be used as it is."""


class SpecError(UserError):
    """A spec, profile or option that does not parse or is out of its limits."""


class RegistryError(UserError):
    """A publication that the registry's state forbids."""


class MachineError(AerodetError):
    """The machine, not the caller: a full disk, a missing library, an unreachable service."""

    exit_code = 3


class TrainingError(AerodetError):
    """A numerical failure while training."""
