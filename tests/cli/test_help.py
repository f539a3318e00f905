"""Every help text: it is there, says something and names the default; and every command fails in one line."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click
import pytest
from click.shell_completion import BashComplete
from click.testing import CliRunner

from borzoi_rt.cli import main
from borzoi_rt.cli._commands import BESIDE, COMMANDS, GROUPS
from borzoi_rt.cli._examples import EXAMPLES, FIRST
from borzoi_rt.scoring.presets import PRESETS
from borzoi_rt.scoring.registry import SITE_STATISTICS
from borzoi_rt.scoring.statistics import FAMILIES, STATISTICS

if TYPE_CHECKING:
    from conftest import Cli, Desk  # type: ignore[attr-defined]

FORBIDDEN = re.compile(r"\bplaces?\b|(^|\W)Of (the|a|all|what)?\b|\bthe variants? a\b|\?\?|TODO", re.MULTILINE)
# What these do when they are absent is said by their text, or is nothing.
NO_DEFAULT = {
    *("variants", "span_bp", "windows", "url", "valid_chroms", "test_chroms", "valid_folds", "test_folds"),
    *("stage", "origin", "kernels", "other_kernels"),
}


def walk(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from walk(below, (*path, name))


def runs(command: click.Command) -> bool:
    """Tell whether a command does something by itself."""
    return not isinstance(command, click.Group) or command.invoke_without_command


def every(package: str) -> list[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(main)
    found = []
    for name, (module, _) in COMMANDS.items():
        if module.startswith(package):
            command = main.get_command(context, name)
            assert command is not None
            found += walk(command, (name,))
    return found


RUNTIME = every("borzoi_rt.")
EVERY = RUNTIME + every("borzoi_export.")


def named(item: object) -> str:
    return " ".join(item) if isinstance(item, tuple) else ""


@pytest.mark.parametrize("path", [path for path, _ in [((), main), *EVERY]], ids=" ".join)
def test_help_is_shown(cli: Cli, path: tuple[str, ...]) -> None:
    ended = cli(*path, "--help")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(f"Usage: {' '.join(('borzoi-rt', *path))} ")
    assert ended.out.count("--verbose") == 1


@pytest.mark.parametrize(("path", "command"), EVERY, ids=named)
def test_no_parameter_is_hidden_by_another_of_its_name(path: tuple[str, ...], command: click.Command) -> None:
    """Click lets the last one win and forgets the other's value."""
    names = [parameter.name for parameter in command.params]
    assert len(names) == len(set(names)), names


@pytest.mark.parametrize(("path", "command"), EVERY, ids=named)
def test_texts_say_something(path: tuple[str, ...], command: click.Command) -> None:
    assert command.help
    assert len(command.help) > 25
    assert not FORBIDDEN.search(command.help), command.help
    context = click.Context(command, info_name=path[-1])
    for option in command.params:
        if not isinstance(option, click.Option) or option.hidden:
            continue
        text = (option.help or "").split("[default")[0].strip()
        assert len(text.split()) >= 4, (option.name, text)
        assert not FORBIDDEN.search(text), (option.name, text)
        assert re.match(r"[A-Z0-9a-z@]", text), text
        record = option.get_help_record(context)
        assert record is not None
        if not option.required and not option.is_flag and option.name not in NO_DEFAULT:
            assert "[default: " in record[1] or "default:" in record[1], (path, option.name, record[1])


@pytest.mark.parametrize("name", ["device", "tracks", "shifts", "resume", "workers", "squash"])
def test_an_option_is_the_same_in_every_command(name: str) -> None:
    found = {
        (tuple(option.opts), option.help, str(option.default), option.required)
        for path, command in RUNTIME
        for option in command.params
        if option.name == name and path != ("data", "make")
    }
    assert len(found) == 1, found


def test_commands_are_in_the_order_of_their_use(cli: Cli) -> None:
    out = cli("--help").out
    listed = out.split(f"{next(iter(GROUPS))}:")[1]
    assert re.findall(r"^  ([a-z]+) ", listed, re.MULTILINE) == list(COMMANDS)
    assert re.findall(r"^(\w.*):$", listed, re.MULTILINE) == list(GROUPS)[1:]
    assert (list(COMMANDS)[:5], list(COMMANDS)[-1]) == (["score", "ism", "predict", "merge", "report"], "bench")
    assert all(len(text.split()) > 4 for _, text in COMMANDS.values())


