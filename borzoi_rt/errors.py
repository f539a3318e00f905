"""The exceptions that leave this package on bad input; each is also the built-in a caller would expect."""

from __future__ import annotations

import re

_LINE_END = re.compile(r"\s*[\r\n]\s*")
_LONGEST, _HEAD = 2000, 1500  # letters of a message: in all, and of its start
_SURROGATE = re.compile(r"\\udc([89a-f][0-9a-f])")


class BorzoiError(Exception):
    """Base of every error raised on purpose by borzoi_rt.

    Its text is one line of bounded length, whatever a file or a caller wrote into it: what cannot be printed is
    escaped, and of what is too long the middle is left out.
    """

    def __str__(self) -> str:
        return bounded(super().__str__())


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


def missing_package(error: ImportError, package: str, extra: str, need: str = "") -> BackendError:
    """Return the error for an optional package that cannot be imported: it is absent, or present and fails to load.

    Parameters
    ----------
    error : ImportError
        What Python says.
    package : str
        Import name, as ``tritonclient``.
    extra : str
        Extra of this package that brings it.
    need : str
        Who needs it, for the message.
    """
    absent = isinstance(error, ModuleNotFoundError)
    name = (error.name or package).partition(".")[0] if absent else package
    subject = f"{need} needs {name}, which" if need else name
    if absent:
        return BackendError(f"{subject} is not installed; pip install 'borzoi-rt[{extra}]'")
    text = " ".join(str(error).split())
    return BackendError(
        f"{subject} is installed but cannot be loaded ({text}); a lack of memory or a damaged installation does that"
    )


class RunInterrupted(KeyboardInterrupt):
    """A run was interrupted from the keyboard; the message says what is kept.

    Parameters
    ----------
    message : str
        What was interrupted, and what of it is kept where.
    resumable : bool
        Whether the same run with ``resume`` goes on from there.
    """

    def __init__(self, message: str, *, resumable: bool = False) -> None:
        super().__init__(message)
        self.resumable = resumable


def quoted(text: str) -> str:
    """Return text in quotes for a message; bytes that are not UTF-8 are written like ``\\xe9``, not as surrogates."""
    return _SURROGATE.sub(r"\\x\1", repr(text))


def bounded(text: str) -> str:
    """Return a message as one line of at most 2,000 letters; what cannot be printed is escaped."""
    text = _LINE_END.sub(" ", text).strip()
    if len(text) > _LONGEST:
        text = f"{text[:_HEAD]} ... {text[_HEAD - _LONGEST :]}"
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
