"""The exceptions that leave this package on bad input; each is also the built-in a caller would expect."""

from __future__ import annotations


class BorzoiError(Exception):
    """Base of every error raised on purpose by borzoi_rt."""


class FormatError(BorzoiError, ValueError):
    """A file is not what its format says: truncated, wrong columns, a changed byte, NaN weights."""


class InputError(BorzoiError, ValueError):
    """A value, or a combination of values, is not allowed."""


class ReferenceMismatchError(InputError):
    """The REF allele of a variant is not what the genome holds at that position."""


class BackendError(BorzoiError, RuntimeError):
    """An execution provider, an optional dependency or a session cannot be used."""


class ParityError(BorzoiError, RuntimeError):
    """Two computations that must agree do not."""


class RunInterrupted(KeyboardInterrupt):
    """A run was interrupted from the keyboard; the message says what is kept and how to go on."""
