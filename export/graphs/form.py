"""In which form the graphs of a network are written: for a CPU, or for a GPU."""

from __future__ import annotations

from dataclasses import dataclass

from borzoi_rt.errors import InputError

CONVOLUTIONS = ("cook-toom", "direct")
GPU_CONVOLUTION = "conv"


@dataclass(frozen=True)
class Form:
    """How convolutions of the tower and attention are written.

    Parameters
    ----------
    target : str
        ``cpu``, where no activation is ever as long as a window, or ``gpu``, where all of it is computed at once.
    convolution : str
        One of ``CONVOLUTIONS``; for GPUs ``conv``, a ``Conv`` node.
    """

    target: str = "cpu"
    convolution: str = "cook-toom"


DEFAULT_FORM = Form()


def forms(target: str, precision: str, convolution: str | None = None) -> tuple[Form, ...]:
    """Return the forms to try, the preferred first.

    Raises
    ------
    InputError
        If the convolution does not go with target or precision.
    """
    if target == "gpu":
        if convolution not in (None, GPU_CONVOLUTION):
            raise InputError(f"{convolution} convolutions are for the target cpu, not gpu; leave convolution out")
        return (Form(target, GPU_CONVOLUTION),)
    if convolution == GPU_CONVOLUTION:
        raise InputError(f"{convolution} convolutions are for the target gpu, not cpu; leave convolution out")
    if precision == "fp32":
        return tuple(Form(target, name) for name in ([convolution] if convolution else CONVOLUTIONS))
    # The sums of a Cook-Toom product cancel; in half precision that costs a digit, on a GPU without any gain.
    if convolution == "cook-toom":
        raise InputError(f"cook-toom convolutions are for fp32, not {precision}; leave convolution out")
    return (Form(target, "direct"),)
