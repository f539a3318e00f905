"""The files for workflow managers and clusters: rules and scripts run, manifests have their form."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import worlds
from click.testing import CliRunner

from borzoi_rt.cli import main
from borzoi_rt.demo.packaged import packaged_bundle

yaml = pytest.importorskip("yaml")
ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
MODULES = DEPLOY / "nextflow" / "modules" / "borzoirt"
BUNDLE = packaged_bundle("bundle").path


@pytest.fixture
def program(tmp_path: Path) -> dict[str, str]:
    """An environment in which ``borzoi-rt`` is this package."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "borzoi-rt"
    script.write_text(f"#!{sys.executable}\nfrom borzoi_rt.cli import run\nrun()\n")
    script.chmod(0o755)
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": path}


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder with a genome and variants."""
    folder = tmp_path / "work"
    folder.mkdir()
    text = worlds.random_dna(30_000, seed=2)
    worlds.write_fasta(folder / "genome.fa", {"chr1": text})
    rows = [f"chr1 {pos} . {text[pos - 1]} {'ACGT'['CGTA'.index(text[pos - 1])]}" for pos in range(9000, 20000, 1000)]
    worlds.write_vcf(folder / "in.vcf", rows)
    return folder


def run(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def whole(work: Path, environment: dict[str, str]) -> bytes:
    """Return the table of one process."""
    given = ["--bundle", str(BUNDLE), "--fasta", "genome.fa", "--out", "whole.tsv", "--stats", "SUM,logSED"]
    run(["borzoi-rt", "score", "in.vcf", *given, "--threads", "1"], work, environment)
    return (work / "whole.tsv").read_bytes()


# Snakemake


def test_the_snakemake_rules_run(work: Path, program: dict[str, str]) -> None:
    snakemake = os.environ.get("BORZOI_RT_SNAKEMAKE") or shutil.which("snakemake")
    if snakemake is None:
        pytest.skip("no snakemake on PATH (or in BORZOI_RT_SNAKEMAKE)")
    (work / "out" / "demo").mkdir(parents=True)
    for name, new in (("in.vcf", "variants.vcf"), ("genome.fa", "genome.fa"), ("genome.fa.fai", "genome.fa.fai")):
        shutil.copy(work / name, work / "out" / "demo" / new)
    wanted = whole(work, program)
    command = [snakemake, "--snakefile", str(DEPLOY / "snakemake" / "Snakefile"), "--cores", "2", "--quiet"]
    run([*command, "--config", f"bundle={BUNDLE}", "out=out", "shards=3"], work, program)
    assert (work / "out" / "scores.tsv").read_bytes() == wanted
    assert len(list((work / "out").glob("scores.tsv.shard-*-of-3"))) == 3


@pytest.mark.parametrize("name", ["score", "merge"])
def test_wrappers_have_what_the_convention_asks_for(name: str) -> None:
    folder = DEPLOY / "snakemake" / name
    meta = yaml.safe_load((folder / "meta.yaml").read_text())
    assert {"name", "description", "authors", "input", "output"} <= set(meta)
    assert meta["name"] == f"borzoi-rt {name}"
    environment = yaml.safe_load((folder / "environment.yaml").read_text())
    assert set(environment) == {"channels", "dependencies"}
    text = (folder / "wrapper.py").read_text()
    assert "log_fmt_shell" in text
    compile(text, "wrapper.py", "exec")
    rules = (DEPLOY / "snakemake" / "Snakefile").read_text()
    assert f'f"file://{{workflow.basedir}}/{name}"' in rules


# Nextflow: what its processes run is run here; its language is Groovy, of which the form can be checked.

PARSE = """
import org.codehaus.groovy.control.*
args.each { name ->
    def unit = new CompilationUnit()
    unit.addSource(new File(name))
    unit.compile(Phases.CONVERSION)
    println name
}
"""


@pytest.mark.full
def test_the_files_of_nextflow_are_groovy(tmp_path: Path) -> None:
    groovy = shutil.which("groovy")
    if groovy is None:
        pytest.skip("no groovy on PATH")
    script = tmp_path / "parse.groovy"
    script.write_text(PARSE)
    java = Path(shutil.which("java") or "/usr/bin/java").resolve().parent.parent
    files = sorted(map(str, [*(DEPLOY / "nextflow").rglob("*.nf"), DEPLOY / "nextflow" / "nextflow.config"]))
    assert len(files) == 4
    said = run([groovy, str(script), *files], tmp_path, {"JAVA_HOME": str(java), **os.environ})
    assert said.splitlines() == files


def section(module: str, name: str) -> str:
    """Return the script of a section of a module, a template of Groovy."""
    text = (MODULES / module / "main.nf").read_text()
    body = text.split(f"\n    {name}:\n")[1].split("\n    stub:\n")[0]
    return body.split('"""')[1]


def filled(template: str, values: dict[str, str]) -> str:
    """Fill a template in; all that Groovy would find must be known."""
    text = re.sub(r"\$\{([^}]+)\}", lambda found: values[found[1]], template)
    return text.replace("\\\\", "\\")


