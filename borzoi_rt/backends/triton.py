"""Requests to a Triton server: the only door to tritonclient.

A connection holds deadlines, retries and the check that the server still serves the model that was asked for. What is
worth another try: nothing listening, a connection that broke, a queue that is full (UNAVAILABLE, HTTP 503), a model
whose process is being replaced. A request that is wrong is never sent twice.
"""

from __future__ import annotations

import logging
import random
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from ..errors import BackendError, FormatError, InputError, missing_package
from .address import HEADERS as HEADERS
from .address import Address
from .shared_memory import Regions

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
QUIET_S = 30.0  # before a failure that stays the same is logged again
MESSAGE_BYTES = 2**31 - 1
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_TYPES = {"float32": "FP32", "uint8": "UINT8", "int64": "INT64", "object": "BYTES", "float64": "FP64", "int32": "INT32"}


@dataclass(slots=True)
class Counters:
    """What a connection has done: requests answered, attempts repeated, seconds of waiting, bytes each way."""

    requests: int = 0
    retries: int = 0
    seconds: float = 0.0
    bytes_sent: int = 0
    bytes_received: int = 0


class ServerError(BackendError):
    """A server's refusal: ``again`` says whether another try may help."""

    def __init__(self, message: str, *, again: bool) -> None:
        super().__init__(message)
        self.again = again


