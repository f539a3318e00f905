"""Explanations as runs: the same bytes however they are cut, spread, stopped and resumed; rows that have no answer."""

from __future__ import annotations

import errno
import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import worlds
from command_line import check_error
from jobs import file_limit
from numpy.testing import assert_array_equal

from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.errors import InputError
from borzoi_rt.explain import plan as plans
from borzoi_rt.explain import run as runs
from borzoi_rt.explain.answer import Answer, joined
from borzoi_rt.explain.attr_file import read_attributions
from borzoi_rt.explain.explainer import Explainer, ExplainOptions
from borzoi_rt.explain.kept import from_table, stored_row, to_table
from borzoi_rt.explain.rows import region_rows, variant_rows
from borzoi_rt.explain.run import ExplainOutputs, explain_rows
from borzoi_rt.explain.target import TargetSpec
from borzoi_rt.genome.bigwig import BigWig
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.genome.intervals import Interval
from borzoi_rt.genome.variants import Variant
from borzoi_rt.runs.estimate import Estimate
from borzoi_rt.runs.journal import Journal
from borzoi_rt.runs.settings import RunSettings

TEXT = worlds.random_dna(9000, seed=31)
TEXT = TEXT[:6000] + "N" * 40 + TEXT[6040:]
SPEC = TargetSpec.parse("log SUM", tracks="cage,dnase")
# The command line with parts of two bases, so that there are moments to be killed at.
ENTRY = """
from borzoi_rt.explain import run
run.part_bp = lambda bundle, options, width: 2 if options.method == "ism" else width
from borzoi_rt.cli import run
if __name__ == "__main__":
    run()
"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("runs")
    fasta = worlds.write_fasta(folder / "toy.fa", {"chr1": TEXT, "chr2": worlds.reverse_complement(TEXT)})
    bed = folder / "in.bed"
    bed.write_text("chr1\t4400\t4406\tone\nchr1\t4430\t4436\ttwo\t0\t-\nchr2\t100\t106\n")
    lost = folder / "lost.bed"
    lost.write_text(
        "chr1\t4400\t4406\tgood\nchr9\t10\t16\tgone\nchr1\t8996\t9002\tend\nchr1\t6010\t6016\tunknown\n"
        "chr1\t5997\t6003\thalf\n"
    )
    entry = folder / "entry.py"
    entry.write_text(ENTRY)
    return SimpleNamespace(folder=folder, fasta=fasta, bed=bed, lost=lost, entry=entry)


@pytest.fixture(scope="module")
def genome(desk: SimpleNamespace) -> Iterator[Fasta]:
    with Fasta(desk.fasta) as fasta:
        yield fasta


def words(desk: SimpleNamespace, bundle: Bundle, folder: Path, *more: object) -> list[object]:
    """Return a call that writes everything that can be written into a folder; ``more`` replaces what it names again."""
    pairs: dict[object, object] = {"--bundle": bundle.path, "--fasta": desk.fasta, "--bed": desk.bed, "--threads": 1}
    pairs |= {"--tracks": "cage,dnase", "--out": folder / "out.h5", "--bigwig": folder / "out.bw"}
    pairs["--modisco"] = folder / "modisco"
    kept = (held for pair in pairs.items() if pair[0] not in more for held in pair)
    return ["explain", *kept, *more]


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("method", ["ism", "saliency"])
def test_workers_and_shards_give_the_bytes_of_one_process(call, desk, gradient_bundle, tmp_path, method):
    folders = [tmp_path / name for name in ("one", "two", "shards")]
    for folder in folders:
        folder.mkdir()
    calls = [words(desk, gradient_bundle, folder, "--method", method) for folder in folders]
    assert call(*calls[0])[0] == 0
    want = content(folders[0])
    assert set(want) == {"out.h5", "out.bw", "modisco/ohe.npz", "modisco/attr.npz", "modisco/rows.bed"}
    assert call(*calls[1], "--workers", 2)[0] == 0
    assert content(folders[1]) == want
    for number in (3, 1, 2):
        code, _, err = call(*calls[2], "--shard", f"{number}/3")
        assert (code, f"out.h5.shard-{number}-of-3" in err) == (0, True)
    assert not (folders[2] / "out.bw").exists(), "a shard writes no output"
    parts = [folders[2] / f"out.h5.shard-{number}-of-3" for number in (1, 2, 3)]
    check_error(call("merge", *parts[:2]), "shard 3/3 missing")
    assert call("merge", *parts)[0] == 0
    for part in parts:
        shutil.rmtree(part)
    assert content(folders[2]) == want


def test_how_rows_are_cut_changes_nothing(desk, genome, gradient_bundle, tmp_path, monkeypatch):
    rows = region_rows([Interval("chr1", 4400, 4413), Interval("chr1", 4450, 4463)], genome, gradient_bundle.geometry)
    found = []
    for part_bp in (1, 5, 13):
        monkeypatch.setattr(runs, "part_bp", lambda *_, held=part_bp: held)
        out = tmp_path / f"{part_bp}.h5"
        explained(rows, out, gradient_bundle, genome, method="ism")
        found.append(out.read_bytes())
    assert found[0] == found[1] == found[2]
    monkeypatch.undo()
    with Explainer(gradient_bundle, genome) as explainer:
        want = explainer.explain(rows[1], SPEC, ExplainOptions(method="ism"))
    held = read_attributions(tmp_path / "5.h5").arrays
    assert_array_equal(held["effects"][1], want.attribution.arrays["effects"].astype(np.float32))
    assert_array_equal(held["hypothetical"][1], want.hypothetical.astype(np.float32))


def explained(rows: Any, out: Path, bundle: Bundle, genome: Fasta, *, method: str = "saliency", **more: Any) -> Any:
    settings = RunSettings(**more)
    options = ExplainOptions(method=method)
    how = {"bundles": [bundle], "fasta": genome, "spec": SPEC, "options": options, "settings": settings}
    return explain_rows(rows, ExplainOutputs(out=out), **how)


def test_parts_of_a_row_share_the_value_of_its_window_and_no_other(genome, gradient_bundle):
    """The window as it is runs once; another target, strand or code of unknown bases is another value."""
    (row,) = region_rows([Interval("chr1", 5994, 6004)], genome, gradient_bundle.geometry)
    with Explainer(gradient_bundle, genome) as explainer:
        ism = ExplainOptions(method="ism")
        for low in range(3):
            explainer.explain(row.part(low, low + 1), SPEC, ism)
        assert explainer.counts["body"] + explainer.counts["whole"] == 1 + 3 * 3
        others = [
            (replace(SPEC, tracks="cage"), ism),
            (replace(SPEC, region="span:400"), ism),
            (replace(SPEC, against="rna"), ism),
            (SPEC, replace(ism, rc=True)),
            (SPEC, replace(ism, n_code="uniform")),
        ]
        found = [explainer.explain(row.part(0, 1), *other).value for other in [(SPEC, ism), *others]]
    assert len(set(found)) == len(found)
    for value, other in zip(found, [(SPEC, ism), *others], strict=True):
        with Explainer(gradient_bundle, genome) as fresh:
            assert fresh.explain(row.part(0, 1), *other).value == value


def test_only_methods_that_take_base_by_base_are_cut(gradient_bundle):
    assert plans.part_bp(gradient_bundle, ExplainOptions(), 500) == 500
    assert plans.part_bp(gradient_bundle, ExplainOptions(method="ism"), 500) == 32
    assert plans.part_bp(gradient_bundle, ExplainOptions(method="ism"), 7) == 7
    info = gradient_bundle.info
    published = replace(gradient_bundle, info=replace(info, geometry=replace(info.geometry, sequence_length_bp=2**19)))
    assert plans.part_bp(published, ExplainOptions(method="ism", rc=True), 500) == 1
    assert plans.part_bp(published, ExplainOptions(method="ism"), 500) == 2


def start(desk: SimpleNamespace, arguments: list[object]) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, str(desk.entry), *map(str, arguments)], stderr=subprocess.PIPE, text=True)


def kept(folder: Path) -> int:
    return len(list((folder / "out.h5.partial").glob("shard-*.arrow")))


def test_kills_and_resumes_give_the_bytes_of_an_undisturbed_run(desk, gradient_bundle, tmp_path):
    """Killed once between jobs, and once when all are done, or while the outputs get their names."""
    draw, kills, jobs = random.Random(4), 2, 9
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    calls = []
    for folder in (whole, broken):
        folder.mkdir()
        calls.append(words(desk, gradient_bundle, folder, "--method", "ism"))
    process = start(desk, calls[0])
    assert process.communicate(timeout=300)[0] is None
    assert process.returncode == 0
    for turn in range(kills):
        goal = jobs if turn == kills - 1 else min(kept(broken) + draw.randrange(1, 4), jobs)
        process = start(desk, [*calls[1], "--resume"])
        while process.poll() is None and kept(broken) < goal:
            time.sleep(0.001)
        time.sleep(draw.random() * 0.05)
        process.kill()
        process.communicate()
        finals = [path.name for path in broken.iterdir() if path.name != "out.h5.partial"]
        if process.returncode:
            assert "out.h5" not in finals or set(content(whole)) <= set(content(broken))
    process = start(desk, [*calls[1], "--resume"])
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert content(broken) == content(whole)


def test_what_was_moved_before_a_kill_does_not_stop_a_resumed_run(call, desk, gradient_bundle, tmp_path, monkeypatch):
    """Killed after the outputs have their names, and before the journal is gone; then with a folder of another run."""
    arguments = words(desk, gradient_bundle, tmp_path)

    def killed(self: Journal) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "remove", killed)
        assert call(*arguments)[0] != 0
    want = {name: held for name, held in content(tmp_path).items() if "partial" not in name}
    assert {"out.h5", "modisco/attr.npz"} <= set(want)
    check_error(call(*arguments), "is not an empty directory")
    assert call(*arguments, "--resume")[0] == 0
    assert content(tmp_path) == want
    (tmp_path / "modisco" / "attr.npz").write_bytes(b"mine")
    check_error(call(*arguments, "--resume"), "holds something else by now")
    assert (tmp_path / "modisco" / "attr.npz").read_bytes() == b"mine"
    shutil.rmtree(tmp_path / "modisco")
    assert call(*arguments, "--resume")[0] == 0
    assert content(tmp_path) == want


@pytest.fixture
def stopped(monkeypatch):
    """Let a run do one job, and stop."""

    def stop(call, arguments: list[object]) -> None:
        real, done = plans.ExplainWorker.run, []

        def run(self: Any, *given: Any) -> Any:
            if done:
                raise KeyboardInterrupt
            done.append(1)
            return real(self, *given)

        with monkeypatch.context() as patch:
            patch.setattr(plans.ExplainWorker, "run", run)
            code, _, err = call(*arguments)
        assert code != 0
        assert "1 of 3 are kept in" in err

    return stop


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--target", "SUM"], "target (log true there, false here; target log SUM there, SUM here)"),
        (["--tracks", "cage"], "choice of tracks"),
        (["--method", "ixg"], "choice of options (method saliency there, ixg here)"),
        (["--rc"], "choice of options (rc false there, true here)"),
        (["--width", 4], "list of regions"),
        (["--fold"], "model"),
    ],
)
def test_another_run_is_refused(call, desk, gradient_bundle, second_fold, tmp_path, stopped, more, said):
    arguments = words(desk, gradient_bundle, tmp_path)
    stopped(call, arguments)
    changed = [*more, second_fold.path] if more == ["--fold"] else more
    result = call(*words(desk, gradient_bundle, tmp_path, *changed), "--resume")
    check_error(result, "kept by a run with another ")
    assert said in result[2]
    assert call(*arguments, "--resume")[0] == 0


def test_another_genome_is_refused(call, desk, gradient_bundle, tmp_path, stopped):
    fasta = worlds.write_fasta(tmp_path / "g.fa", {"chr1": TEXT, "chr2": TEXT})
    arguments = words(desk, gradient_bundle, tmp_path, "--fasta", fasta)
    stopped(call, arguments)
    worlds.write_fasta(fasta, {"chr1": TEXT + "A", "chr2": TEXT})
    check_error(call(*arguments, "--resume"), "another genome")


@pytest.mark.parametrize("method", ["ism", "saliency"])
def test_rows_without_an_answer_have_a_status_and_no_numbers(call, desk, gradient_bundle, tmp_path, method):
    arguments = words(desk, gradient_bundle, tmp_path, "--bed", desk.lost, "--plot", tmp_path / "out.png")
    code, _, err = call(*arguments, "--method", method)
    assert code == 0
    assert "5 rows of 6 bases: 2 ok, 1 contig_missing, 1 out_of_bounds, 1 too_many_n ->" in err
    assert (
        "note: the first that is not explained: contig_missing: region chr9:11-16: toy.fa has no such contig\n" in err
    )
    written = err.splitlines()[-1].partition(" -> ")[2].split(", ")
    assert written[0] == str(tmp_path / "out.h5")
    assert str(tmp_path / "out.png") in written
    assert all(Path(name).exists() for name in written)
    held = read_attributions(tmp_path / "out.h5").arrays
    assert list(held["status"]) == ["ok", "contig_missing", "out_of_bounds", "too_many_n", "ok"]
    assert list(held["detail"])[1:3] == [
        "region chr9:11-16: toy.fa has no such contig",
        "region chr1:8997-9002 does not lie in chr1 (1-9000)",
    ]
    assert [name for name in held if name in ("hypothetical", "effects", "score")]
    for name in {"hypothetical", "effects", "score"} & set(held):
        lost = np.isnan(held[name]).reshape(5, -1)
        assert lost[1:4].all()
        assert not lost[[0, 4]].any()
    assert (held["sequence"][1:4] == 4).all()
    assert held["sequence"][4].tolist()[3:] == [4, 4, 4]
    with BigWig(tmp_path / "out.bw") as wig:
        assert np.isnan(wig.values(Interval("chr1", 8990, 9000))).all()
        assert np.isfinite(wig.values(Interval("chr1", 4400, 4406))).all()
    scores = np.load(tmp_path / "modisco" / "attr.npz")["arr_0"]
    assert np.isfinite(scores).all()
    assert len((tmp_path / "modisco" / "rows.bed").read_text().splitlines()) == len(scores) == 2


def test_nothing_to_explain_is_an_error_and_no_file(call, desk, gradient_bundle, tmp_path):
    bed = tmp_path / "none.bed"
    bed.write_text("chr9\t10\t16\nchr8\t10\t16\n")
    check_error(call(*words(desk, gradient_bundle, tmp_path, "--bed", bed)), "region chr9:11-16")
    # The logarithm of a number below 0: known only when it has been computed.
    region = ["--against", "rna", "--target", "log SUM", "--squashed"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("borzoi_rt.explain.models.finite", refused)
        check_error(call(*words(desk, gradient_bundle, tmp_path), *region), "no finite value")
    assert set(content(tmp_path)) == {"none.bed"}
    assert not list(tmp_path.glob("*.partial"))


def refused(*_: object) -> float:
    raise InputError("the target has no finite value for this window")


def test_one_row_without_a_value_is_told_of_that_row(desk, genome, gradient_bundle, tmp_path):
    rows = region_rows([Interval("chr1", 4400, 4406), Interval("chr1", 4500, 4506)], genome, gradient_bundle.geometry)
    real, seen = Explainer.attributed, []

    def explain(self: Explainer, row: Any, *given: Any) -> Any:
        seen.append(row)
        if row.bases.start == 4500:
            raise ZeroDivisionError("of ours")
        return real(self, row, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Explainer, "attributed", explain)
        told = explained(rows, tmp_path / "out.h5", gradient_bundle, genome)
    assert [row["status"] for row in told] == ["ok", "error"]
    assert told[1]["detail"] == "ZeroDivisionError: of ours"
    held = read_attributions(tmp_path / "out.h5").arrays
    assert np.isnan(held["hypothetical"][1]).all()


def test_a_row_that_one_fold_cannot_explain_has_no_mean(desk, genome, gradient_bundle):
    (row,) = region_rows([Interval("chr1", 4400, 4402)], genome, gradient_bundle.geometry)
    good = Answer(value=1.0, codes=np.zeros(2, dtype=np.uint8), arrays={"hypothetical": np.ones((4, 2), dtype="f4")})
    for folds in ([good, Answer("error", "gone")], [Answer("error", "gone"), good]):
        found = stored_row(row, folds)
        assert (found.row.status, found.row.detail, found.arrays) == ("error", "gone", {})
    assert joined([good, Answer("error", "gone")]).status == "error"
    again = from_table(to_table(good))
    assert (again.status, again.value, again.facts) == ("ok", 1.0, {})
    assert_array_equal(again.arrays["hypothetical"], good.arrays["hypothetical"])


def test_folds_and_haplotypes_are_spread_too(desk, genome, gradient_bundle, second_fold, tmp_path):
    variant = Variant("chr1", 4430, TEXT[4429], TEXT[4429] + "ACG")
    rows = variant_rows(variant, genome, gradient_bundle.geometry, width_bp=6)
    found = []
    for workers in (1, 2):
        out = tmp_path / f"{workers}.h5"
        explain_rows(
            rows,
            ExplainOutputs(out=out),
            bundles=[gradient_bundle, second_fold],
            fasta=genome,
            spec=SPEC,
            options=ExplainOptions(method="ism"),
            settings=RunSettings(workers=workers, threads=1),
        )
        found.append(out.read_bytes())
    assert found[0] == found[1]
    held = read_attributions(out)
    assert list(held.arrays["allele"]) == ["ref", "alt"]
    assert len(held.about["models"]) == 2
    assert not (held.arrays["sequence"][0] == held.arrays["sequence"][1]).all()
    assert (held.arrays["se"] > 0).any()


def test_a_plan_writes_nothing_and_counts_passes(call, desk, gradient_bundle, second_fold, genome, tmp_path):
    folds = ["--fold", second_fold.path]
    code, out, _ = call(*words(desk, gradient_bundle, tmp_path, "--method", "ism"), *folds, "--plan", "--json")
    assert code == 0
    estimate = json.loads(out)
    assert (estimate["jobs"], estimate["items"]) == (6, 6)  # 2 folds x 3 rows
    assert estimate["forwards"] == 6 * (1 + 3 * 6)  # of each row its own value, and 18 substitutions
    assert estimate["seconds"] > 0
    assert not list(tmp_path.iterdir())

    rows, found = region_rows([Interval("chr1", 4400, 4406)], genome, gradient_bundle.geometry), list[Estimate]()
    explained(rows, tmp_path / "out.h5", gradient_bundle, genome, estimate=found.append)
    assert found[0].forwards == 1 + 2  # there, and a way back


def test_progress_is_told(call, desk, gradient_bundle, tmp_path):
    code, _, err = call(*words(desk, gradient_bundle, tmp_path), "--log-json")
    assert code == 0
    lines = [json.loads(line) for line in err.splitlines()]
    assert lines[-1]["message"].startswith("3 rows of 6 bases -> ")


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_full_disk_keeps_what_was_done_and_frees_its_space(call, desk, gradient_bundle, tmp_path, share):
    """No file may grow beyond a share of the attributions."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for folder in (whole, broken):
        folder.mkdir()
    assert call(*words(desk, gradient_bundle, whole))[0] == 0
    want = content(whole)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "finish_outputs", refused)
        call(*words(desk, gradient_bundle, broken))
    kept_before = content(broken)
    with file_limit(int(share * len(want["out.h5"]))):
        check_error(call(*words(desk, gradient_bundle, broken), "--resume"), "out.h5")
    assert content(broken) == kept_before
    assert call(*words(desk, gradient_bundle, broken), "--resume")[0] == 0
    assert content(broken) == want


