"""A file of variants to score with a session that counts its windows, in jobs of four alleles."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import worlds

from borzoi_rt.backends.array import ArraySession
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.errors import BackendError
from borzoi_rt.genome.variants import VariantRecord
from borzoi_rt.runs import score as run
from borzoi_rt.runs import score_plan
from borzoi_rt.runs.plan import Worker
from borzoi_rt.runs.score_plan import ScorePlan
from borzoi_rt.runs.settings import RunSettings
from borzoi_rt.scoring.options import ScoreOptions
from borzoi_rt.scoring.results import ScoredVariant

TEXT = worlds.random_dna(5000, seed=9)
ALLELES = 20  # in jobs of 4
KILLED = "2063"  # the position of a variant that ends a process, where a test wants it
OPTIONS = ScoreOptions.for_family("hound", stats=("SUM", "D2"))


class Counted(ArraySession):
    """Raises ``fault`` when the window numbered ``fails_at`` comes."""

    fails_at: int | None = None
    fault: BaseException = BackendError("the device is gone")

    def run(self, *given: Any, **named: Any) -> Any:
        if self.runs + 1 == self.fails_at:
            raise self.fault
        return super().run(*given, **named)


def vcf_rows(first: int = 2000, count: int = ALLELES) -> list[str]:
    """SNVs whose windows differ from each other: two predictions an allele."""
    rows = []
    for pos in range(first, first + 7 * count, 7):
        ref = TEXT[pos - 1]
        rows.append(f"chr1 {pos} v{pos} {ref} {'ACGT'['CGTA'.index(ref)]}")
    return rows


class Job:
    """A genome, a VCF and a counting session; ``run`` scores into ``out``."""

    def __init__(self, folder: Path, bundle: Bundle, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.bundle = folder, bundle
        self.fasta = worlds.write_fasta(folder / "toy.fa", {"chr1": TEXT})
        self.vcf = worlds.write_vcf(folder / "in.vcf", vcf_rows())
        self.session = Counted(bundle.geometry, worlds.WEIGHTS)
        patch.setattr(run, "job_size", lambda *_: 4)
        patch.setattr(score_plan, "open_engine", lambda *_, **__: self.session)

    def run(
        self, out: str = "out.tsv", *, resume: bool = False, progress: Any = None, workers: int = 1, **changes: Any
    ) -> Counter[str]:
        self.session.runs = 0
        settings = RunSettings(resume=resume, progress=progress, workers=workers)
        given = {"bundle": self.bundle, "fasta": self.fasta, "options": OPTIONS, "settings": settings, **changes}
        return run.score_file(given.pop("vcf", self.vcf), self.folder / out, **given)

    def fail(self, out: str = "out.tsv", *, at: int = 2 * 14 + 1, **changes: Any) -> BaseException:
        """Break the run at the 15th allele: three jobs of five are done. Return what was raised."""
        self.session.fails_at = at
        with pytest.raises(type(self.session.fault)) as caught:
            self.run(out, **changes)
        self.session.fails_at = None
        return caught.value

    def names(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()} - {"toy.fa", "toy.fa.fai", "in.vcf"}

    def partial(self, out: str = "out.tsv") -> Path:
        return self.folder / f"{out}.partial"

    def shards(self, out: str = "out.tsv") -> list[str]:
        return sorted(path.name for path in self.partial(out).glob("shard-*.arrow"))


@contextmanager
def file_limit(size: int) -> Iterator[None]:
    """Let no file grow beyond ``size`` bytes, whoever writes it: what a full disk does, without one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@dataclass(frozen=True)
class SquaresPlan:
    """Jobs whose results are the squares of the numbers of their units; picklable, for worker processes.

    Job 0 may wait until another result stands in ``folder``. A unit may kill its process: always (``poison``), or until
    it has done so ``kills`` times, counted in files of ``folder``. A job may fail, and so may opening.
    """

    jobs: int
    folder: Path
    first_waits: bool = False
    poison: tuple[int, ...] = ()
    kills: tuple[tuple[int, int], ...] = ()
    fails_at: int | None = None
    cannot_open: str = ""
    size: int = 1

    @property
    def identity(self) -> dict[str, Any]:
        return {"jobs": self.jobs}

    def items(self, number: int) -> int:
        return self.size

    def units(self, number: int) -> int:
        return self.size

    def failed(self, number: int, unit: int, detail: str) -> pa.Table:
        return squares([None])

    def open(self) -> SquaresWorker:
        with (self.folder.parent / "openings").open("a") as handle:
            handle.write(f"{os.getpid()}\n")
        (self.folder.parent / f"gpu-{os.getpid()}").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", ""))
        if self.cannot_open == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.cannot_open:
            raise BackendError(self.cannot_open)
        return SquaresWorker(self)


def squares(values: list[int | None]) -> pa.Table:
    return pa.table({"square": pa.array(values, pa.int64())})


class SquaresWorker:
    """Answers the jobs of a :class:`SquaresPlan`."""

    def __init__(self, plan: SquaresPlan) -> None:
        self._plan = plan

    def run(self, number: int, tick: Callable[[], None], part: range | None = None) -> pa.Table:
        plan = self._plan
        while number == 0 and plan.first_waits and not list(plan.folder.glob("shard*.arrow")):
            time.sleep(0.01)
        if number == plan.fails_at:
            raise BackendError(f"job {number} is broken")
        units = range(plan.size) if part is None else part
        return squares([self._square(number * plan.size + unit, tick) for unit in units])

    def _square(self, unit: int, tick: Callable[[], None]) -> int:
        plan = self._plan
        limit = dict(plan.kills).get(unit, 0)
        deaths = plan.folder.parent / f"deaths-{unit}"
        held = deaths.stat().st_size if deaths.exists() else 0
        if unit in plan.poison or held < limit:
            with deaths.open("a") as handle:
                handle.write("x")
            os.kill(os.getpid(), signal.SIGKILL)
        tick()
        return unit**2

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class KillingPlan(ScorePlan):
    """Variants of which some kill the process that scores them: while the environment says so, or once.

    ``KILL_ALWAYS`` and ``KILL_ONCE`` hold positions, ``KILL_NOTES`` a folder in which deaths are noted.
    """

    def open(self) -> Worker:
        worker: Any = super().open()
        score, notes = worker._scorer.score, Path(os.environ["KILL_NOTES"])

        def deadly(item: VariantRecord) -> ScoredVariant:
            pos = str(item.variant.pos)
            once = pos in os.environ.get("KILL_ONCE", "").split() and not (notes / pos).exists()
            if once or pos in os.environ.get("KILL_ALWAYS", "").split():
                (notes / pos).touch()
                os.kill(os.getpid(), signal.SIGKILL)
            if pos in os.environ.get("RAISE", "").split():
                raise RuntimeError("what nobody foresaw")
            found: ScoredVariant = score(item)
            return found

        worker._scorer.score = deadly
        return worker
