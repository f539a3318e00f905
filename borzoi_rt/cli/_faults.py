"""From an exception to one line in plain words: what happened, to which file, and what to do next."""

from __future__ import annotations

import errno
import os
import re
import socket

from ..errors import BorzoiError

# What the system says, and what helps.
_SYSTEM = {
    errno.ENOENT: ("no such file or directory", "check the name"),
    errno.EACCES: ("permission denied", "check who may read or write it, or choose another name"),
    errno.EPERM: ("the system does not permit it", "check who may read or write it, or choose another name"),
    errno.EROFS: ("lies on a file system that is read-only", "choose another folder"),
    errno.ENOSPC: ("the disk is full", "free some space, or write to another disk"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, or write to another disk"),
    errno.EFBIG: ("the file would be larger than allowed here", "see `ulimit -f`, or write to another disk"),
    errno.EISDIR: ("is a directory", "name a file"),
    errno.ENOTDIR: ("is not a directory, or a part of its path is not", "check the name"),
    errno.EEXIST: ("exists already", "remove it, or choose another name"),
    errno.ENOTEMPTY: ("is a directory that is not empty", "empty it, or choose another name"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter one"),
    errno.ELOOP: ("its symbolic links lead in a circle", "name the file itself"),
    errno.EMFILE: ("too many open files", "raise the limit, as with `ulimit -n 4096`"),
    errno.ENFILE: ("too many open files on this machine", "close some programs, or ask who runs the machine"),
    errno.EPIPE: ("the program that read this output has ended", "start it again"),
    errno.EIO: ("the disk or the network drive failed", "check it, and try again"),
    errno.ESTALE: ("the network drive has lost the file", "try again"),
    errno.EBUSY: ("is in use", "wait for the program that uses it, or choose another name"),
    errno.ENXIO: ("is no file that can be opened", "name a regular file"),
    errno.ENODEV: ("is no file that can be opened", "name a regular file"),
    errno.EXDEV: ("lies on another disk", "choose a folder on the same one"),
    errno.EADDRINUSE: ("the port is used by another program", "choose another port"),
    errno.ECONNREFUSED: ("no server answers there", "check the address, and that the server runs"),
    errno.ECONNRESET: ("the server ended the connection", "try again"),
    errno.ETIMEDOUT: ("the server did not answer in time", "try again"),
    errno.EHOSTUNREACH: ("the server cannot be reached", "check the address and the network"),
    errno.ENETUNREACH: ("the network cannot be reached", "check the network"),
}
_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
_MEMORY = (
    "not enough memory; let the process have more, or ask for less at once: fewer --workers, a shorter list of "
    "--tracks, shorter regions"
)
_OUT_OF_MEMORY = re.compile(
    r"bad_alloc|[oO]ut of memory|[fF]ailed to allocate|[cC]annot allocate memory|malloc of size"
)
_CIRCLE = re.compile(r"Symlink loop from '(.+)'$")
_RAW = re.compile(r"\[Errno (\d+)\] [^:();]*(?:: '[^']*')?")  # an OSError inside a text of ours
_ERRNO = re.compile(r"\[Errno (\d+)\]|errno = (\d+)")
_NAMED = re.compile(r"(?:name = |file )'([^']+)'")
# Libraries below, and what fails where they do.
_LIBRARIES = {
    "onnxruntime": "the model could not be run",
    "pyarrow": "a table could not be read or written",
    "h5py": "an HDF5 file could not be read or written",
    "pysam": "a sequence or variant file could not be read or written",
    "tritonclient": "the server could not be asked",
    "grpc": "the server could not be asked",
    "safetensors": "a weight file could not be read",
    "huggingface_hub": "the weights could not be fetched",
}


def describe(error: BaseException) -> str:
    """Return one line on an exception, for a reader who does not know the code.

    Parameters
    ----------
    error : BaseException
        An error of this package is told in its own words. What the system or another library says stands behind a
        sentence of ours. Everything else is a defect of this package, and called so.
    """
    text = one_line(str(error))
    if isinstance(error, BorzoiError):
        return _RAW.sub(_in_words, text) or type(error).__name__
    circle = _CIRCLE.match(text)  # Path.resolve() until Python 3.12
    if isinstance(error, RuntimeError) and circle:
        return _system(OSError(errno.ELOOP, text, circle[1]), text)
    if isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(text):
        return _MEMORY
    if isinstance(error, UnicodeError):
        return _unicode(error)
    if isinstance(error, ModuleNotFoundError):
        return f"the package {error.name} is not installed; pip install {(error.name or '').partition('.')[0]}"
    if isinstance(error, ImportError):
        return f"the package {error.name or '?'} is installed but cannot be loaded; install it anew ({text})"
    if isinstance(error, OSError):
        return _system(error, text)
    library = type(error).__module__.partition(".")[0]
    if library in _LIBRARIES:
        return f"{_LIBRARIES[library]} ({library}: {_short(text)}); run with -v for details"
    name = type(error).__name__
    return f"unexpected {name}{f': {_short(text)}' if text else ''}; run with -v for details and report it"


def one_line(text: str) -> str:
    """Return a text without line ends and without runs of blanks."""
    return " ".join(text.split())


def _in_words(raw: re.Match[str]) -> str:
    number = int(raw[1])
    return _SYSTEM[number][0] if number in _SYSTEM else os.strerror(number).lower()


def _short(text: str, most: int = 300) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."


def _system(error: OSError, text: str) -> str:
    number, name = error.errno, error.filename
    if isinstance(name, bytes):
        name = os.fsdecode(name)
    if isinstance(error, socket.gaierror):
        return f"the host name is not known ({_short(text)}); check the address"
    found = _ERRNO.search(text)  # pyarrow and h5py write number and name into the text, if anywhere
    if number not in errno.errorcode:
        number = int(found[1] or found[2]) if found else None
    named = _NAMED.search(text) if name is None and found else None
    name = named[1] if named else name
    if number == errno.ENOMEM:
        return _MEMORY
    if number is None or number not in errno.errorcode:
        return (
            f"a file or an address could not be used ({_short(text) or type(error).__name__}); run with -v for details"
        )
    what, following = _SYSTEM.get(number, (os.strerror(number).lower(), "run with -v for details"))
    if name is None or isinstance(name, int):
        name = "a file could not be written" if number in _WRITING else "the system refused a step"
    return f"{name}: {what} ({following})"


def _unicode(error: UnicodeError) -> str:
    held = error.object if isinstance(error, UnicodeDecodeError | UnicodeEncodeError) else ""
    shown = _short(ascii(held), 80)
    if isinstance(error, UnicodeDecodeError):
        return f"{shown} is not text in {error.encoding}; save the file as UTF-8"
    return (
        f"{shown} cannot be written as {_encoding(error)}; use plain names, or a UTF-8 locale (export LC_ALL=C.UTF-8)"
    )


def _encoding(error: UnicodeError) -> str:
    return error.encoding if isinstance(error, UnicodeEncodeError) else "text"