def test_outputs_on_another_disk_appear_whole_too(desk, genome, gradient_bundle, tmp_path, monkeypatch):
    """A rename from one disk to another fails; what is copied instead has a draft name of its own first."""
    rows, other = region_rows([Interval("chr1", 4400, 4406)], genome, gradient_bundle.geometry), tmp_path / "other"
    other.mkdir()
    real, seen = Path.replace, []

    def replace_here(self: Path, target: Path) -> Path:
        seen.append((self.name, Path(target).name))
        if Path(target).parent == other and self.parent != other:
            raise OSError(errno.EXDEV, "another disk")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace_here)
    outputs = ExplainOutputs(out=tmp_path / "out.h5", bigwig=other / "out.bw", modisco=other / "modisco")
    how = {"bundles": [gradient_bundle], "fasta": genome, "spec": SPEC, "options": ExplainOptions()}
    explain_rows(rows, outputs, **how)
    assert {"out.bw", "modisco"} == {path.name for path in other.iterdir()}
    assert (".out.bw.new", "out.bw") in seen
    assert seen[-1][1] == "out.h5"
    monkeypatch.setattr("shutil.copyfile", refused)
    with pytest.raises(InputError):
        explain_rows(rows, replace(outputs, modisco=None), **how, settings=RunSettings(resume=True))
    assert {"out.bw", "modisco"} == {path.name for path in other.iterdir()}
