"""Reads and functionally updates parts of arrays: ``x[key]``, ``x.at[key]``, take, slice_update.

A key may hold integers, slices, ``...``, None, integer arrays and boolean masks, with NumPy's
meaning. Integers known when the graph is built are checked at once; the values of an integer
Array are seen only by the device, where one out of range is an asynchronous DeviceIndexError. A
mask gives a shape that depends on its values, so it is evaluated and waited for.
"""

from collections.abc import Sequence
from typing import Any

import numpy

from nitinol import dtypes
from nitinol._arguments import (
    array_of,
    axis_of,
    broadcast_shape,
    broadcast_view,
    cast,
    integer_of,
    permuted,
    reshaped,
)
from nitinol._array import Array
from nitinol._interop import asarray, from_scalar
from nitinol._keys import Plan, basic_view, checked, is_basic, lined_up, plan_of
from nitinol._operations import apply, elementwise, layout, view
from nitinol.dtypes import can_cast, with_scalar

_MODES = {"set": 0, "add": 1, "multiply": 2, "min": 3, "max": 4}
_OPS = {"add": "add", "multiply": "multiply", "min": "minimum", "max": "maximum"}


def getitem(x: Array, key: Any) -> Array:
    """Give ``x[key]``: a view where the key is basic, or else a gather.

    Raises
    ------
    IndexError
        If an integer known by now is out of range, there are too many indices, or one is none.
    """
    if is_basic(key):
        return basic_view(x, key)
    plan = plan_of(x, key)
    if not plan.indices:
        return plan.part
    moved, _ = lined_up(plan)
    count, at = len(plan.indices), plan.position
    shape = (*moved.shape[:at], *plan.indices[0].shape, *moved.shape[at + count :])
    op = "take" if count == 1 else "gather"
    return apply(op, (moved, *plan.indices), shape, x.dtype, (at,))


def setitem(x: Array, key: Any, value: Any) -> Array:
    """Give `x` with `value` at `key`: what ``x[key] = value`` rebinds its handle to."""
    return _update(x, key, value, "set")


class At:
    """``x.at``: functional updates of parts of an array, such as ``x.at[2:4].set(0)``.

    The array itself never changes. Where nothing else refers to it any more, the result reuses its
    memory.
    """

    __slots__ = ("_array",)

    def __init__(self, array: Array):
        self._array = array

    def __getitem__(self, key: Any) -> "AtKey":
        return AtKey(self._array, key)

    def __repr__(self) -> str:
        return f"<at of an array of shape {self._array.shape}>"


class AtKey:
    """``x.at[key]``: what can be done at the part of an array that a key names.

    Values broadcast to the shape of ``x[key]``. An element that is named twice gets the last value
    of `set`, and both of the others.
    """

    __slots__ = ("_array", "_key")

    def __init__(self, array: Array, key: Any):
        self._array = array
        self._key = key

    def get(self) -> Array:
        """Give ``x[key]``."""
        return getitem(self._array, self._key)

    def set(self, value: Any) -> Array:
        """Give the array with `value` there, cast to its dtype."""
        return _update(self._array, self._key, value, "set")

    def add(self, value: Any) -> Array:
        """Give the array with `value` added there."""
        return _update(self._array, self._key, value, "add")

    def multiply(self, value: Any) -> Array:
        """Give the array multiplied by `value` there."""
        return _update(self._array, self._key, value, "multiply")

    def min(self, value: Any) -> Array:
        """Give the array with the smaller of itself and `value` there."""
        return _update(self._array, self._key, value, "min")

    def max(self, value: Any) -> Array:
        """Give the array with the greater of itself and `value` there."""
        return _update(self._array, self._key, value, "max")


def _value_for(x: Array, value: Any, mode: str) -> Array:
    """`value` as an array of the dtype of `x`."""
    if isinstance(value, Array) and value.dtype is x.dtype:
        return value
    if isinstance(value, bool | int | float | complex) and not isinstance(value, numpy.generic):
        fits = with_scalar(x.dtype, value) is x.dtype
        name = type(value).__name__
    else:
        value = array_of(value)
        fits = can_cast(value, x.dtype) or value.dtype.kind == x.dtype.kind
        name = value.dtype.name
    if not fits and mode != "set":
        raise TypeError(
            f"at[...].{mode} on a {x.dtype.name} array was given a {name}; expected what "
            f"{x.dtype.name} can hold."
        )
    if isinstance(value, Array):
        return cast(value, x.dtype)
    return cast(asarray(value), x.dtype) if not fits else asarray(value, x.dtype)