class Connection:
    """A connection to a server; may be used by several threads.

    Parameters
    ----------
    address : Address
        The server; its model is not looked at.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self.counters = Counters()
        self._lock = threading.Lock()
        self._local = threading.local()
        self._clients: list[Any] = []
        self._regions: list[Regions] = []
        self._expected: dict[str, dict[str, str]] = {}
        self._shared = address.shared_memory
        self._closed = False
        self._said = ("", 0.0, 0)  # the last failure logged, when, and how often it came again
        self._module = _tritonclient("http" if address.scheme.startswith("http") else "grpc")

    def parameters(self, model: str) -> dict[str, str]:
        """Return the parameters in the configuration of a model.

        Raises
        ------
        InputError
            If the server does not have the model.
        BackendError
            If it cannot be reached.
        """
        found: dict[str, str] = self._persistently(lambda: self._parameters(model))
        return found

    def expect(self, model: str, bundle_sha256: str) -> dict[str, str]:
        """Make sure that a model was made of a bundle, now and with every request; return its parameters.

        A request names the model's version, which follows from its identity: a server that has come back with another
        model does not know it.

        Raises
        ------
        BackendError
            If it was made of another.
        """
        found = self.parameters(model)
        self._compare(model, found, bundle_sha256)
        self._expected[model] = found
        return found

    def infer(
        self,
        model: str,
        inputs: Mapping[str, np.ndarray],
        outputs: Mapping[str, tuple[int, ...] | None],
        *,
        timeout_s: float | None = None,
    ) -> dict[str, np.ndarray]:
        """Send one request and wait for the answer.

        Parameters
        ----------
        model : str
            Which model.
        inputs : mapping of str to ndarray
            Tensors; strings are object arrays of bytes.
        outputs : mapping of str to (tuple of int, optional)
            What is wanted back, with its shape where that is known: it is checked then.
        timeout_s : float, optional
            How long the request may wait in the server's queue; the server's own limit when None.

        Returns
        -------
        dict of str to ndarray

        Raises
        ------
        InputError
            If the server finds the request wrong.
        BackendError
            If the server cannot be reached, or gave up, for longer than the address allows.
        """
        started = time.monotonic()
        values = self._persistently(lambda: self._infer(model, inputs, outputs, timeout_s))
        for name, shape in outputs.items():
            if shape is not None and values[name].shape != shape:
                raise BackendError(f"{self.address}: {model} gave {name} of shape {values[name].shape}, not {shape}")
        with self._lock:
            self.counters.requests += 1
            self.counters.seconds += time.monotonic() - started
            self.counters.bytes_sent += sum(map(_size, inputs.values()))
            self.counters.bytes_received += sum(map(_size, values.values()))
        found: dict[str, np.ndarray] = values
        return found

    def close(self) -> None:
        """Close; shared memory is given back."""
        self._closed = True
        with self._lock:
            regions, self._regions = self._regions, []
            clients, self._clients = self._clients, []
        for held in regions:
            held.close()
        for client in clients:
            client.close()

    def _persistently(self, attempt: Callable[[], Any]) -> Any:
        """Try, and try again with growing pauses where that may help."""
        first: float | None = None
        pause = FIRST_PAUSE_S
        while True:
            if self._closed:
                raise BackendError(f"{self.address}: this connection is closed; open another")
            try:
                if first is not None:
                    self._renew()
                return attempt()
            except ServerError as error:
                now = time.monotonic()
                first = now if first is None else first
                left = first + self.address.retry_s - now
                if not error.again or left <= 0:
                    raise
                with self._lock:
                    self.counters.retries += 1
                self._say_once(str(error))
                # Drawn at random, so that clients that failed together do not come back together.
                time.sleep(min(left, pause * random.uniform(0.5, 1.0)))
                pause = min(2 * pause, LONGEST_PAUSE_S)

    def _say_once(self, text: str) -> None:
        """Log a failure, and the same one not again for a while: tries of several threads would fill a log."""
        now = time.monotonic()
        with self._lock:
            said, when, repeated = self._said
            if said == text and now - when < QUIET_S:
                self._said = (said, when, repeated + 1)
                return
            self._said = (text, now, 0)
        more = f" (and {repeated} more times since the last line)" if repeated and said == text else ""
        log.warning("%s%s; trying again for up to %g s", text, more, self.address.retry_s)

    def _renew(self) -> None:
        """After an interruption: another server may stand there, which knows no shared memory and other models."""
        for model in list(self._expected):
            self._check_again(model)
        held = getattr(self._local, "regions", None)
        if held is not None:
            held.close()

    def _check_again(self, model: str) -> None:
        wanted, found = self._expected[model], self._parameters(model)
        self._compare(model, found, wanted["bundle_sha256"])
        if found.get("identity") != wanted["identity"]:
            raise BackendError(f"{self.address}: {model} has changed its genome or its options; start again")

    def _compare(self, model: str, parameters: Mapping[str, str], wanted: str) -> None:
        found = parameters.get("bundle_sha256")
        if found is None or "identity" not in parameters:
            raise BackendError(f"{self.address}: {model} has no bundle; make it with `borzoi-rt triton repo`")
        if found != wanted:
            raise BackendError(
                f"{self.address}: {model} was made of the bundle {found[:16]}..., here it is {wanted[:16]}...; "
                "serve this bundle, or score with the one that is served"
            )

    def _parameters(self, model: str) -> dict[str, str]:
        client = self._client()
        config = self._guarded(
            lambda: client.get_model_config(model, headers=dict(self.address.headers), **self._patience())
        )
        if isinstance(config, dict):
            return {key: value["string_value"] for key, value in config.get("parameters", {}).items()}
        return {key: value.string_value for key, value in config.config.parameters.items()}

    def _infer(
        self,
        model: str,
        inputs: Mapping[str, np.ndarray],
        outputs: Mapping[str, tuple[int, ...] | None],
        timeout_s: float | None,
    ) -> dict[str, np.ndarray]:
        client, module = self._client(), self._module
        number = secrets.token_hex(8)  # stands in the server's log too
        options: dict[str, Any] = {"headers": dict(self.address.headers), "request_id": number, **self._patience()}
        if timeout_s is not None:
            options["timeout"] = round(timeout_s * 1e6)
        regions = self._thread_regions(client, inputs, outputs)
        sent = [_input(module, name, values) for name, values in inputs.items()]
        wanted = [module.InferRequestedOutput(name) for name in outputs]
        if regions is not None:
            self._guarded(lambda: regions.place(inputs, sent, outputs, wanted))
        else:
            for item, values in zip(sent, inputs.values(), strict=True):
                item.set_data_from_numpy(values)
        if model in self._expected:
            options["model_version"] = str(version_of(self._expected[model]["identity"]))
        try:
            result = self._guarded(lambda: client.infer(model, sent, outputs=wanted, **options))
        except InputError as error:
            if model in self._expected:
                self._check_again(model)  # which is the reason, if it is another model
            raise InputError(f"{error} (request {number})") from error
        except ServerError as error:
            if error.again:  # without the number, so that the same failure reads the same
                raise
            raise ServerError(f"{error} (request {number})", again=False) from error
        if regions is not None:
            return regions.read(outputs)
        answers = {name: result.as_numpy(name) for name in outputs}
        for name, values in answers.items():
            if values is None:
                raise BackendError(f"{self.address}: {model} gave no {name}")
        return answers

    def _thread_regions(
        self, client: Any, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, tuple[int, ...] | None]
    ) -> Regions | None:
        """Return the shared memory of this thread, where it is wanted and every size is known."""
        sizes_known = all(shape is not None for shape in outputs.values())
        plain = all(values.dtype != object for values in inputs.values())
        if not self._shared or not sizes_known or not plain:
            return None
        held: Regions | None = getattr(self._local, "regions", None)
        if held is None:
            held = self._local.regions = Regions(client, dict(self.address.headers))
            with self._lock:
                self._regions.append(held)
        try:
            self._guarded(lambda: held.reserve(inputs, outputs))
        except ServerError as error:
            if error.again:
                raise
            log.warning("%s: no shared memory (%s); tensors are sent", self.address, error)
            self._shared = False
            return None
        return held

    def _patience(self) -> dict[str, Any]:
        """An HTTP client has its time limits from its making."""
        return {} if self.address.scheme.startswith("http") else {"client_timeout": self.address.deadline_s}

    def _client(self) -> Any:
        """Return a client: gRPC's serves all threads, HTTP's the one that made it."""
        if self.address.scheme.startswith("http"):
            client = getattr(self._local, "client", None)
            if client is None:
                client = self._local.client = _http_client(self._module, self.address)
                with self._lock:
                    self._clients.append(client)
            return client
        with self._lock:
            if not self._clients:
                self._clients.append(_grpc_client(self._module, self.address))
            return self._clients[0]

    def _guarded(self, call: Callable[[], Any]) -> Any:
        """Turn what a client raises into an error of ours."""
        from tritonclient.utils import InferenceServerException

        try:
            return call()
        except InferenceServerException as error:
            raise self._judged(str(error.status()), " ".join(str(error.message()).split())[:500]) from error
        except TimeoutError as error:
            raise ServerError(f"{self.address}: no answer in {self.address.deadline_s:g} s", again=False) from error
        except OSError as error:
            raise ServerError(f"{self.address}: {error.strerror or error}", again=True) from error
        except Exception as error:  # geventhttpclient's exceptions share no base below Exception
            if not type(error).__module__.startswith("geventhttpclient"):
                raise
            raise ServerError(f"{self.address}: the connection broke ({error})", again=True) from error

    def _judged(self, status: str, message: str) -> Exception:
        text = f"{self.address}: {message}"
        kind = status.removeprefix("StatusCode.")
        if kind in ("INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "400", "404"):
            # A server that has come back knows no region; one that allows none says so at registration.
            if "memory region" in message:
                return ServerError(text, again="Unable to find" in message)
            return InputError(text)
        if kind == "DEADLINE_EXCEEDED":
            return ServerError(f"{self.address}: no answer in {self.address.deadline_s:g} s", again=False)
        again = kind in ("UNAVAILABLE", "503") or "is not healthy" in message
        # A protocol that asks for a header says UNAVAILABLE too.
        return ServerError(f"{text} ({kind})", again=again and "restricted" not in message)


def parse_model_config(text: str) -> Any:
    """Read a ``config.pbtxt`` with Triton's own schema.

    Raises
    ------
    FormatError
        If a field is unknown or the text malformed; the message names line and column.
    """
    _tritonclient("grpc")
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    try:
        return text_format.Parse(text, model_config_pb2.ModelConfig())
    except text_format.ParseError as error:
        raise FormatError(f"not a model configuration ({error})") from error


def version_of(identity: str) -> int:
    """Return the version under which a model is served: the first 12 digits of the hash that is its identity."""
    return int(identity[:12], 16) or 1


def _input(module: Any, name: str, values: np.ndarray) -> Any:
    kind = _TYPES.get(values.dtype.name)
    if kind is None:
        raise InputError(f"{name} is {values.dtype}; allowed: {', '.join(_TYPES)}")
    return module.InferInput(name, list(values.shape), kind)


def _size(values: np.ndarray) -> int:
    return sum(map(len, values.reshape(-1))) if values.dtype == object else values.nbytes


def _grpc_client(module: Any, address: Address) -> Any:
    # Naming any argument replaces tritonclient's own, among them the limits of a message.
    arguments = [("grpc.max_send_message_length", MESSAGE_BYTES), ("grpc.max_receive_message_length", MESSAGE_BYTES)]
    if address.host.rpartition(":")[0] in _LOOPBACK:
        arguments.append(("grpc.enable_http_proxy", 0))
    # After a lost connection gRPC would wait up to two minutes before it looks again.
    arguments += [("grpc.min_reconnect_backoff_ms", 100), ("grpc.initial_reconnect_backoff_ms", 100)]
    arguments += [("grpc.max_reconnect_backoff_ms", 2000)]
    return module.InferenceServerClient(
        address.host,
        ssl=address.scheme == "grpcs",
        root_certificates=address.ca or None,
        private_key=address.key or None,
        certificate_chain=address.cert or None,
        channel_args=arguments,
    )


def _http_client(module: Any, address: Address) -> Any:
    files = {"ca_certs": address.ca, "certfile": address.cert, "keyfile": address.key}
    return module.InferenceServerClient(
        address.host,
        connection_timeout=address.deadline_s,
        network_timeout=address.deadline_s,
        ssl=address.scheme == "https",
        ssl_options={name: value for name, value in files.items() if value} or None,
    )


def _tritonclient(kind: str) -> ModuleType:
    try:
        if kind == "http":
            import tritonclient.http as module
        else:
            import tritonclient.grpc as module
    except ImportError as error:
        raise missing_package(error, "tritonclient", "triton") from error
    client: ModuleType = module
    return client
