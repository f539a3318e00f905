"""End a server whose launcher has died without a word.

A launcher runs this file as a process of its own and holds the other end of its stdin. One byte there means that all
is done; the end of the stream without it, that the launcher is gone, even by SIGKILL. A death signal of the kernel
would not do: it follows the thread that started the server, which may end long before its process. The standard
library alone is used, since the file runs by its path.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
_ROUNDS, _PAUSE_S = 5, 0.2  # a server may be on the point of starting


def start_watchdog(argument: str, prefix: str, folders: Sequence[Path]) -> subprocess.Popen[bytes]:
    """Start it.

    Parameters
    ----------
    argument : str
        An argument that the command line of the server has, and no other.
    prefix : str
        How the names of the server's shared memory begin.
    folders : sequence of Path
        What to remove when the launcher has died.
    """
    return subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, argument, prefix, *map(str, folders)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # an interrupt from the terminal is for the launcher
    )


def stop_watchdog(process: subprocess.Popen[bytes]) -> None:
    """Tell it that there is nothing left to do."""
    with suppress(BrokenPipeError):
        process.communicate(b".")


def remove_shared_memory(prefix: str) -> None:
    """Remove what a server that was killed has left."""
    for left in SHARED_MEMORY.glob(f"{prefix}*"):
        left.unlink(missing_ok=True)


def end_servers(argument: str, prefix: str) -> None:
    """Kill the process groups whose leader was started with an argument, and stubs that have outlived theirs.

    A stub is told the name of its shared memory; one that is busy, or was stopped, does not notice that its server has
    gone.
    """
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        with suppress(OSError):  # it has just ended
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if pid == os.getpid():
                continue
            if argument.encode() in words and os.getpgid(pid) == pid:
                os.killpg(pid, signal.SIGKILL)
            elif any(word.startswith(prefix.encode()) for word in words):
                os.kill(pid, signal.SIGKILL)


def main(argument: str, prefix: str, *folders: str) -> None:
    """Wait for the launcher's last word, or its death."""
    if sys.stdin.buffer.read():
        return
    for _ in range(_ROUNDS):
        end_servers(argument, prefix)
        time.sleep(_PAUSE_S)
    remove_shared_memory(prefix)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