def _broadcast_value(value: Array, shape: tuple[int, ...]) -> Array:
    """`value` broadcast to the shape of a part; leading axes of size 1 may be too many."""
    extra = value.ndim - len(shape)
    if extra > 0 and value.shape[:extra] == (1,) * extra:
        value = reshaped(value, value.shape[extra:])
    fits = value.ndim <= len(shape) and all(
        size in (1, wanted)
        for size, wanted in zip(value.shape, shape[len(shape) - value.ndim :], strict=True)
    )
    if not fits:
        raise ValueError(
            f"A value of shape {value.shape} can't be broadcast to the indexed part, whose shape "
            f"is {shape}."
        )
    return broadcast_view(value, shape)


def _update(x: Array, key: Any, value: Any, mode: str) -> Array:
    new = _value_for(x, value, mode)
    is_mask = isinstance(key, Array) and key.dtype is dtypes.bool and key.ndim > 0
    if is_mask and new.ndim == 0 and key.shape == x.shape[: key.ndim]:
        # One value behind a mask of the array's shape needs no look at the mask.
        mask = reshaped(key, key.shape + (1,) * (x.ndim - key.ndim))
        changed = new if mode == "set" else elementwise(_OPS[mode], x, new)
        return elementwise("where", mask, changed, x)
    plan = plan_of(x, key)
    if not plan.indices:
        new = _broadcast_value(new, plan.part.shape)
        if mode != "set":
            new = elementwise(_OPS[mode], plan.part, new)
        return _write_back(x, plan, new)
    whole = plan.whole
    moved, order = lined_up(plan)
    count, at = len(plan.indices), plan.position
    shape = (*moved.shape[:at], *plan.indices[0].shape, *moved.shape[at + count :])
    new = _broadcast_value(new, shape)
    if whole and order == tuple(range(x.ndim)):
        moved = x  # the node itself, so that its memory can be reused
    inputs = (moved, new, *plan.indices)
    changed = apply("scatter", inputs, moved.shape, x.dtype, (at, _MODES[mode]))
    if order != tuple(range(len(order))):
        changed = permuted(changed, tuple(sorted(range(len(order)), key=order.__getitem__)))
    return changed if whole else _write_back(x, plan, changed)


def _write_back(x: Array, plan: Plan, new: Array) -> Array:
    """`x` with the region that the basic part of a plan shows replaced by `new`."""
    # The region has the rank of x: what the key took away comes back with size 1, and what it
    # added goes. Both have size 1, so the elements stay in order.
    region = reshaped(new, tuple(plan.lengths))
    shape, strides, offset = layout(region)
    paces = list(strides)
    numbers = []
    for axis, (start, step, length) in enumerate(
        zip(plan.starts, plan.steps, plan.lengths, strict=True)
    ):
        if step < 0 and length:
            # Written from the other end, in the direction of memory.
            offset += (length - 1) * paces[axis]
            paces[axis] = -paces[axis]
            start += (length - 1) * step
        numbers += [start, abs(step)]
    region = view(region, shape, tuple(paces), offset)
    return apply("strided_update", (x, region), x.shape, x.dtype, tuple(numbers))


def take(x: Array, indices: Any, /, axis: int | None = None) -> Array:
    """Take elements along an axis.

    Parameters
    ----------
    x : Array
    indices : Array, int or sequence of int
        Integers of any shape, which takes the place of the axis; negative ones count from the end.
    axis : int, optional
        By default `x` is flat.

    Raises
    ------
    IndexError
        If an index known by now is out of range; asynchronously a DeviceIndexError if an Array
        holds such a one.
    TypeError
        If the indices aren't integers.
    """
    x = array_of(x)
    if axis is None:
        x, axis = reshaped(x, (x.size,)), 0
    where = axis_of(axis, x.ndim)
    index = checked_integers("take", indices, where, x.shape[where])
    shape = (*x.shape[:where], *index.shape, *x.shape[where + 1 :])
    return apply("take", (x, index), shape, x.dtype, (where,))


