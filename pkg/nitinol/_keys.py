"""Takes a key such as ``x[2:, None, indices, mask]`` apart against the array it indexes."""

import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy

from nitinol import dtypes
from nitinol._arguments import broadcast_shape, broadcast_view, permuted
from nitinol._array import Array
from nitinol._interop import asarray, to_numpy
from nitinol._operations import layout, view

_FULL = slice(None)


_BASIC = frozenset({int, slice, type(None), type(Ellipsis)})


def is_basic(key: Any) -> bool:
    """Whether a key is made of Python integers, slices, ``...`` and None alone."""
    if type(key) is tuple:
        return _BASIC.issuperset(map(type, key))
    return type(key) in _BASIC


def _sliced(item: slice, size: int) -> tuple[int, int, int]:
    """Start, length and step of a slice of an axis.

    The start of an empty slice may lie outside of the axis, and a step that nobody takes may be
    beyond any integer of the device: they are 0 and 1 here.
    """
    start, stop, step = item.indices(size)
    length = len(range(start, stop, step))
    return start if length else 0, length, step if length > 1 else 1


def basic_view(x: Array, key: Any) -> Array:
    """``x[key]`` for a basic key: what `plan_of` finds, without what only updates need."""
    items = key if type(key) is tuple else (key,)
    shape, strides, offset = layout(x)
    rest = len(shape) - len(items) + items.count(None) + items.count(Ellipsis)
    if rest < 0 or items.count(Ellipsis) > 1:
        return plan_of(x, key).part  # it says what is wrong
    sizes: list[int] = []
    pace: list[int] = []
    axis = 0
    for item in items:
        if item is None:
            sizes.append(1)
            pace.append(0)
        elif item is Ellipsis:
            sizes += shape[axis : axis + rest]
            pace += strides[axis : axis + rest]
            axis += rest
        elif type(item) is slice:
            start, length, step = _sliced(item, shape[axis])
            offset += start * strides[axis]
            sizes.append(length)
            pace.append(strides[axis] * step)
            axis += 1
        else:
            offset += check_index(item, axis, shape[axis]) * strides[axis]
            axis += 1
    sizes += shape[axis:]
    pace += strides[axis:]
    return view(x, sizes, pace, offset)


class Plan(NamedTuple):
    """A key, taken apart against one array."""

    # The shape of x.
    shape: tuple[int, ...]
    # The basic part: a view, and how its region lies in x (start, step, length for each axis).
    part: Array
    starts: list[int]
    steps: list[int]
    lengths: list[int]
    # The integer arrays, broadcast together, the axes of `part` they index, and where their
    # dimensions go in the result.
    indices: tuple[Array, ...]
    axes: tuple[int, ...]
    position: int

    @property
    def whole(self) -> bool:
        """Whether the basic part is all of x as it is."""
        return self.part.shape == tuple(self.lengths) == self.shape and set(self.steps) <= {1}


def _index_array(item: Any) -> Array | numpy.ndarray | None:
    """The array that `item` means as an index; None when it is a basic index."""
    found: Array | numpy.ndarray
    if isinstance(item, Array):
        found = item
    elif isinstance(item, bool | numpy.bool_):
        return numpy.asarray(item)
    elif item is None or item is Ellipsis or isinstance(item, slice | int | numpy.integer):
        return None
    elif isinstance(item, numpy.ndarray | Sequence) and not isinstance(item, str):
        found = numpy.asarray(item)
        if found.size == 0 and not isinstance(item, numpy.ndarray):
            found = found.astype(numpy.int64)
        if found.ndim == 0 and found.dtype.kind in "iu":
            return None
    elif hasattr(item, "__index__"):
        return None
    else:
        raise IndexError(
            f"{item!r} is not an index; expected integers, slices, Ellipsis, None, integer arrays "
            f"or boolean masks."
        )
    kind = found.dtype.kind
    if kind not in "biu":
        raise IndexError(
            f"An array of {found.dtype} was given as an index; expected integers or bools."
        )
    return found


def _host(mask: Array | numpy.ndarray) -> numpy.ndarray:
    return to_numpy(mask) if isinstance(mask, Array) else mask


def check_index(index: int, axis: int, size: int) -> int:
    """`index` counted from the front, or an IndexError."""
    if not -size <= index < size:
        raise IndexError(f"Index {index} is out of range for axis {axis} with size {size}.")
    return index + size if index < 0 else index


def checked(found: Array | numpy.ndarray, axis: int, size: int) -> Array:
    """An integer index array; values that are known by now are checked now."""
    if isinstance(found, Array):
        return found
    if found.size:
        low, high = int(found.min()), int(found.max())
        check_index(low if low < -size else high, axis, size)
    return asarray(found.astype(numpy.int64), dtypes.int64)