@pytest.mark.parametrize("family", FAMILIES)
def test_scores_lists_all_there_is(cli: Cli, family: str) -> None:
    ended = cli("scores", "--family", family)
    assert (ended.code, ended.err) == (0, "")
    parts = [re.findall(r"^  (\S+) +(\S.*)$", part, re.MULTILINE) for part in ended.out.split("\n\n")]
    statistics, sites, regions, presets = ([name for name, _ in part] for part in parts)
    assert sorted(statistics) == sorted(STATISTICS[family])
    assert sites == [f"{name}@{statistic.region}" for name, statistic in SITE_STATISTICS.items()]
    assert regions[:6] == ["window", "span:BP", "center:BP", "exons", "span", "tss:BP"]
    assert regions[6:] == ["gene_mask", "gene_body", "pas", "splice"]
    assert presets == list(PRESETS)
    assert all(len(text.split()) > 4 for part in parts for _, text in part)


def test_score_s_help_names_what_it_takes(cli: Cli) -> None:
    text = " ".join(cli("score", "--help").out.split())
    for words in ("`borzoi-rt scores`", "at:START", "grid:BP", "0.92", "0.44", "STAT@REGION", "--variant"):
        assert words in text


OLD = [
    (["--provider", "cuda"], "--provider is now --device: give --device cuda"),
    (["--provider=rocm"], "--provider is now --device: give --device DEVICE"),
    (["--backend", "onnx:cuda:1"], "--backend is now --device: give --device cuda:1"),
    (["--backend=triton:grpc://h:1/m"], "--backend is now --device: give --device triton:grpc://h:1/m"),
    (["--device", "0"], "'0' is no device any more; GPU 0 is now --device cuda:0"),
    (["--device", "rocm"], "device 'rocm' is unknown; allowed: cpu, cpu:THREADS"),
    (["--device", "cpu:0"], "threads is 0; a positive number"),
]


@pytest.mark.parametrize(("more", "message"), OLD)
def test_options_of_old_are_told_in_words_of_today(cli: Cli, desk: Desk, more: list[str], message: str) -> None:
    for words in (desk.score(*more), desk.predict(*more), ["bundle", "verify", desk.bundle, *more]):
        ended = cli(*words)
        assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
        assert message in ended.err
        assert "--help`)" in ended.err


def test_threads_and_device_go_together(cli: Cli, desk: Desk) -> None:
    words = ["score", desk.vcf, "--bundle", desk.bundle, "--fasta", desk.fasta, "--out", desk.out]
    assert cli(*words, "--device", "cpu:1").code == 0
    assert cli(*words, "--device", "cpu:1", "--threads", "1").code == 0
    ended = cli(*words, "--device", "cpu:2", "--threads", "1")
    assert ended.code == 1
    assert re.fullmatch(r"error: device 'cpu:2' and threads 1 name two numbers of threads; leave one out\n", ended.err)


def test_compare_offers_no_options_of_experiments(cli: Cli) -> None:
    for name in ("--motif", "--backgrounds", "--spacing"):
        assert f"  {name} " in cli("explain", "--help").out
        assert f"  {name} " not in cli("explain", "compare", "--help").out


