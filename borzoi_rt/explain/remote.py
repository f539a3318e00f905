"""Rows to a scorer on a server and what explains them back: kilobytes, the network stays there."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

import numpy as np

from ..backends.address import Address
from ..backends.device import Device
from ..backends.triton import Counters
from ..bundle.opening import Bundle
from ..engine.sessions import EngineOptions
from ..errors import InputError
from ..genome.fasta import Fasta
from ..scoring.remote import is_scorer, open_served
from .answer import Answer
from .explainer import Explainer, ExplainOptions, described
from .methods import METHODS
from .request import EXPLAIN, EXPLANATION, check_served, request_text
from .result import Explanation
from .rows import OK, Row
from .secants import check_secant
from .target import TargetSpec


class RemoteExplainer:
    """A scorer on a server that explains; takes the part of :class:`borzoi_rt.explain.explainer.Explainer`.

    Parameters
    ----------
    url : str or Address
        Where it is, like ``grpc://127.0.0.1:8001/borzoi_scorer``.
    bundle : Bundle
        The model that must be served, now and after every interruption.
    fasta : Fasta
        The genome that must be served.

    Raises
    ------
    InputError
        If the model is no scorer, or one of an earlier release, which does not explain.
    BackendError
        If the server cannot be reached, or serves another bundle or genome.
    """

    def __init__(self, url: str | Address, *, bundle: Bundle, fasta: Fasta) -> None:
        self.bundle, self.fasta = bundle, fasta
        self._connection, self._model, parameters = open_served(url, bundle=bundle, fasta=fasta)
        if EXPLAIN not in parameters:
            self._connection.close()
            raise InputError(f"{self._connection.address}: does not explain; make its repository again")
        self._served: list[str] = json.loads(parameters[EXPLAIN])["methods"]

    def explain(self, row: Row, spec: TargetSpec, options: ExplainOptions) -> Explanation:
        """Return what a method says of one row; arrays as float32 holds them.

        Raises
        ------
        InputError
            If the server does not have the method, or the target has no bin, track or value there.
        """
        found = self.answer(row, spec, options)
        if found.status != OK:
            raise InputError(found.detail)
        about = described(self.bundle, row, spec, options)
        return Explanation(row, found.codes, found.attribution(), METHODS[options.method].projected, about)

    def answer(self, row: Row, spec: TargetSpec, options: ExplainOptions) -> Answer:
        """Return the same to be kept: what is wrong with the row is its status."""
        self.prepare(options)
        request = request_text(row, spec, options, self.bundle).encode()
        inputs = {EXPLAIN: np.array([[request]], dtype=np.object_)}
        answer = self._connection.infer(self._model, inputs, {EXPLANATION: (1, 1)})
        return Answer.from_text(answer[EXPLANATION][0, 0].decode(), row.width)

    def prepare(self, options: ExplainOptions) -> None:
        """Refuse what the server does not have.

        Raises
        ------
        InputError
        """
        method = options.method
        check_served(method)
        if method not in self._served:
            raise InputError(
                f"{self._connection.address}: its bundle has no gradient graphs, which {method!r} needs; serve one "
                f"that was exported with its gradient, or choose one of {', '.join(self._served)}"
            )

    @property
    def counters(self) -> Counters:
        """What was sent and received so far."""
        return self._connection.counters

    @property
    def counts(self) -> Counter[str]:
        """Nothing: the server computes."""
        return Counter()

    @property
    def held_bytes(self) -> tuple[int, int]:
        """Nothing."""
        return 0, 0

    def forget(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def open_explainer(
    bundle: Bundle,
    fasta: Fasta,
    device: Device | None = None,
    engine: EngineOptions | None = None,
    *,
    methods: Sequence[str] = (),
) -> Explainer | RemoteExplainer:
    """Return what explains on a device: in this process, or a scorer on a server.

    Parameters and errors are those of :class:`borzoi_rt.explain.explainer.Explainer` and :class:`RemoteExplainer`;
    of ``methods`` one that cannot run there is refused before a server is asked.
    """
    if device is not None and any(METHODS[name].secant for name in methods):
        check_secant(device)
    if device is None or device.kind != "triton" or not is_scorer(device.url):
        return Explainer(bundle, fasta, device, engine)
    if engine not in (None, EngineOptions()):
        raise InputError(f"{device}: computes as its server was set up; leave out the options of the engine")
    return RemoteExplainer(device.url, bundle=bundle, fasta=fasta)
