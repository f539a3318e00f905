"""``borzoi-rt triton``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..bundle.opening import open_bundle
from ..errors import FormatError
from ..serving.bench import check_server
from ..serving.config import Limits
from ..serving.lint import lint_repository
from ..serving.local.environment import VARIABLE, find_environment, make_environment
from ..serving.local.launcher import (
    CPU_CONFIG,
    DRAIN_S,
    IMAGE,
    LOOPBACK,
    READY_LIMIT_S,
    TritonServer,
    container_command,
)
from ..serving.local.supervisor import keep_running
from ..serving.repository import write_repository
from . import _latency, _scoring, _shared

repository_argument = click.argument("repository", type=click.Path(path_type=Path))
environment_option = click.option(
    "--environment",
    type=click.Path(path_type=Path),
    help=f"Virtual environment that holds Triton  [default: {VARIABLE}, else one in the user's cache].",
)


@click.group()
def triton() -> None:
    """Write a bundle as a Triton model repository, serve it on this machine, and check a server."""


@triton.command()
@click.argument("path", metavar="BUNDLE", type=click.Path(path_type=Path))
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="Model repository to write; models are added to those it has.",
)
@click.option(
    "--name", default="borzoi", show_default=True, help="Name of the model, and beginning of the names of the others."
)
@click.option(
    "--fasta",
    type=click.Path(path_type=Path),
    help="Genome (indexed FASTA): adds NAME_scorer, which scores variants  [default: no scorer].",
)
@click.option(
    "--genes",
    type=click.Path(path_type=Path),
    help="Annotation for scores of genes of NAME_scorer (STAT@exons, STAT@span, STAT@tss:BP), GTF or GFF3; it becomes "
    "part of the repository  [default: none].",
)
@_scoring.scoring_options
@click.option(
    "--tile-cache",
    type=click.Path(path_type=Path),
    help="Folder in which the scorer keeps computed tiles  [default: none are kept].",
)
@click.option(
    "--threads", type=click.IntRange(min=1), help="CPU threads of each model  [default: all cores that may be used]."
)
@click.option(
    "--queue-size",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    help="Requests that may wait for a model; more are refused.",
)
@click.option(
    "--queue-timeout",
    type=float,
    default=60.0,
    show_default=True,
    help="Seconds that a request may wait before it is refused.",
)
@click.option(
    "--cpu-queue",
    is_flag=True,
    help="Bound the queues on a CPU too, which costs half a second now and then  [default: on GPUs only].",
)
@click.option(
    "--scorer-batch",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    help="Most variants in one request to the scorer.",
)
@click.option(
    "--explain-passes",
    type=click.IntRange(min=1),
    default=1024,
    show_default=True,
    help="Most passes of the network that one request for explanations to the scorer may cost: 3 for a gradient, 4 for "
    "each base of ism.",
)
@click.option(
    "--windows",
    type=click.IntRange(min=1),
    default=32,
    show_default=True,
    help="Most windows in one request to the model or one of its parts.",
)
@click.option(
    "--gpu-instances",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Copies of each model on every GPU.",
)
@click.option(
    "--tensorrt",
    is_flag=True,
    help="Run on TensorRT engines in FP16 in production, which has not been measured  [default: onnxruntime].",
)
@click.option("--overwrite", is_flag=True, help="Replace models of the same names  [default: an error].")
def repo(
    path: Path,
    out: Path,
    name: str,
    fasta: Path | None,
    genes: Path | None,
    tile_cache: Path | None,
    **choices: Any,
) -> None:
    """Write BUNDLE as served models: NAME, its parts, and with --fasta NAME_scorer, which scores variants and explains.

    Every model has config.pbtxt for NVIDIA's container and configs/python-cpu.pbtxt for `borzoi-rt triton serve`.
    """
    overwrite = choices.pop("overwrite")
    limits = Limits(
        queue_size=choices.pop("queue_size"),
        queue_timeout_s=choices.pop("queue_timeout"),
        cpu_queue=choices.pop("cpu_queue"),
        windows=choices.pop("windows"),
        scorer_batch=choices.pop("scorer_batch"),
        explain_passes=choices.pop("explain_passes"),
        gpu_instances=choices.pop("gpu_instances"),
        cpu_threads=choices.pop("threads") or 0,
        tensorrt=choices.pop("tensorrt"),
    )
    names = write_repository(
        open_bundle(path),
        out,
        name=name,
        fasta=fasta,
        genes=genes,
        options=_scoring.read_options(**choices),
        tile_cache=tile_cache,
        limits=limits,
        overwrite=overwrite,
    )
    click.echo(f"{', '.join(names)} -> {out}", err=True)


@triton.command()
@repository_argument
def lint(repository: Path) -> None:
    """Compare the configurations of REPOSITORY with Triton's schema and with the graphs, without a server."""
    wrong = lint_repository(repository)
    if wrong:
        raise FormatError("; ".join(wrong))
    click.echo(f"{repository}: nothing is wrong")