def _expanded(x: Array, key: Any) -> tuple[list[Any], list[Any]]:
    """The key's items, ``...`` written out, and beside each the array it means or None."""
    items = list(key) if isinstance(key, tuple) else [key]
    arrays = [_index_array(item) for item in items]
    consumed = 0
    for item, found in zip(items, arrays, strict=True):
        if found is not None:
            consumed += found.ndim if found.dtype.kind == "b" else 1
        elif item is not None and item is not Ellipsis:
            consumed += 1
    if consumed > x.ndim:
        raise IndexError(
            f"{consumed} indices were given for an array of {x.ndim} dimensions; expected at most "
            f"{x.ndim}."
        )
    dots = [i for i, item in enumerate(items) if item is Ellipsis]
    if len(dots) > 1:
        raise IndexError("Two ellipses ('...') were given in one index; expected at most one.")
    where = dots[0] if dots else len(items)
    rest = x.ndim - consumed
    # The dots stay in place of an empty run too: they part arrays on their two sides.
    filling = [_FULL] * rest if rest or not dots else [Ellipsis]
    items[where : where + len(dots)] = filling
    arrays[where : where + len(dots)] = [None] * len(filling)
    return items, arrays


def plan_of(x: Array, key: Any) -> Plan:
    items, found = _expanded(x, key)
    shape, strides, offset = layout(x)
    sizes: list[int] = []
    pace: list[int] = []
    starts, steps, lengths = [0] * x.ndim, [1] * x.ndim, list(shape)
    indices: list[Array] = []
    indexed: list[int] = []
    advanced: list[int] = []  # the items that count as array indices, for where the result goes
    first = 0  # how many dimensions of the result come before the first of them
    several = any(each is not None for each in found)
    axis = 0

    def keep(size: int, stride: int) -> None:
        sizes.append(size)
        pace.append(stride)

    for number, (item, array) in enumerate(zip(items, found, strict=True)):
        if item is Ellipsis:
            continue
        if array is not None or (several and item is not None and not isinstance(item, slice)):
            if not advanced:
                first = len(sizes)
            advanced.append(number)
        if array is not None and array.dtype.kind == "b":
            parts = _mask_indices(array, shape, axis)
            if array.ndim == 0:
                indexed.append(len(sizes))
                keep(1, 0)
            for i in range(array.ndim):
                indexed.append(len(sizes))
                keep(shape[axis + i], strides[axis + i])
            indices.extend(asarray(part, dtypes.int64) for part in parts)
            axis += array.ndim
        elif array is not None:
            indices.append(checked(array, axis, shape[axis]))
            indexed.append(len(sizes))
            keep(shape[axis], strides[axis])
            axis += 1
        elif item is None:
            keep(1, 0)
        elif isinstance(item, slice):
            start, length, step = _sliced(item, shape[axis])
            offset += start * strides[axis]
            starts[axis], steps[axis], lengths[axis] = start, step, length
            keep(length, strides[axis] * step)
            axis += 1
        else:
            index = check_index(operator.index(item), axis, shape[axis])
            offset += index * strides[axis]
            starts[axis], lengths[axis] = index, 1
            axis += 1
    part = view(x, tuple(sizes), tuple(pace), offset)
    if indices:
        try:
            common = broadcast_shape(*(each.shape for each in indices))
        except ValueError as error:
            raise IndexError(f"The arrays of an index don't fit together. {error}") from None
        indices = [
            each if each.shape == common else broadcast_view(each, common) for each in indices
        ]
    together = not advanced or advanced[-1] - advanced[0] == len(advanced) - 1
    return Plan(
        shape=tuple(shape),
        part=part,
        starts=starts,
        steps=steps,
        lengths=lengths,
        indices=tuple(indices),
        axes=tuple(indexed),
        position=first if together else 0,
    )


def _mask_indices(
    mask: Array | numpy.ndarray, shape: tuple[int, ...], axis: int
) -> tuple[numpy.ndarray, ...]:
    for i, size in enumerate(mask.shape):
        if size != shape[axis + i]:
            raise IndexError(
                f"A mask has the size {size} on its axis {i}; expected {shape[axis + i]}, the size "
                f"of axis {axis + i} of the array."
            )
    values = _host(mask)
    if mask.ndim == 0:
        return (numpy.zeros(int(values), dtype=numpy.int64),)
    return numpy.nonzero(values)


def lined_up(plan: Plan) -> tuple[Array, tuple[int, ...]]:
    """The basic part with the indexed axes next to each other at the plan's position."""
    rest = [i for i in range(plan.part.ndim) if i not in plan.axes]
    order = (*rest[: plan.position], *plan.axes, *rest[plan.position :])
    if order == tuple(range(plan.part.ndim)):
        return plan.part, order
    return permuted(plan.part, order), order
