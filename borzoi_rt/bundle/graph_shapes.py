"""How large the results of the operators of a graph can be, from the sizes of its inputs.

Sizes that a graph computes itself are followed only where they are constants or axes of a tensor (``Shape``), joined,
cut or cast; a size from arithmetic or from the values of an input is refused, but for the ends of a ``Slice``, which
takes no more than the whole axis.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, prod

from ..errors import FormatError
from .graph_sizes import ONE, Dims, Size, broadcast, fixed, product

BOOL, INT32, INT64 = 9, 6, 7
# ONNX element type -> bytes of one element.
ELEMENT_BYTES = {1: 4, 2: 1, 3: 1, INT32: 4, INT64: 8, BOOL: 1, 10: 2, 11: 8}

Attribute = int | str | tuple[int, ...]
Values = tuple[Size | int | float, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """An operator; attributes that are floats are left out, no size depends on them."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute]

    def number(self, name: str, default: int) -> int:
        """Return an attribute that is an integer."""
        value = self.attributes.get(name, default)
        if not isinstance(value, int):
            raise FormatError(f"attribute {name!r} of {self.kind} is no integer")
        return value

    def numbers(self, name: str) -> tuple[int, ...] | None:
        """Return an attribute that is a list of integers; None where there is none."""
        value = self.attributes.get(name)
        if value is not None and not isinstance(value, tuple):
            raise FormatError(f"attribute {name!r} of {self.kind} is no list of integers")
        return value


@dataclass(frozen=True, slots=True)
class Tensor:
    """What is known of a tensor.

    Attributes
    ----------
    dims : tuple of Size
        Upper bounds of its axes.
    kind : int
        ONNX element type.
    values : tuple, optional
        Its values in order: numbers of a constant, or sizes; None where they are not known.
    exact : bool
        Whether dims and values are known to be the very ones, not bounds of them.
    constant : bool
        Whether it depends on no input: a runtime computes it once and keeps it.
    """

    dims: Dims
    kind: int
    values: Values | None = None
    exact: bool = False
    constant: bool = False

    @property
    def elements(self) -> Size:
        """Number of elements."""
        return product(self.dims)


# What is exact where its inputs are.
_EXACT = frozenset({"Cast", "Concat", "Gather", "Identity", "Shape", "Squeeze", "Unsqueeze"})

Inputs = Sequence[Tensor | None]
_Rule = Callable[[Node, Inputs], Sequence[Tensor]]


def results(node: Node, inputs: Inputs) -> list[Tensor]:
    """Return what an operator makes of some inputs (None: left out), one tensor for each output.

    Raises
    ------
    FormatError
        If a size depends on what is not known, or the operator lacks an input.
    """
    try:
        made = list(RULES[node.kind](node, inputs))
    except FormatError:
        raise
    except (IndexError, ValueError, TypeError, ZeroDivisionError, OverflowError):
        raise FormatError(f"{node.kind} has inputs or attributes that do not fit each other") from None
    constant = all(item is None or item.constant for item in inputs)
    exact = node.kind in _EXACT and all(item is None or item.exact for item in inputs)
    made += made[:1] * (len(node.outputs) - len(made))
    return [
        Tensor(item.dims, item.kind, item.values, exact=exact, constant=constant) for item in made[: len(node.outputs)]
    ]


def operations(node: Node, inputs: Inputs, made: Sequence[Tensor]) -> list[Size]:
    """Return how many multiplications or the like an operator takes, as parts of a sum."""
    count = [item.elements for item in (*made, *inputs) if item is not None]
    if node.kind == "MatMul":
        count.append(made[0].elements * _given(node, inputs, 0).dims[-1])
    elif node.kind == "Conv":
        count.append(made[0].elements * product(_given(node, inputs, 1).dims[1:]))
    elif node.kind in ("MaxPool", "AveragePool"):
        count.append(made[0].elements * Size(prod(node.numbers("kernel_shape") or ())))
    return count


def _given(node: Node, inputs: Inputs, number: int) -> Tensor:
    found = _maybe(inputs, number)
    if found is None:
        raise FormatError(f"{node.kind} lacks input {number}")
    return found


def _maybe(inputs: Inputs, number: int) -> Tensor | None:
    return inputs[number] if number < len(inputs) else None


def _every(node: Node, inputs: Inputs) -> list[Tensor]:
    return [_given(node, inputs, number) for number in range(len(inputs))]


def _sizes(node: Node, inputs: Inputs, number: int) -> Dims:
    """Return an input that holds sizes; -1 and 0 are left as they are."""
    values = _given(node, inputs, number).values
    if values is None:
        raise FormatError(f"the sizes of {node.kind} are computed; constants or axes of tensors are needed")
    return tuple(value if isinstance(value, Size) else Size(ceil(value)) for value in values)