def checked_integers(name: str, indices: Any, axis: int, size: int) -> Array:
    """The indices of a function as an integer array; those known by now are checked."""
    found = indices if isinstance(indices, Array) else numpy.asarray(indices)
    if found.size == 0 and isinstance(indices, Sequence):
        found = numpy.zeros(found.shape, numpy.int64)
    if found.dtype.kind not in "iu":
        raise TypeError(f"{name} takes integer indices; it was given {found.dtype}.")
    return checked(found, axis, size)


def take_along_axis(x: Array, indices: Any, /, axis: int = -1) -> Array:
    """Take an element of its own along an axis for each position of the other axes.

    Parameters
    ----------
    x : Array
    indices : Array
        Integers, of the rank of `x`; the axes other than `axis` broadcast with those of `x`.
    axis : int

    Raises
    ------
    ValueError
        If the ranks differ or the shapes don't broadcast.
    IndexError
        If an index known by now is out of range; asynchronously a DeviceIndexError otherwise.
    """
    x = array_of(x)
    where = axis_of(axis, x.ndim)
    index = checked_integers("take_along_axis", indices, where, x.shape[where])
    if index.ndim != x.ndim:
        raise ValueError(
            f"take_along_axis takes indices of the rank of the array, {x.ndim}; theirs is "
            f"{index.ndim}."
        )

    def without(shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape[:where], 1, *shape[where + 1 :])

    common = broadcast_shape(without(x.shape), without(index.shape))

    def spread(each: Array) -> Array:
        wanted = (*common[:where], each.shape[where], *common[where + 1 :])
        return each if each.shape == wanted else broadcast_view(each, wanted)

    x, index = spread(x), spread(index)
    return apply("take_along_axis", (x, index), index.shape, x.dtype, (where,))


def slice_update(x: Array, update: Any, start: Any, axis: int | Sequence[int] = 0) -> Array:
    """Replace a block of an array, from a start that the device may be told as late as it runs.

    Where nothing else refers to `x` any more its memory is reused, so that a key-value cache grows
    in place; elements outside of the block are then not touched.

    Parameters
    ----------
    x : Array
    update : Array
        Of the rank of `x`, not longer than it on `axis`, equal in size on other axes; cast to the
        dtype of `x`.
    start : int, 0-d integer Array, or sequence of these
        Where the block begins on each axis named. The value of an Array is clamped on the device,
        so that the block lies inside.
    axis : int or sequence of int

    Raises
    ------
    ValueError
        If the shapes don't fit, there aren't as many starts as axes, or an int `start` would have
        the block reach outside.
    TypeError
        If a start is no integer.
    """
    x = array_of(x)
    update = _value_for(x, update, "set")
    named = tuple(axis) if isinstance(axis, Sequence) else (axis,)
    axes = [axis_of(each, x.ndim) for each in named]
    starts = tuple(start) if isinstance(start, Sequence) else (start,)
    if len(starts) != len(axes) or len(set(axes)) != len(axes):
        raise ValueError(
            f"slice_update was given {len(starts)} starts for the axes {named}; expected one for "
            f"each axis, and each axis once."
        )
    fits = update.ndim == x.ndim and all(
        new <= size if i in axes else new == size
        for i, (size, new) in enumerate(zip(x.shape, update.shape, strict=True))
    )
    if not fits:
        raise ValueError(
            f"slice_update of an array of shape {x.shape} on axis {named} was given an update of "
            f"shape {update.shape}; expected at most that size there, and equal sizes elsewhere."
        )
    inputs = [
        _start(each, where, x.shape[where] - update.shape[where])
        for each, where in zip(starts, axes, strict=True)
    ]
    return apply("slice_update", (x, update, *inputs), x.shape, x.dtype, tuple(axes))


def _start(value: Any, axis: int, last: int) -> Array:
    if isinstance(value, Array):
        if value.ndim or value.dtype.kind not in "iu":
            raise TypeError(
                f"A start is a 0-d integer array; one of shape {value.shape} and dtype "
                f"{value.dtype.name} was given."
            )
        return cast(value, dtypes.int64)
    known = integer_of(value, "A start")
    if not 0 <= known <= last:
        raise ValueError(
            f"Start {known} on axis {axis} would have the update reach outside; expected 0 to "
            f"{last}."
        )
    return from_scalar(known, dtypes.int64)