@triton.command()
@environment_option
def venv(environment: Path | None) -> None:
    """Make the virtual environment in which `serve` runs Triton: 330 MB from the Python package index."""
    made = make_environment(environment)
    click.echo(made.python.parent.parent)


@triton.command()
@repository_argument
@click.option(
    "--host", default=LOOPBACK, show_default=True, help="Address to listen on; whoever reaches it may send requests."
)
@click.option("--http-port", type=int, default=8000, show_default=True, help="Port for HTTP; 0 takes a free one.")
@click.option("--grpc-port", type=int, default=8001, show_default=True, help="Port for gRPC; 0 takes a free one.")
@click.option("--metrics-port", type=int, default=8002, show_default=True, help="Port for metrics; 0 takes a free one.")
@click.option(
    "--config", default=CPU_CONFIG, show_default=True, help="Name of the configuration that every model is served with."
)
@click.option(
    "--cache-mb",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Memory in MB for answers that are given again; 0 keeps none.",
)
@click.option(
    "--ready-limit",
    type=float,
    default=READY_LIMIT_S,
    show_default=True,
    help="Seconds after which a server that is not ready is given up.",
)
@click.option(
    "--restarts",
    type=click.IntRange(min=0),
    default=5,
    show_default=True,
    help="How often in a row a server that dies is started again, after 1 s, 2 s, 4 s and so on.",
)
@click.option(
    "--drain",
    type=click.IntRange(min=1),
    default=DRAIN_S,
    show_default=True,
    help="Seconds that requests under way have to end when the server is stopped.",
)
@click.option(
    "--client-shm",
    is_flag=True,
    help="Take tensors from shared memory (addresses with shm=1); any client can then read and overwrite memory of "
    "the server  [default: closed].",
)
@click.option(
    "--log",
    type=click.Path(path_type=Path),
    help="File for the log of the server  [default: shown only when it fails].",
)
@click.option(
    "--docker",
    is_flag=True,
    help="Print the command that serves REPOSITORY in the image of deploy/Dockerfile, and exit.",
)
@environment_option
def serve(repository: Path, **choices: Any) -> None:
    """Serve REPOSITORY on the CPU of this machine until Ctrl-C; prints an address on each line when it is ready."""
    if choices["docker"]:
        click.echo(container_command(repository))
        build = f"docker build -f deploy/Dockerfile -t {IMAGE} ."
        click.echo(f"build the image first, once, in the root of the source: {build}", err=True)
        return
    options = ["--rate-limit=execution_count"]
    if choices["cache_mb"]:
        options.append(f"--cache-config=local,size={choices['cache_mb'] * 2**20}")
    server = TritonServer(
        repository,
        environment=find_environment(choices["environment"]),
        host=choices["host"],
        ports=(choices["http_port"], choices["grpc_port"], choices["metrics_port"]),
        config=choices["config"],
        options=options,
        client_shm=choices["client_shm"],
        drain_s=choices["drain"],
        ready_limit_s=choices["ready_limit"],
        log_path=choices["log"],
    )
    with server:
        try:
            click.echo(f"grpc://{server.grpc}\nhttp://{server.http}\nhttp://{server.metrics}/metrics")
            for line in devices_of(repository, server.grpc):
                click.echo(line, err=True)
            click.echo(f"ready after {server.seconds_to_ready:.1f} s; Ctrl-C stops it", err=True)
            keep_running(server, restarts=choices["restarts"], say=lambda text: click.echo(text, err=True))
        except KeyboardInterrupt:
            click.echo(f"stopping; requests under way have {choices['drain']} s", err=True)


_SCORER = "_scorer"  # behind the name of a bundle, see borzoi_rt.serving.repository


def devices_of(repository: Path, grpc: str) -> list[str]:
    """Return the option that makes other commands use each model: its scorer, which takes variants, first."""
    names = sorted(path.parent.name for path in repository.glob("*/config.pbtxt"))
    scorers = [name for name in names if name.endswith(_SCORER)]
    graphs = [name.removesuffix(_SCORER) for name in scorers] or names[:1]
    uses = [(name, "score") for name in scorers] + [(name, "predict, ism, ...") for name in graphs if name in names]
    return [f"to use it: --device triton:grpc://{grpc}/{name} ({use})" for name, use in uses]


@triton.command()
@click.argument("url")
@_shared.bundle_option
@click.option("--calls", type=click.IntRange(min=1), default=20, show_default=True, help="Windows to send and time.")
def check(url: str, bundle: Path, calls: int) -> None:
    """Compare the server at URL (grpc://HOST:PORT/MODEL) with the golden example of the bundle, and time it."""
    report, latencies = check_server(open_bundle(bundle), url, calls=calls)
    click.echo(f"golden example: {report}")
    _latency.show([("triton", "1 at once", latencies)])
