"""In which form the graphs of a network are written: for a CPU, or for a GPU."""

from __future__ import annotations

from dataclasses import dataclass

from borzoi_rt.errors import InputError

CONVOLUTIONS = ("cook-toom", "direct")
GPU_CONVOLUTIONS = ("conv", "products")
GPU_ATTENTIONS = ("fused", "plain")
GPU_NORMS = ("affine", "batch")


@dataclass(frozen=True)
class Form:
    """How convolutions of the tower and attention are written.

    Parameters
    ----------
    target : str
        ``cpu``, where no activation is ever as long as a window, or ``gpu``, where all of it is computed at once.
    convolution : str
        One of ``CONVOLUTIONS`` or, for GPUs, of ``GPU_CONVOLUTIONS``: a ``Conv`` node, or products over all taps.
    attention : str
        Of GPUs: ``fused`` into one ``com.microsoft.MultiHeadAttention``, or ``plain`` products and a softmax.
    norm : str
        Of ``conv``: an ``affine`` product and sum, or one ``BatchNormalization``.
    """

    target: str = "cpu"
    convolution: str = "cook-toom"
    attention: str = "fused"
    norm: str = "affine"

    @property
    def channels_first(self) -> bool:
        """Whether the tower takes (batch, channels, length)."""
        return self.convolution == "conv"


DEFAULT_FORM = Form()


def forms(target: str, precision: str, convolution: str | None = None) -> tuple[Form, ...]:
    """Return the forms to try, the preferred first.

    Raises
    ------
    InputError
        If the convolution does not go with target or precision.
    """
    if target == "gpu":
        if convolution in CONVOLUTIONS:
            raise InputError(f"{convolution} convolutions are for the target cpu, not gpu; leave the form out")
        return (Form(target, convolution or GPU_CONVOLUTIONS[0]),)
    if convolution in GPU_CONVOLUTIONS:
        raise InputError(f"{convolution!r} convolutions are for the target gpu, not cpu; leave the form out")
    if precision == "fp32":
        return tuple(Form(target, name) for name in ([convolution] if convolution else CONVOLUTIONS))
    # The sums of a Cook-Toom product cancel; in half precision that costs a digit, on a GPU without any gain.
    if convolution == "cook-toom":
        raise InputError(f"cook-toom convolutions are for fp32, not {precision}; leave the form out")
    return (Form(target, "direct"),)