FAILS = {
    "score": (["score", "none.vcf", "--bundle", "B", "--fasta", "F", "--out", "o.tsv"], r"none\.vcf: no such VCF"),
    "ism": (["ism", "chr1:x", "--bundle", "B", "--fasta", "F", "--out", "o.tsv"], r"'chr1:x'"),
    "explain": (
        ["explain", "--region", "chr1:x", "--bundle", "B", "--fasta", "F", "--out", "o.h5"],
        r"'chr1:x'",
    ),
    "explain compare": (
        [
            "explain",
            "compare",
            "--methods",
            "ism",
            "--region",
            "chr1:1-9",
            *("--bundle", "B", "--fasta", "F", "--out", "o"),
        ],
        r"methods are ism; name two or more",
    ),
    "explain evaluate": (
        ["explain", "evaluate", "none.h5", "--metrics", "luck", "--bundle", "B", "--fasta", "F", "--out", "o"],
        r"metric 'luck' is unknown",
    ),
    "explain rate": (["explain", "rate", "none.h5", "--out", "o.html"], r"files are none\.h5; give two or more"),
    "cam": (["cam", "--region", "chr1:x", "--bundle", "B", "--fasta", "F", "--out", "o.h5"], r"'chr1:x'"),
    "attention": (["attention", "--region", "chr1:x", "--bundle", "B", "--fasta", "F", "--out", "o.h5"], r"'chr1:x'"),
    "activations": (
        ["activations", "--region", "chr1:x", "--bundle", "B", "--fasta", "F", "--out", "o.h5"],
        r"'chr1:x'",
    ),
    "embed": (
        ["embed", "--bed", "none.bed", "--bundle", "B", "--fasta", "F", "--out", "o.h5"],
        r"none\.bed: no such BED file",
    ),
    "design": (["design", "--region", "chr1:x", "--bundle", "B", "--fasta", "F", "--out", "o"], r"'chr1:x'"),
    "filters": (
        ["filters", "--layer", "tokens", "--bundle", "B", "--fasta", "F", "--out", "o"],
        r"layer 'tokens' sees more than the bases around a position",
    ),
    "dissect": (["dissect", "--bundle", "B", "--fasta", "F", "--out", "o"], r"give --annotations, --motifs or both"),
    "neighbours": (["neighbours", "none.h5", "--out", "o.tsv"], r"none\.h5"),
    "surrogate": (
        ["surrogate", "--region", "chr1:x", "--bundle", "B", "--fasta", "F", "--out", "o"],
        r"'chr1:x'|`surrogate` needs sklearn",  # which the tests may run without
    ),
    "tcav": (
        ["tcav", "--motif", "GATTACA", "--region", "chr1:x", "--bundle", "B", "--fasta", "F", "--out", "o.tsv"],
        r"'chr1:x'|`tcav` needs sklearn|export the model again",
    ),
    "bottleneck": (
        ["bottleneck", "--motif", "GATTACA", "--bed", "none.bed", "--bundle", "B", "--fasta", "F", "--out", "o.tsv"],
        r"none\.bed: no such BED file|`bottleneck` needs sklearn",
    ),
    "predict": (["predict", "none.bed", "--bundle", "B", "--fasta", "F", "--out", "o"], r"none\.bed: no such BED file"),
    "plot": (["plot", "chr1:x", "--bundle", "B", "--fasta", "F", "--out", "o.pdf"], r"'chr1:x'"),
    "report": (["report", "none.tsv", "--out", "r.html"], r"none\.tsv: no such table"),
    "merge": (["merge", "none.tsv.shard-1-of-2"], r"none\.tsv\.shard-1-of-2: is no shard of a run"),
    "calibrate": (
        ["calibrate", "--variants", "none.vcf", "--bundle", "B", "--fasta", "F", "--out", "o"],
        r"none\.vcf: no such VCF",
    ),
    "bundle verify": (["bundle", "verify", "none"], r"none: no such bundle"),
    "bundle show": (["bundle", "show", "none"], r"none: no such bundle"),
    "data make": (
        ["data", "make", "--targets", "t", "--fasta", "F", "--regions", "r", "--squash", "new", "--out", "o"],
        r"\br: no such BED file",
    ),
    "data show": (["data", "show", "none"], r"none"),
    "evaluate": (["evaluate", "--bundle", "B", "--data", "none", "--out", "o"], r"none"),
    "influence": (
        ["influence", "--data", "none", "--window", "valid:0", "--bundle", "B", "--out", "o.tsv"],
        r"none: no such data directory",
    ),
    "dft score": (
        ["dft", "score", "--bundle", "none", "--fasta", "F", "--bed", "b", "--out", "o.tsv"],
        r"none: no such",
    ),
    "dft demo": (["dft", "demo", "--out", "full"], r"full: exists and is not an empty directory"),
    "triton repo": (["triton", "repo", "none", "--out", "o"], r"none: no such bundle"),
    "triton lint": (["triton", "lint", "none"], r"none"),
    "triton serve": (["triton", "serve", "none"], r"none"),
    "triton check": (["triton", "check", "grpc://127.0.0.1:1/m", "--bundle", "none"], r"none: no such bundle"),
    "demo": (["demo", "--out", "full"], r"full: exists and is not an empty directory"),
    "bench latency": (["bench", "latency", "--bundle", "none", "--fasta", "F"], r"none: no such bundle"),
}


