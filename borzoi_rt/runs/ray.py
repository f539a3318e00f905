"""Jobs on a Ray cluster; the one door to Ray.

Numbers of jobs travel, and nothing else: a worker opens bundle and genome itself, under the paths of this machine, and
writes its results into the folder of the run. So the nodes of a cluster need a file system in common.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import BackendError, missing_package
from .plan import Plan
from .tasks import Task, Tasks
from .worker import Hand

NO_REPORTS = {"RAY_USAGE_STATS_ENABLED": "0"}  # nothing is reported to anyone
_OPENINGS = 3  # ended one after the other: then the fault is not from outside
_PATIENCE_S = 60.0
_STORE_BYTES = 80 * 2**20  # nothing is kept there

log = logging.getLogger(__name__)


class RayCrew:
    """Actors of a Ray cluster that take tasks, each replaced when it ends.

    Parameters
    ----------
    plan : Plan
        Sent to every actor.
    directory : Path
        Of the journal, in a file system that all nodes have.
    count : int
        Actors; each asks Ray for the threads of its session, and for a GPU where it computes on one.
    address : str, optional
        Of the cluster; that of the environment (``RAY_ADDRESS``, which a Ray job has) when None, and where there is
        none, one is started here and ended with the run.

    Raises
    ------
    BackendError
        If Ray is not installed, or the cluster cannot be reached.
    """

    def __init__(self, plan: Plan, directory: Path, count: int, address: str | None) -> None:
        self._ray = _import_ray()
        self._plan, self._directory, self._where = plan, directory.resolve(), str(Path.cwd())
        self._unopened, self._gone = 0, (0, 0)
        needs = _needs(plan)
        self._own, self._patient = not self._ray.is_initialized(), True
        if self._own:
            _connect(self._ray, address or os.environ.get("RAY_ADDRESS"), count, needs)
        self._asked = f"{count} workers of {needs}"
        self._actor = self._ray.remote(max_restarts=0, **needs)(_Hand)
        self._members: dict[Any, _Member] = {}
        try:
            for _ in range(count):
                self._hire()
        except BaseException:
            self.close()
            raise

    @property
    def tiles(self) -> tuple[int, int]:
        """Tiles that all actors asked for, and of these computed."""
        counts = [self._gone, *(member.tiles for member in self._members.values())]
        return sum(asked for asked, _ in counts), sum(computed for _, computed in counts)

    def step(self, tasks: Tasks) -> None:
        """Give out tasks, and wait until something is heard; see :meth:`borzoi_rt.runs.processes.Processes.step`."""
        for member in [member for member in self._members.values() if member.answer is None]:
            if (task := tasks.next()) is None:
                break
            member.task = task
            member.answer = member.actor.do.remote(task.number, task.part)
        waiting = {member.answer: name for name, member in self._members.items() if member.answer is not None}
        heard, _ = self._ray.wait(list(waiting), num_returns=1, timeout=_PATIENCE_S)
        if not heard and self._patient and not any(member.opened for member in self._members.values()):
            self._patient = False
            log.warning("Ray has started no worker yet: asked for %s, it has %s", self._asked, self._resources())
        for answer in heard:
            self._listen(waiting[answer], tasks)

    def close(self) -> None:
        """End all actors, and the cluster where it is our own."""
        for member in self._members.values():
            with suppress(Exception):  # it may have ended already
                self._ray.kill(member.actor)
        self._members.clear()
        if self._own:
            self._ray.shutdown()

    def _resources(self) -> dict[str, float]:
        return {name: held for name, held in self._ray.cluster_resources().items() if name in ("CPU", "GPU")}

    def _hire(self) -> None:
        actor = self._actor.remote(self._plan, str(self._directory), self._where)
        self._members[actor] = _Member(actor, actor.open.remote())

    def _listen(self, name: Any, tasks: Tasks) -> None:
        member = self._members[name]
        try:
            error, member.tiles = self._ray.get(member.answer)
        except self._ray.exceptions.RayActorError:
            del self._members[name]
            self._gone = self._gone[0] + member.tiles[0], self._gone[1] + member.tiles[1]
            self._bury(member, tasks)
            self._hire()
            return
        member.answer = None
        if error is not None:
            raise error
        if member.task is None:
            self._unopened = 0
        else:
            tasks.done(member.task)
        member.task, member.opened = None, True

    def _bury(self, member: _Member, tasks: Tasks) -> None:
        if member.task is not None:
            tasks.ended(member.task, "Ray lost it")
            return
        self._unopened += 1
        if self._unopened >= _OPENINGS:
            raise BackendError(
                "Ray's workers end before model and genome are open; look into Ray's logs (a lack of memory, or "
                "another version of this package on a node, may cause it)"
            )


class _Member:
    """One actor, what it was asked, and the answer that is waited for."""

    def __init__(self, actor: Any, answer: Any) -> None:
        self.actor, self.answer = actor, answer
        self.task: Task | None = None
        self.tiles = (0, 0)
        self.opened = False


class _Hand:
    """The worker as an actor."""

    def __init__(self, plan: Plan, directory: str, where: str) -> None:
        with suppress(OSError):  # on a node that lacks it, paths must be absolute
            os.chdir(where)
        self._hand = Hand(plan, Path(directory))

    def open(self) -> tuple[Exception | None, tuple[int, int]]:
        return self._hand.open(), (0, 0)

    def do(self, number: int, part: range | None) -> tuple[Exception | None, tuple[int, int]]:
        return self._hand.do(Task(number, part)), self._hand.tiles


def _import_ray() -> Any:
    os.environ.update(NO_REPORTS)
    try:
        import ray
    except ImportError as error:
        raise missing_package(error, "ray", "ray", "executor 'ray'") from error
    return ray


def _needs(plan: Plan) -> dict[str, float]:
    """Return what an actor needs of a node: the cores of its session, and a GPU where it computes on one."""
    device = getattr(plan, "device", None)
    cores = 1 if device is None or device.threads is None else device.threads
    return {"num_cpus": cores, **({"num_gpus": 1} if device is not None and device.gpu else {})}


def _connect(ray: Any, address: str | None, count: int, needs: dict[str, float]) -> None:
    here: dict[str, Any] = {}
    if address is None:
        here = {"num_cpus": max(1, int(count * needs["num_cpus"])), "object_store_memory": _STORE_BYTES}
        here["include_dashboard"] = False
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **here)
    except (OSError, RuntimeError, ValueError) as error:
        where = "on this machine" if address is None else f"at {address}"
        raise BackendError(f"Ray cannot be used {where} ({' '.join(str(error).split())[:300]})") from error
