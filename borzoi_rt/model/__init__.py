"""A model as one object: ``open_model("BUNDLE", fasta="hg38.fa.gz").score("chr1:14677:G:A")``."""

from __future__ import annotations

import os
from contextlib import ExitStack

from ..backends.device import Device
from ..engine.sessions import EngineOptions
from ..errors import InputError
from ..genome.fasta import Fasta
from ..scoring.ensemble import Models, open_members
from .concepts import Concepts
from .coverage import Coverage
from .scores import Scores


class Model(Scores, Concepts, Coverage):
    """A bundle and a genome, loaded where it runs; made by :func:`open_model`. A context manager.

    Not to be shared between threads or over a fork.
    """


def open_model(
    bundle: Models,
    *,
    fasta: Fasta | str | os.PathLike[str] | None = None,
    device: str | Device = "cpu",
    threads: int | None = None,
    engine: EngineOptions | None = None,
) -> Model:
    """Open a model; what it needs is loaded when it is first used.

    Parameters
    ----------
    bundle : Bundle or path, or a sequence of these
        The model; a path is opened and verified. Several are the members of an ensemble, with the same tracks and
        window: their scores are averaged, see :mod:`borzoi_rt.scoring.ensemble`.
    fasta : Fasta or path, optional
        Indexed genome; needed for everything but ``predict`` of a sequence.
    device : str or Device
        ``cpu``, ``cpu:THREADS``, ``cuda:N``, ``tensorrt:N`` or ``triton:grpc://HOST:PORT/MODEL``.
    threads : int, optional
        CPU threads inside one operator; every core this process may use when None.
    engine : EngineOptions, optional
        Tiles kept between runs, checks against whole passes.

    Returns
    -------
    Model

    Examples
    --------
    >>> with open_model("BUNDLE", fasta="hg38.fa.gz") as model:  # doctest: +SKIP
    ...     print(model.score("chr1:14677:G:A", stats="logSED", tracks="spleen"))
    """
    where = Device.parse(device, threads=threads)
    members = open_members(bundle)
    if len(members) > 1 and where.kind == "triton":
        raise InputError(f"{where}: is one model; an ensemble runs on cpu, cuda or tensorrt")
    stack = ExitStack()
    genome = fasta if fasta is None or isinstance(fasta, Fasta) else stack.enter_context(Fasta(fasta))
    return Model(members, genome, where, engine, stack)