def values(shard: str = "") -> dict[str, str]:
    names = {"vcf": "in.vcf", "bundle": str(BUNDLE), "fasta": "genome.fa", "prefix": "x", "suffix": "tsv"}
    how = {"task.cpus": "1", "args": "--stats SUM,logSED", "share": f"--shard {shard}" if shard else ""}
    return {**names, **how, "folder": f"x.tsv.shard-{shard.replace('/', '-of-')}" if shard else ""}


def test_the_scripts_of_the_nextflow_modules_give_the_table_of_one_process(work: Path, program: dict[str, str]) -> None:
    wanted = whole(work, program)
    for number in (1, 2):
        run(["bash", "-euc", filled(section("score", "script"), values(f"{number}/2"))], work, program)
    shards = "x.tsv.shard-1-of-2 x.tsv.shard-2-of-2"
    run(["bash", "-euc", filled(section("merge", "script"), {**values(), "shards": shards, "args": ""})], work, program)
    assert (work / "x.tsv").read_bytes() == wanted
    assert (work / "x.tsv").unlink() is None
    run(["bash", "-euc", filled(section("score", "script"), values())], work, program)
    assert (work / "x.tsv").read_bytes() == wanted


@pytest.mark.parametrize(("shard", "made"), [("", "x.tsv"), ("2/3", "x.tsv.shard-2-of-3")])
def test_the_stub_makes_the_outputs_that_are_declared(tmp_path: Path, shard: str, made: str) -> None:
    run(["bash", "-euc", filled(section("score", "stub"), values(shard))], tmp_path, dict(os.environ))
    assert [path.name for path in tmp_path.iterdir()] == [made]
    run(["bash", "-euc", filled(section("merge", "stub"), values())], tmp_path, dict(os.environ))
    assert (tmp_path / "x.tsv").is_file()


@pytest.mark.parametrize(("module", "label"), [("score", "process_gpu"), ("merge", "process_single")])
def test_modules_have_what_the_convention_asks_for(
    module: str, label: str, program: dict[str, str], work: Path
) -> None:
    text = (MODULES / module / "main.nf").read_text()
    assert text.startswith(f"process BORZOIRT_{module.upper()} {{\n")
    assert f"label '{label}'" in text
    for part in ("tag ", "conda ", "input:", "output:", "when:", "script:", "stub:"):
        assert f"\n    {part}" in text, part
    assert text.count("{") == text.count("}")
    (command,) = re.findall(r'eval\("([^"]+)"\), topic: versions, emit: versions_borzoirt', text)
    shown = run(["bash", "-c", command.replace("\\$", "$")], work, program)
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*\n", shown)
    meta = yaml.safe_load((MODULES / module / "meta.yml").read_text())
    assert meta["name"] == f"borzoirt_{module}"
    emitted = set(re.findall(r"emit: (\w+)", text))
    assert emitted == set(meta["output"])
    workflow = (DEPLOY / "nextflow" / "main.nf").read_text()
    assert f"include {{ BORZOIRT_{module.upper()} }} from './modules/borzoirt/{module}/main'" in workflow


def test_the_options_of_the_modules_exist() -> None:
    known = CliRunner().invoke(main, ["score", "--help"]).output + CliRunner().invoke(main, ["merge", "--help"]).output
    for path in MODULES.glob("*/main.nf"):
        for option in re.findall(r"(?<![\w-])--[a-z-]+", path.read_text()):
            assert option in known or option == "--version", option


# KubeRay


def test_the_ray_job_has_its_form() -> None:
    manifest = yaml.safe_load((DEPLOY / "ray" / "rayjob.yaml").read_text())
    assert (manifest["apiVersion"], manifest["kind"]) == ("ray.io/v1", "RayJob")
    spec = manifest["spec"]
    cluster = spec["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    assert all(isinstance(value, str) for group in groups for value in group["rayStartParams"].values())
    for group in groups:
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        assert {"requests", "limits"} == set(container["resources"])
        assert {"name": "RAY_USAGE_STATS_ENABLED", "value": "0"} in container["env"]
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert pod["automountServiceAccountToken"] is False
    (workers,) = cluster["workerGroupSpecs"]
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]
    check_entrypoint(spec["entrypoint"].split(), groups, workers)


def check_entrypoint(words: list[str], groups: list[dict[str, Any]], workers: dict[str, Any]) -> None:
    """The command parses, works below the mount, and asks Ray for no more than the workers have."""
    assert words[:2] == ["borzoi-rt", "score"]
    context = click.Context(main)
    command = main.get_command(context, "score")
    assert command is not None
    given = command.make_context("score", words[2:], parent=context).params
    (mount,) = groups[0]["template"]["spec"]["containers"][0]["volumeMounts"]
    files = [given["vcf"], *given["bundles"], given["fasta"], given["out"]]
    assert all(Path(path).is_relative_to(mount["mountPath"]) for path in files)
    assert (given["engine"], given["resume"]) == ("ray", True)
    held = workers["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert given["workers"] <= workers["replicas"] * int(held["nvidia.com/gpu"])
    assert given["threads"] <= int(held["cpu"])
