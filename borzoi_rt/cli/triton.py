"""``borzoi-rt triton``."""

from __future__ import annotations

import signal
from pathlib import Path
from types import FrameType
from typing import Any

import click

from ..bundle.opening import open_bundle
from ..errors import FormatError
from ..serving.bench import check_server
from ..serving.config import Limits
from ..serving.lint import lint_repository
from ..serving.local.environment import VARIABLE, find_environment, make_environment
from ..serving.local.launcher import CPU_CONFIG, LOOPBACK, READY_LIMIT_S, TritonServer, container_command
from ..serving.repository import write_repository
from . import _latency, _scoring, _shared

repository_argument = click.argument("repository", type=click.Path(path_type=Path))
environment_option = click.option(
    "--environment",
    type=click.Path(path_type=Path),
    help=f"Server's environment  [default: {VARIABLE}, else the cache].",
)


@click.group()
def triton() -> None:
    """Make a model repository of a bundle, serve it, and check a server."""


@triton.command()
@click.argument("path", metavar="BUNDLE", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Model repository; models are added to it.")
@click.option("--name", default="borzoi", show_default=True, help="Prefix of the models.")
@click.option("--fasta", type=click.Path(path_type=Path), help="Indexed genome: adds NAME_scorer.")
@_scoring.scoring_options
@click.option("--tile-cache", type=click.Path(path_type=Path), help="Folder in which the scorer keeps tiles.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads of a model  [default: all usable cores].")
@click.option("--queue-size", type=click.IntRange(min=1), default=64, show_default=True, help="Requests that may wait.")
@click.option("--queue-timeout", type=float, default=60.0, show_default=True, help="Seconds that one may wait.")
@click.option(
    "--cpu-queue", is_flag=True, help="Bound the queues on a CPU too, which costs half a second now and then."
)
@click.option(
    "--scorer-batch", type=click.IntRange(min=1), default=64, show_default=True, help="Variants of a request."
)
@click.option("--gpu-instances", type=click.IntRange(min=1), default=1, show_default=True, help="Copies on every GPU.")
@click.option("--tensorrt", is_flag=True, help="Production: TensorRT engines in FP16 (not measured).")
@click.option("--overwrite", is_flag=True, help="Replace models of the same names.")
def repo(path: Path, out: Path, name: str, fasta: Path | None, tile_cache: Path | None, **choices: Any) -> None:
    """Write BUNDLE as models: NAME, its split graphs, and with --fasta NAME_scorer.

    Every model has config.pbtxt for NVIDIA's container and configs/python-cpu.pbtxt for `borzoi-rt triton serve`.
    """
    overwrite = choices.pop("overwrite")
    limits = Limits(
        queue_size=choices.pop("queue_size"),
        queue_timeout_s=choices.pop("queue_timeout"),
        cpu_queue=choices.pop("cpu_queue"),
        scorer_batch=choices.pop("scorer_batch"),
        gpu_instances=choices.pop("gpu_instances"),
        cpu_threads=choices.pop("threads") or 0,
        tensorrt=choices.pop("tensorrt"),
    )
    names = write_repository(
        open_bundle(path),
        out,
        name=name,
        fasta=fasta,
        options=_scoring.read_options(**choices),
        tile_cache=tile_cache,
        limits=limits,
        overwrite=overwrite,
    )
    click.echo(f"{', '.join(names)} -> {out}", err=True)


@triton.command()
@repository_argument
def lint(repository: Path) -> None:
    """Judge the configurations of REPOSITORY by Triton's schema and the graphs, without a server."""
    wrong = lint_repository(repository)
    if wrong:
        raise FormatError("; ".join(wrong))
    click.echo(f"{repository}: nothing is wrong")


@triton.command()
@environment_option
def venv(environment: Path | None) -> None:
    """Make the environment in which `serve` runs tritonserver: 330 MB from the Python package index."""
    made = make_environment(environment)
    click.echo(made.python.parent.parent)


@triton.command()
@repository_argument
@click.option(
    "--host", default=LOOPBACK, show_default=True, help="Address to listen on; anyone who reaches it may ask."
)
@click.option("--http-port", type=int, default=8000, show_default=True, help="0 takes a free port.")
@click.option("--grpc-port", type=int, default=8001, show_default=True, help="0 takes a free port.")
@click.option("--metrics-port", type=int, default=8002, show_default=True, help="0 takes a free port.")
@click.option("--config", default=CPU_CONFIG, show_default=True, help="Which configuration of the models.")
@click.option("--cache-mb", type=click.IntRange(min=0), default=0, show_default=True, help="Cache of answers.")
@click.option("--ready-limit", type=float, default=READY_LIMIT_S, show_default=True, help="Seconds until READY.")
@click.option("--log", type=click.Path(path_type=Path), help="File for the server's log.")
@click.option("--docker", is_flag=True, help="Print the line that serves it in NVIDIA's container, and end.")
@environment_option
def serve(repository: Path, **choices: Any) -> None:
    """Serve REPOSITORY on this machine's CPU until interrupted; prints one address a line when READY."""
    if choices["docker"]:
        click.echo(container_command(repository))
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
        ready_limit_s=choices["ready_limit"],
        log_path=choices["log"],
    )
    signal.signal(signal.SIGTERM, _interrupt)
    with server:
        try:
            click.echo(f"grpc://{server.grpc}\nhttp://{server.http}\nhttp://{server.metrics}/metrics")
            click.echo(f"ready after {server.seconds_to_ready:.1f} s; Ctrl-C stops it", err=True)
            status = server.wait()
        except KeyboardInterrupt:
            click.echo("stopping", err=True)
            return
    raise click.ClickException(f"Triton ended by itself with status {status}")


@triton.command()
@click.argument("url")
@_shared.bundle_option
@click.option("--calls", type=click.IntRange(min=1), default=20, show_default=True, help="Windows to time.")
def check(url: str, bundle: Path, calls: int) -> None:
    """Replay the golden example of a bundle on the server at URL (grpc://HOST:PORT/MODEL), and time windows of it."""
    report, latencies = check_server(open_bundle(bundle), url, calls=calls)
    click.echo(f"golden example: {report}")
    _latency.show([("triton", "1 at once", latencies)])


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
