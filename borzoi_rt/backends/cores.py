"""What this machine, or the container on it, grants to a process: cores, and a folder for caches."""

from __future__ import annotations

import os
import tempfile
from math import ceil
from pathlib import Path

from ..errors import BackendError

CGROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """Return how many cores this process may use: those it may run on, or fewer where its cgroup has a quota.

    A quota of 2.5 cores gives 3: threads that wait for one another lose more by being one too few.
    """
    # macOS has no affinity of a process.
    running = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for quota in (_quota(folder) for folder in _groups()) if quota is not None]
    return max(1, min([running, *map(ceil, quotas)]))


def _groups() -> list[Path]:
    """Return the folders of the groups this process may be in: its own and those above, or a container's root."""
    found = {CGROUPS, CGROUPS / "cpu", CGROUPS / "cpu,cpuacct"}
    try:
        lines = _MEMBERSHIP.read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        root = CGROUPS / controllers if controllers else CGROUPS
        inner = root / path.lstrip("/")
        found.update(folder for folder in (inner, *inner.parents) if folder.is_relative_to(root))
    return sorted(found)


def _quota(folder: Path) -> float | None:
    """Return the cores that a group may use; None where it has no quota. Version 2 first, then version 1."""
    try:
        limit, _, period = (folder / "cpu.max").read_text().partition(" ")
        return None if limit == "max" else int(limit) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        pass
    try:
        limit = (folder / "cpu.cfs_quota_us").read_text()
        period = (folder / "cpu.cfs_period_us").read_text()
        return int(limit) / int(period) if int(limit) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None


def cache_root() -> Path:
    """Return the folder for caches: ``XDG_CACHE_HOME``, else ``~/.cache``.

    Raises
    ------
    BackendError
        If neither is known, as for a user without an entry in the table of users and without HOME.
    """
    named = os.environ.get("XDG_CACHE_HOME")
    if named:
        return Path(named)
    try:
        return Path.home() / ".cache"
    except RuntimeError as error:
        raise BackendError(
            "this user has no home directory; name a folder for caches in XDG_CACHE_HOME, for example "
            f"XDG_CACHE_HOME={tempfile.gettempdir()}"
        ) from error