def _numbers(node: Node, inputs: Inputs, number: int, what: str) -> tuple[int, ...]:
    """Return an input that holds constant integers."""
    found = _given(node, inputs, number)
    if found.values is None or not all(isinstance(value, int) for value in found.values):
        raise FormatError(f"the {what} of {node.kind} are computed; constants are needed")
    return tuple(int(value) for value in found.values)  # type: ignore[arg-type]


def _axes(node: Node, inputs: Inputs, number: int, rank: int) -> tuple[int, ...] | None:
    """Return axes, an attribute or an input; None where there are none."""
    axes = node.numbers("axes")
    if axes is None and _maybe(inputs, number) is not None:
        axes = _numbers(node, inputs, number, "axes")
    return None if axes is None else tuple(_axis(axis, rank) for axis in axes)


def _axis(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise IndexError(axis)
    return axis % rank


def _elementwise(node: Node, inputs: Inputs) -> list[Tensor]:
    held = _every(node, inputs)
    return [Tensor(broadcast([item.dims for item in held]), held[0].kind)]


def _compared(node: Node, inputs: Inputs) -> list[Tensor]:
    return [Tensor(_elementwise(node, inputs)[0].dims, BOOL)]


def _where(node: Node, inputs: Inputs) -> list[Tensor]:
    return [Tensor(_elementwise(node, inputs)[0].dims, _given(node, inputs, 1).kind)]


def _like_first(node: Node, inputs: Inputs) -> list[Tensor]:
    first = _given(node, inputs, 0)
    return [Tensor(first.dims, first.kind)]


def _identity(node: Node, inputs: Inputs) -> list[Tensor]:
    return [_given(node, inputs, 0)]


def _cast(node: Node, inputs: Inputs) -> list[Tensor]:
    first, kind = _given(node, inputs, 0), node.number("to", 0)
    if kind not in ELEMENT_BYTES:
        raise FormatError(f"Cast to ONNX type {kind} is not allowed")
    return [Tensor(first.dims, kind, first.values if {kind, first.kind} <= {INT32, INT64} else None)]


def _shape(node: Node, inputs: Inputs) -> list[Tensor]:
    dims = _given(node, inputs, 0).dims
    held = dims[node.number("start", 0) : node.number("end", len(dims))]
    return [Tensor(fixed([len(held)]), INT64, held)]


def _concat(node: Node, inputs: Inputs) -> list[Tensor]:
    held = _every(node, inputs)
    rank = len(held[0].dims)
    if any(len(item.dims) != rank for item in held):
        raise ValueError(rank)
    axis = _axis(node.number("axis", 0), rank)
    dims = list(broadcast([item.dims for item in held]))
    dims[axis] = held[0].dims[axis]
    for item in held[1:]:
        dims[axis] += item.dims[axis]
    values: Values | None = () if rank == 1 else None
    for item in held:
        values = None if values is None or item.values is None else values + item.values
    return [Tensor(tuple(dims), held[0].kind, values)]


def _gather(node: Node, inputs: Inputs) -> list[Tensor]:
    data, index = _given(node, inputs, 0), _given(node, inputs, 1)
    axis = _axis(node.number("axis", 0), len(data.dims))
    dims = (*data.dims[:axis], *index.dims, *data.dims[axis + 1 :])
    values = None
    if data.values is not None and index.values is not None and len(data.dims) == 1:
        values = tuple(data.values[position] for position in _numbers(node, inputs, 1, "positions"))
    return [Tensor(dims, data.kind, values)]


def _gather_elements(node: Node, inputs: Inputs) -> list[Tensor]:
    return [Tensor(_given(node, inputs, 1).dims, _given(node, inputs, 0).kind)]


def _slice(node: Node, inputs: Inputs) -> list[Tensor]:
    data, starts, ends = (_given(node, inputs, number) for number in range(3))
    steps = () if _maybe(inputs, 4) is None else _numbers(node, inputs, 4, "steps")
    known = starts.constant and ends.constant and starts.values is not None and all(step == 1 for step in steps)
    axes = _axes(node, inputs, 3, len(data.dims)) or tuple(range(len(data.dims)))[: starts.elements.factor]
    dims, values = list(data.dims), None
    if known:
        first, last = _numbers(node, inputs, 1, "starts"), _numbers(node, inputs, 2, "ends")
        for axis, start, end in zip(axes, first, last, strict=True):
            dims[axis] = _cut(start, end, dims[axis])
        if data.values is not None and len(data.dims) == 1:
            values = data.values[first[0] : last[0]]
    else:
        for axis, step in zip(axes, steps, strict=False):
            dims[axis] = _stepped(dims[axis], step)
    return [Tensor(tuple(dims), data.kind, values)]


def _cut(start: int, end: int, size: Size) -> Size:
    """Return the most that ``[start, end)`` takes of an axis."""
    if not size.symbols:
        return Size(len(range(size.factor)[start:end])) if start >= 0 else size
    # The difference does not grow with the axis and is no bound where the axis is long: the axis is.
    return size


def _stepped(size: Size, step: int) -> Size:
    return Size(-(-size.factor // abs(step)), size.symbols)


def _pad(node: Node, inputs: Inputs) -> list[Tensor]:
    data, pads = _given(node, inputs, 0), _numbers(node, inputs, 1, "pads")
    axes = _axes(node, inputs, 3, len(data.dims)) or tuple(range(len(data.dims)))
    if len(pads) != 2 * len(axes):
        raise ValueError(pads)
    dims = list(data.dims)
    for number, axis in enumerate(axes):
        before, after = pads[number], pads[number + len(axes)]
        dims[axis] = Size(dims[axis].factor + max(0, before) + max(0, after), dims[axis].symbols)
    return [Tensor(tuple(dims), data.kind)]


def _expand(node: Node, inputs: Inputs) -> list[Tensor]:
    data = _given(node, inputs, 0)
    return [Tensor(broadcast([data.dims, _sizes(node, inputs, 1)]), data.kind)]


def _reshape(node: Node, inputs: Inputs) -> list[Tensor]:
    data, wanted = _given(node, inputs, 0), _sizes(node, inputs, 1)
    dims = [data.dims[axis] if size.factor == 0 else size for axis, size in enumerate(wanted)]
    rest = [axis for axis, size in enumerate(dims) if size.factor == -1]
    if any(size.factor < -1 for size in dims) or len(rest) > 1:
        raise ValueError(rest)
    if rest:
        # Where the others are bounds alone, they may be 1, and this one all there is.
        sure = _given(node, inputs, 1).exact
        others = product(size for axis, size in enumerate(dims) if axis not in rest) if sure else ONE
        dims[rest[0]] = data.elements.over(others)
    return [Tensor(tuple(dims), data.kind, data.values if len(dims) == 1 else None)]


def _resize(node: Node, inputs: Inputs) -> list[Tensor]:
    data = _given(node, inputs, 0)
    if node.numbers("axes") is not None:
        raise FormatError("Resize has axes, which no graph of a bundle needs")
    if _maybe(inputs, 3) is not None:
        return [Tensor(_sizes(node, inputs, 3), data.kind)]
    scales = _given(node, inputs, 2).values
    if scales is None or not all(isinstance(scale, float) and 0 < scale < 2**24 for scale in scales):
        raise FormatError("the scales of Resize are computed, or none; constants are needed")
    pairs = zip(data.dims, scales, strict=True)
    dims = tuple(Size(ceil(size.factor * scale), size.symbols) for size, scale in pairs)  # type: ignore[operator]
    return [Tensor(dims, data.kind)]


def _transpose(node: Node, inputs: Inputs) -> list[Tensor]:
    data = _given(node, inputs, 0)
    order = node.numbers("perm") or tuple(reversed(range(len(data.dims))))
    if sorted(order) != list(range(len(data.dims))):
        raise ValueError(order)
    return [Tensor(tuple(data.dims[axis] for axis in order), data.kind)]


def _unsqueeze(node: Node, inputs: Inputs) -> list[Tensor]:
    data = _given(node, inputs, 0)
    given = node.numbers("axes") or _numbers(node, inputs, 1, "axes")
    rank = len(data.dims) + len(given)
    axes, held = {_axis(axis, rank) for axis in given}, iter(data.dims)
    if len(axes) != len(given):
        raise ValueError(given)
    dims = tuple(ONE if axis in axes else next(held) for axis in range(rank))
    return [Tensor(dims, data.kind, data.values if rank == 1 else None)]


def _squeeze(node: Node, inputs: Inputs) -> list[Tensor]:
    data = _given(node, inputs, 0)
    axes = _axes(node, inputs, 1, len(data.dims))
    if axes is None:
        raise FormatError("Squeeze has no axes")
    dims = tuple(size for axis, size in enumerate(data.dims) if axis not in axes)
    return [Tensor(dims, data.kind, data.values)]


def _split(node: Node, inputs: Inputs) -> list[Tensor]:
    data, count = _given(node, inputs, 0), len(node.outputs)
    axis = _axis(node.number("axis", 0), len(data.dims))
    if _maybe(inputs, 1) is not None:
        parts = fixed(_numbers(node, inputs, 1, "parts"))
    else:
        parts = (_stepped(data.dims[axis], count),) * count
    if len(parts) != count or min(part.factor for part in parts) < 0:
        raise ValueError(parts)
    return [Tensor((*data.dims[:axis], part, *data.dims[axis + 1 :]), data.kind) for part in parts]


def _reduce(node: Node, inputs: Inputs) -> list[Tensor]:
    data = _given(node, inputs, 0)
    axes = _axes(node, inputs, 1, len(data.dims))
    if not axes:
        axes = () if node.number("noop_with_empty_axes", 0) else tuple(range(len(data.dims)))
    return [Tensor(_reduced(data.dims, axes, node.number("keepdims", 1)), data.kind)]


def _arg_max(node: Node, inputs: Inputs) -> list[Tensor]:
    dims = _given(node, inputs, 0).dims
    axis = _axis(node.number("axis", 0), len(dims))
    return [Tensor(_reduced(dims, (axis,), node.number("keepdims", 1)), INT64)]


def _reduced(dims: Dims, axes: Sequence[int], kept: int) -> Dims:
    return tuple(ONE if axis in axes else size for axis, size in enumerate(dims) if kept or axis not in axes)


def _matmul(node: Node, inputs: Inputs) -> list[Tensor]:
    left, right = _given(node, inputs, 0), _given(node, inputs, 1)
    if not (left.dims and right.dims):
        raise ValueError(left.dims)
    columns = right.dims[-1:] if len(right.dims) > 1 else ()
    return [Tensor((*broadcast([left.dims[:-2], right.dims[:-2]]), *left.dims[-2:-1], *columns), left.kind)]


def _conv(node: Node, inputs: Inputs) -> list[Tensor]:
    data, weight = _given(node, inputs, 0), _given(node, inputs, 1)
    kernel = tuple(size.factor for size in weight.dims[2:])
    return [Tensor((data.dims[0], weight.dims[0], *_windows(node, data.dims[2:], kernel)), data.kind)]


def _pool(node: Node, inputs: Inputs) -> list[Tensor]:
    data, kernel = _given(node, inputs, 0), node.numbers("kernel_shape") or ()
    return [Tensor((*data.dims[:2], *_windows(node, data.dims[2:], kernel)), data.kind)]


def _windows(node: Node, sizes: Dims, kernel: tuple[int, ...]) -> Dims:
    """Return how often a kernel fits along each axis."""
    rank = len(sizes)
    if node.attributes.get("auto_pad", "NOTSET") != "NOTSET":
        raise FormatError(f"{node.kind} has auto_pad, which no graph of a bundle needs")
    pads = node.numbers("pads") or (0,) * (2 * rank)
    strides, dilations = node.numbers("strides") or (1,) * rank, node.numbers("dilations") or (1,) * rank
    if not (len(kernel) == len(strides) == len(dilations) == rank == len(pads) / 2):
        raise ValueError(rank)
    if min(*strides, *dilations, *kernel) < 1 or min(pads) < 0:
        raise ValueError(strides)
    dims = []
    for axis, size in enumerate(sizes):
        # Of an axis whose length is open nothing is taken off.
        lost = 0 if size.symbols else dilations[axis] * (kernel[axis] - 1) + 1
        room = size.factor + pads[axis] + pads[axis + rank] - lost
        dims.append(Size(max(0, -(-room // strides[axis]) + 1), size.symbols))
    return tuple(dims)


def _rules(rule: _Rule, names: str) -> dict[str, _Rule]:
    return dict.fromkeys(names.split(), rule)


# Every operator that a graph may hold, and how large its results are: a new one is allowed by a line here.
RULES: Mapping[str, _Rule] = {
    **_rules(_elementwise, "Add Div Max Min Mul Pow Sub"),
    **_rules(_compared, "Equal Greater Less"),
    **_rules(_where, "Where"),
    **_rules(
        _like_first,
        "Abs BatchNormalization Erf Exp Gelu LayerNormalization Log Neg Reciprocal Relu Sigmoid Softmax Softplus Sqrt "
        "Tanh",
    ),
    **_rules(_identity, "Identity"),
    **_rules(_cast, "Cast"),
    **_rules(_shape, "Shape"),
    **_rules(_concat, "Concat"),
    **_rules(_gather, "Gather"),
    **_rules(_gather_elements, "GatherElements"),
    **_rules(_slice, "Slice"),
    **_rules(_pad, "Pad"),
    **_rules(_expand, "Expand"),
    **_rules(_reshape, "Reshape"),
    **_rules(_resize, "Resize"),
    **_rules(_transpose, "Transpose"),
    **_rules(_unsqueeze, "Unsqueeze"),
    **_rules(_squeeze, "Squeeze"),
    **_rules(_split, "Split"),
    **_rules(_reduce, "ReduceMax ReduceMean ReduceMin ReduceSum"),
    **_rules(_arg_max, "ArgMax"),
    **_rules(_matmul, "MatMul"),
    **_rules(_conv, "Conv"),
    **_rules(_pool, "AveragePool MaxPool"),
}
OPERATORS = frozenset(RULES)
