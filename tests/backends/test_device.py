"""Where a model runs, as text: what each form means, how it is written again, and what is refused."""

from __future__ import annotations

import pytest

from borzoi_rt.backends.device import ALLOWED, Device
from borzoi_rt.errors import InputError


@pytest.mark.parametrize(
    ("text", "device", "written"),
    [
        ("cpu", Device("cpu"), "cpu"),
        ("cpu:4", Device("cpu", threads=4), "cpu"),
        ("cuda", Device("cuda"), "cuda:0"),
        ("cuda:3", Device("cuda", 3), "cuda:3"),
        ("tensorrt", Device("tensorrt"), "tensorrt:0"),
        ("tensorrt:1", Device("tensorrt", 1), "tensorrt:1"),
        ("triton:grpc://h:1/m?flight=2", Device("triton", url="grpc://h:1/m?flight=2"), "triton:grpc://h:1/m?flight=2"),
        ("onnx:cpu", Device("cpu"), "cpu"),
        ("onnx:cuda", Device("cuda"), "cuda:0"),
        ("onnx:cuda:1", Device("cuda", 1), "cuda:1"),
        ("onnx:tensorrt:0", Device("tensorrt"), "tensorrt:0"),
    ],
)
def test_forms(text: str, device: Device, written: str) -> None:
    """``onnx:`` is how release 0.1 wrote it; the threads are no part of the written form, no score depends on them."""
    assert Device.parse(text) == device
    assert str(device) == written
    assert Device.parse(device) is device
    assert Device.parse(written).kind == device.kind
    assert device.gpu is (device.kind in ("cuda", "tensorrt"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "CPU",
        "cpu:",
        "cpu:x",
        "cpu:-1",
        "cpu:1:2",
        "cpu:٣",
        "cuda:",
        "cuda:0:1",
        "cuda:-1",
        "gpu",
        "rocm:0",
        "triton",
        "triton:",
        "onnx",
        "onnx:",
        "onnx:rocm",
        "torch:cpu",
        " cpu",
        "tritn:x",
    ],
)
def test_nonsense_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(InputError) as caught:
        Device.parse(text)
    assert str(caught.value) == f"device {text!r} is unknown; allowed: {ALLOWED}"


@pytest.mark.parametrize("threads", [0, -3])
def test_threads_are_positive(threads: int) -> None:
    with pytest.raises(InputError, match=f"threads is {threads}; a positive number"):
        Device.parse("cpu", threads=threads)
    with pytest.raises(InputError, match="threads is 0; a positive number"):
        Device.parse("cpu:0")


def test_threads_are_said_once() -> None:
    assert Device.parse("cpu", threads=2) == Device.parse("cpu:2") == Device.parse("cpu:2", threads=2)
    assert Device.parse("cuda:1", threads=2) == Device("cuda", 1, 2)
    with pytest.raises(InputError, match=r"device 'cpu:4' and threads 2 name two numbers of threads; leave one out"):
        Device.parse("cpu:4", threads=2)
    with pytest.raises(InputError, match="computes on a server; leave threads out"):
        Device.parse("triton:grpc://host:1/model", threads=2)


@pytest.mark.parametrize("threads", [0, -1, 513, 1.5, "2", True])
def test_threads_that_are_no_number_of_threads(threads: object) -> None:
    with pytest.raises(InputError, match=r"threads is .*; a (positive number up to 512|whole number) is needed"):
        Device.parse("cpu", threads=threads)  # type: ignore[arg-type]
