"""Outputs: what may be written, and files that appear whole."""

from __future__ import annotations

import errno
import filecmp
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ..errors import InputError
from .journal import Journal, was_moved

# What a writer may put beside its table; of an earlier output under the same name they say nothing true any more.
COMPANIONS = (".meta.json", ".tbi", ".csi", ".motifs.tsv", ".motifs.json")


def check_target(target: Path, sources: Iterable[str | os.PathLike[str] | None] = ()) -> None:
    """Refuse an output that cannot be written, or is one of the inputs, before anything is computed.

    Parameters
    ----------
    target : Path
        The output. What a writer puts beside it counts as well.
    sources : iterable of path
        The inputs; of one that is a directory, as a bundle is, nothing may be written into it.

    Raises
    ------
    InputError
        Saying which.
    """
    if target.is_dir():
        raise InputError(f"{target}: is a directory; name a file")
    if target.exists() and not target.is_file():
        raise InputError(f"{target}: is a device or a pipe, which a rename would replace; name a file")
    folder = target.parent
    written = [target, *(target.with_name(target.name + suffix) for suffix in COMPANIONS)]
    for source in (Path(source) for source in sources if source is not None):
        check_outside(target, source)
        for path in written:
            if path.exists() and source.exists() and path.samefile(source):
                raise InputError(
                    f"{path}: is an input, which is never written over; choose another name for the output"
                )
    if target.is_symlink():
        raise InputError(
            f"{target}: is a symbolic link, which the output would replace; name the file that it leads to"
        )
    if not folder.is_dir():
        raise InputError(f"{folder}: no such directory; make it first")
    if not os.access(folder, os.W_OK):
        raise InputError(f"{folder}: not writable; choose another folder for {target.name}")


def check_outside(target: Path, source: Path) -> None:
    """Refuse an output inside a directory that is an input: a bundle with a file more is no bundle.

    Raises
    ------
    InputError
        If it is.
    """
    if source.is_dir() and target.parent.is_dir() and target.parent.samefile(source):
        raise InputError(f"{target}: lies in {source}, an input, which nothing is written into; choose another folder")


def check_directory(target: Path, sources: Iterable[str | os.PathLike[str]] = (), *, resume: bool = False) -> None:
    """Refuse an output directory that holds something, cannot be made, or lies in an input.

    With ``resume`` it may be the output of the run that is resumed, where that was killed at its very end.

    Raises
    ------
    InputError
        Saying why.
    """
    taken = target.is_symlink() or (target.exists() and (not target.is_dir() or any(target.iterdir())))
    if taken and not (resume and not target.is_symlink() and was_moved(target)):
        raise InputError(f"{target}: exists and is not an empty directory; choose another name")
    for source in sources:
        check_outside(target, Path(source))
    target.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(target.parent, os.W_OK):
        raise InputError(f"{target.parent}: not writable; choose another folder for {target.name}")


def finish_directory(target: Path, journal: Journal, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a directory, move it to its name, and forget the journal.

    Where an earlier run was killed between the two, only the journal is left to forget.
    """
    if journal.has_moved():
        journal.remove()
        return
    folder = Path(tempfile.mkdtemp(prefix="final-", dir=journal.directory))
    try:
        write(folder)
        for path in folder.iterdir():
            _sync(path)
        folder.chmod(0o755)
        journal.note_move(folder)
        folder.replace(target)
    except BaseException as error:
        _name_target(error, folder, target)
        shutil.rmtree(folder, ignore_errors=True)  # on a full disk the next try needs the space
        raise
    journal.remove()


def _name_target(error: BaseException, folder: Path, target: Path) -> None:
    """Let an error of the system name the output, not its draft; a write that fails names no file at all."""
    if isinstance(error, OSError) and error.errno is not None:
        name = error.filename
        if name is None or (isinstance(name, str) and Path(name).is_relative_to(folder)):
            error.filename = str(target)


def _sync(path: Path) -> None:
    with path.open("rb") as handle:
        os.fsync(handle.fileno())


def finish_output(target: Path, journal: Journal, write: Callable[[Path], None]) -> None:
    """Let ``write`` make the output in a folder of the journal, move it to its name, and forget the journal.

    Companions of an earlier output go first, then the output appears, then its own companions: whenever this is
    killed, no companion stands beside a table it does not describe, and the run can be resumed.
    """
    folder = Path(tempfile.mkdtemp(prefix="final-", dir=journal.directory))
    draft = folder / target.name
    try:
        write(draft)
        made = sorted(folder.iterdir(), key=lambda path: path != draft)
        for path in made:
            _sync(path)
    except BaseException as error:
        _name_target(error, folder, target)
        shutil.rmtree(folder, ignore_errors=True)  # on a full disk the next try needs the space
        raise
    for suffix in COMPANIONS:
        target.with_name(target.name + suffix).unlink(missing_ok=True)
    for path in made:
        path.replace(target.parent / path.name)
    journal.remove()


def finish_outputs(targets: Sequence[Path], journal: Journal, write: Callable[[list[Path]], None]) -> None:
    """Let ``write`` make several outputs, files or folders, move each to its name, and forget the journal.

    The first comes last: where it stands, all stand. A folder that stands already must hold the same, as after a run
    that was killed in between.
    """
    folder = Path(tempfile.mkdtemp(prefix="final-", dir=journal.directory))
    drafts = [folder / f"{number}-{target.name}" for number, target in enumerate(targets)]
    pairs = list(zip(drafts, targets, strict=True))
    try:
        write(drafts)
        for draft in drafts:
            for path in draft.iterdir() if draft.is_dir() else [draft]:
                _sync(path)
        for draft, target in reversed(pairs):
            _move(draft, target)
    except BaseException as error:
        for draft, target in pairs:
            _name_target(error, draft, target)
        shutil.rmtree(folder, ignore_errors=True)  # on a full disk the next try needs the space
        raise
    journal.remove()


def _move(draft: Path, target: Path) -> None:
    """Move a file or folder to its name by one rename, from another disk by way of a draft beside it."""
    if draft.is_dir():
        draft.chmod(0o755)
        if target.is_dir() and any(target.iterdir()):
            if not _hold_the_same(draft, target):
                raise InputError(f"{target}: holds something else by now; move it away and resume")
            return
    try:
        draft.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(draft, target)


def _copy(draft: Path, target: Path) -> None:
    beside = target.with_name(f".{target.name}.new")
    try:
        if draft.is_dir():
            shutil.rmtree(beside, ignore_errors=True)
            shutil.copytree(draft, beside)
        else:
            shutil.copyfile(draft, beside)
            _sync(beside)
        beside.replace(target)
    except BaseException:
        if beside.is_dir():
            shutil.rmtree(beside, ignore_errors=True)
        else:
            beside.unlink(missing_ok=True)
        raise


def _hold_the_same(one: Path, other: Path) -> bool:
    names = {path.name for path in one.iterdir()}
    if names != {path.name for path in other.iterdir()}:
        return False
    return all(filecmp.cmp(one / name, other / name, shallow=False) for name in names)