@pytest.mark.parametrize("name", FAILS)
def test_every_command_fails_in_one_line(cli: Cli, desk: Desk, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(desk.folder)
    (desk.folder / "full").mkdir()
    (desk.folder / "full" / "mine").touch()
    names = {"B": desk.bundle, "F": desk.fasta}
    arguments, message = FAILS[name]
    ended = cli(*(names.get(word, word) for word in arguments))
    assert (ended.code, ended.out) == (1, "")
    assert re.fullmatch(rf"error: .*({message}).*\n", ended.err), ended.err
    assert not re.search(r"Errno|unexpected", ended.err), ended.err
    assert [path.name for path in (desk.folder / "full").iterdir()] == ["mine"]


def test_every_command_is_among_them() -> None:
    leaves = {" ".join(path) for path, command in RUNTIME if runs(command)}
    # The first cannot fail, the last needs the network.
    assert leaves - set(FAILS) == {"scores", "models", "doctor", "triton venv"}


def test_help_begins_with_what_people_do_first(cli: Cli) -> None:
    for ended in (cli("--help"), cli()):
        text = " ".join((ended.out + ended.err).split())
        begin = text.split("Begin with: ")[1].split(f"{next(iter(GROUPS))}:")[0]
        assert begin.split() == " ".join(f"{title} {line}" for title, line in FIRST).split()


def words_of_examples() -> list[list[str]]:
    lines = [line for lines in EXAMPLES.values() for line in lines]
    return [shlex.split(line) for line in (*lines, *(line.removeprefix("borzoi-rt ") for _, line in FIRST))]


@pytest.mark.parametrize("words", words_of_examples(), ids=" ".join)
def test_examples_can_be_given(words: list[str]) -> None:
    """Click takes every word; nothing is run."""
    commands = dict(EVERY)
    path = next(tuple(words[:count]) for count in (2, 1) if tuple(words[:count]) in commands)
    command = commands[path]
    assert runs(command)
    command.make_context(path[-1], list(words[len(path) :]))


def test_every_command_of_the_runtime_has_an_example(cli: Cli) -> None:
    leaves = {" ".join(path): command for path, command in RUNTIME if runs(command)}
    without = {name for name, command in leaves.items() if "Examples:" not in (command.epilog or "")}
    assert without <= {"triton venv"}
    assert set(EXAMPLES) <= {" ".join(path) for path, _ in EVERY}
    assert "Examples:\n    borzoi-rt merge scores.tsv.shard-*\n" in cli("merge", "--help").out


@pytest.mark.parametrize(
    ("word", "message"),
    [("scor", "did you mean score?"), ("modles", "did you mean models?"), ("xyz", "`borzoi-rt --help` lists them")],
)
def test_a_wrong_command_is_told_the_right_one(cli: Cli, word: str, message: str) -> None:
    ended = cli(word, "--out", "o")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == f"error: No such command {word!r}; {message} (see `borzoi-rt --help`)\n"


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> click.Command:
    """`explain` with `models` beside it, as nobody has imported it yet."""
    monkeypatch.setitem(BESIDE, "explain", {"models": ("borzoi_rt.cli.models", "List what could be explained here.")})
    monkeypatch.delitem(sys.modules, "borzoi_rt.cli.models", raising=False)
    monkeypatch.delitem(sys.modules, "borzoi_rt.cli.explain", raising=False)
    monkeypatch.setattr(main, "commands", {})
    command = main.get_command(click.Context(main), "explain")
    assert command is not None
    return command


def test_a_command_may_have_others_beside_it(cli: Cli, desk: Desk, beside: click.Command) -> None:
    shown = cli("explain", "--help")
    assert re.match(r"Usage: borzoi-rt explain \[OPTIONS\] \| COMMAND \[ARGS\]\.\.\.\n", shown.out)
    assert "--method" in shown.out
    assert re.search(r"^Commands:\n  models +List what could be explained here\.$", shown.out, re.MULTILINE)
    assert shown.out.count("--verbose") == 1
    assert "borzoi_rt.cli.models" not in sys.modules
    assert "borzoi-0" in cli("explain", "models").out
    assert cli("explain", "models", "--help").out.startswith("Usage: borzoi-rt explain models [OPTIONS]\n")
    out = desk.folder / "a.h5"
    words = ["explain", "--method", "occlusion", "--region", "chr1:3,001-3,064", "--target", "SUM", "--tile-bp", "32"]
    assert cli(*words, *desk.model(), "--out", out).code == 0
    assert out.is_file()


def test_what_stands_behind_such_a_command_is_an_option_or_one_of_those(cli: Cli, beside: click.Command) -> None:
    for words, message in (
        (("modles",), "No such command 'modles'; did you mean models? (see `borzoi-rt explain --help`)"),
        (("xyz",), "No such command 'xyz'; `borzoi-rt explain --help` lists them (see `borzoi-rt explain --help`)"),
        ((), "Missing option '--bundle'. (see `borzoi-rt explain --help`)"),
        (
            ("--bundle", "b", "--fasta", "f", "--out", "o", "models"),
            "Got unexpected extra argument (models) (see `borzoi-rt explain --help`)",
        ),
        (("models", "--xyz"), "No such option '--xyz'. (see `borzoi-rt explain models --help`)"),
    ):
        ended = cli("explain", *words)
        assert (ended.code, ended.out, ended.err) == (2, "", f"error: {message}\n")


@pytest.mark.filterwarnings("error")
def test_shells_complete_options_and_the_commands_beside(beside: click.Command) -> None:
    shell = BashComplete(main, {}, "borzoi-rt", "_X")
    assert "models" in {item.value for item in shell.get_completions(["explain"], "")}
    assert "--bundle" in {item.value for item in shell.get_completions(["explain"], "--b")}
    assert "--json" in {item.value for item in shell.get_completions(["explain", "models"], "--j")}


@pytest.mark.parametrize("words", [["--help"], ["score", "--help"], ["doctor"], ["models"], ["scores"]], ids=" ".join)
def test_no_colour_where_it_is_piped(cli: Cli, words: list[str]) -> None:
    ended = cli(*words)
    assert (ended.code, ended.err) == (0, "")
    assert "\x1b" not in ended.out


@pytest.mark.parametrize(
    "words",
    [
        ("cam", "--region", "chr1:1-9", "--region", "chr1:11-19"),
        ("explain", "--variant", "chr1:1:A:C", "--variant", "chr1:2:A:C"),
        ("score", "in.vcf", "--tracks", "a", "--stats", "SUM", "--tracks", "b"),
        ("explain", "evaluate", "a.h5", "--gene", "A", "--gene", "B"),
        ("explain", "evaluate", "a.h5", "--metrics", "ism", "--metrics", "seeds"),
        ("explain", "--method", "ism", "--method", "saliency"),
        ("design", "--unit", "1", "--unit", "2"),
        ("design", "--layer", "stem", "--layer", "tower_0"),
        ("dissect", "--annotations", "a.bed", "--annotations", "b.bed"),
        ("cam", "--truth", "a.bed", "--truth", "b.bed"),
        ("score", "in.vcf", "--genes", "a.gtf", "--genes", "b.gtf"),
        ("predict", "--device", "cpu", "--device", "cuda"),
    ],
)
def test_what_takes_one_value_is_given_once(words: tuple[str, ...]) -> None:
    """Of two regions the last would be taken, and nothing would say so; `embed` takes several genes."""
    done = CliRunner().invoke(main, [*words, "--bundle", "B", "--fasta", "F", "--out", "o"])
    option = next(word for word in words if words.count(word) > 1)
    assert done.exit_code == 2
    assert f"{option} is given 2 times, and one is taken" in done.stderr
    several = ["embed", "--gene", "A", "--gene", "B", "--bundle", "B", "--fasta", "F", "--out", "o"]
    assert "given 2 times" not in CliRunner().invoke(main, several).stderr
    both = CliRunner().invoke(main, ["score", "in.vcf", "--unclip", "--no-unclip"])
    assert "--unclip is given 2 times" in both.stderr
    again = ["score", "in.vcf", "--rc", "--rc", "--bundle", "B", "--fasta", "F", "--out", "o"]
    assert "given 2 times" not in CliRunner().invoke(main, again).stderr


def test_a_gene_of_ism_is_for_scores_of_it() -> None:
    words = ["ism", "chr1:1-9", "--gene", "A", "--genes", "g.gtf", "--bundle", "B", "--fasta", "F", "--out", "o.h5"]
    done = CliRunner().invoke(main, [*words, "--stats", "logSED"])
    assert done.exit_code == 1
    said = str(done.exception or done.stderr) + done.stderr
    assert "--gene is for scores over a region of it, and --stats has none; name one, like --stats logSED@exons" in said
    done = CliRunner().invoke(main, [*words, "--stats", "logSED@exons"])
    assert "--gene is for scores" not in str(done.exception or "") + done.stderr
