"""Rearranges arrays: shapes, axes, order, joining and repeating.

What only changes the shape, the order of axes or the direction is a view: free and without a copy.
"""

from collections.abc import Sequence
from typing import Any

import numpy

from nitinol import dtypes
from nitinol._arguments import (
    array_of,
    axes_of,
    axis_of,
    broadcast_shape,
    broadcast_view,
    cast,
    fresh,
    integer_of,
    permuted,
    promoted,
    reshaped,
    shape_of,
    size_of,
)
from nitinol._array import Array
from nitinol._interop import asarray, to_numpy
from nitinol._operations import apply, layout, view
from nitinol.dtypes import as_dtype


def astype(x: Array, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Array:
    """Convert an array to another dtype.

    Parameters
    ----------
    x : Array
    dtype : dtype
    copy : bool
        Whether the result is another array where `x` has the dtype already; False gives `x` itself.
    device : Device, optional

    Raises
    ------
    TypeError
        If a complex array would become a real one.
    """
    x = array_of(x)
    # What is cast on its own device need not be held by the other.
    result = cast(x, as_dtype(dtype))
    if device is not None:
        result = result.to_device(device)
    return fresh(x) if copy and result is x else result


def reshape(x: Array, /, shape: int | tuple[int, ...], *, copy: bool | None = None) -> Array:
    """Give the elements of `x`, in row-major order, another shape.

    Parameters
    ----------
    x : Array
    shape : int or tuple of int
        One size may be -1: what the others leave.
    copy : bool, optional
        True copies always, None where the layout demands it, False never.

    Raises
    ------
    ValueError
        If the sizes don't match, or `copy` is False and the layout demands a copy.
    """
    x = array_of(x)
    sizes = shape if isinstance(shape, Sequence) else (shape,)
    wanted = [integer_of(size, "A size of a shape") for size in sizes]
    if wanted.count(-1) == 1:
        known = size_of([size for size in wanted if size != -1])
        if known > 0 and x.size % known == 0:
            wanted[wanted.index(-1)] = x.size // known
    if any(size < 0 for size in wanted) or size_of(wanted) != x.size:
        raise ValueError(
            f"An array of shape {x.shape} can't be reshaped to {tuple(sizes)}: it has {x.size} "
            f"elements."
        )
    return reshaped(x, tuple(wanted), copy)


def permute_dims(x: Array, /, axes: Sequence[int]) -> Array:
    """Reorder the axes: axis i of the result is axis ``axes[i]`` of `x`.

    Raises
    ------
    ValueError
        If `axes` doesn't name each axis once.
    """
    x = array_of(x)
    order = axes_of(tuple(axes), x.ndim)
    if len(order) != x.ndim:
        raise ValueError(
            f"Axes {tuple(axes)} were given for an array of {x.ndim} dimensions; expected each "
            f"axis once."
        )
    return permuted(x, order)


def transpose(x: Array, /, axes: Sequence[int] | None = None) -> Array:
    """Reorder the axes as `permute_dims` does; without `axes`, reverse them."""
    x = array_of(x)
    return permute_dims(x, range(x.ndim - 1, -1, -1) if axes is None else axes)


def matrix_transpose(x: Array, /) -> Array:
    """Swap the last two axes.

    Raises
    ------
    ValueError
        If `x` has less than 2 dimensions.
    """
    x = array_of(x)
    if x.ndim < 2:
        raise ValueError(
            f"matrix_transpose takes an array of at least 2 dimensions; its shape is {x.shape}."
        )
    return permuted(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


def swapaxes(x: Array, axis1: int, axis2: int, /) -> Array:
    """Swap two axes."""
    x = array_of(x)
    a, b = axis_of(axis1, x.ndim), axis_of(axis2, x.ndim)
    order = list(range(x.ndim))
    order[a], order[b] = b, a
    return permuted(x, order)


def moveaxis(
    x: Array, source: int | tuple[int, ...], destination: int | tuple[int, ...], /
) -> Array:
    """Move axes to other places; the rest keep their order.

    Parameters
    ----------
    x : Array
    source, destination : int or tuple of int
        Where the axes are and where they go, one for one.

    Raises
    ------
    ValueError
        If there are not as many sources as destinations, or an axis is named twice.
    """
    x = array_of(x)
    sources, targets = axes_of(source, x.ndim), axes_of(destination, x.ndim)
    if len(sources) != len(targets):
        raise ValueError(
            f"moveaxis was given {len(sources)} source axes and {len(targets)} destinations; "
            f"expected as many."
        )
    order = [axis for axis in range(x.ndim) if axis not in sources]
    for target, origin in sorted(zip(targets, sources, strict=True)):
        order.insert(target, origin)
    return permuted(x, order)


def expand_dims(x: Array, /, axis: int | tuple[int, ...] = 0) -> Array:
    """Insert axes of size 1.

    Parameters
    ----------
    x : Array
    axis : int or tuple of int
        Where the new axes are in the result.
    """
    x = array_of(x)
    count = len(axis) if isinstance(axis, Sequence) else 1
    new = axes_of(axis, x.ndim + count)
    shape, strides, offset = layout(x)
    sizes, steps = list(shape), list(strides)
    for each in sorted(new):
        sizes.insert(each, 1)
        steps.insert(each, 0)
    return view(x, tuple(sizes), tuple(steps), offset)


def squeeze(x: Array, /, axis: int | tuple[int, ...] | None = None) -> Array:
    """Remove axes of size 1.

    Parameters
    ----------
    x : Array
    axis : int or tuple of int, optional
        Which ones; by default all of size 1.

    Raises
    ------
    ValueError
        If such an axis has another size.
    """
    x = array_of(x)
    if axis is None:
        gone = tuple(i for i, size in enumerate(x.shape) if size == 1)
    else:
        gone = axes_of(axis, x.ndim)
    for each in gone:
        if x.shape[each] != 1:
            raise ValueError(
                f"Axis {each} of an array of shape {x.shape} can't be squeezed: its size is "
                f"{x.shape[each]}, expected 1."
            )
    shape, strides, offset = layout(x)
    kept = [i for i in range(x.ndim) if i not in gone]
    return view(x, tuple(shape[i] for i in kept), tuple(strides[i] for i in kept), offset)


def flip(x: Array, /, axis: int | tuple[int, ...] | None = None) -> Array:
    """Reverse the order of elements along the given axes, all of them by default."""
    x = array_of(x)
    shape, strides, offset = layout(x)
    steps = list(strides)
    for each in axes_of(axis, x.ndim):
        if shape[each]:
            offset += (shape[each] - 1) * steps[each]
            steps[each] = -steps[each]
    return view(x, shape, tuple(steps), offset)


def roll(
    x: Array, /, shift: int | tuple[int, ...], *, axis: int | tuple[int, ...] | None = None
) -> Array:
    """Shift elements along axes; those that leave at one end come back at the other.

    Parameters
    ----------
    x : Array
    shift : int or tuple of int
        How far, one for each axis, or one for all.
    axis : int or tuple of int, optional
        By default the array is rolled as if it were flat.

    Raises
    ------
    ValueError
        If there are neither one nor as many shifts as axes.
    """
    x = array_of(x)
    if axis is None:
        return reshaped(roll(reshaped(x, (x.size,)), shift, axis=0), x.shape)
    # The same axis may be named again: its shifts add up.
    named = axis if isinstance(axis, Sequence) else (axis,)
    axes = [axis_of(each, x.ndim) for each in named]
    given = shift if isinstance(shift, Sequence) else (shift,)
    shifts = [integer_of(each, "A shift") for each in given]
    if len(shifts) == 1:
        shifts = shifts * len(axes)
    elif len(axes) == 1:
        axes = axes * len(shifts)
    if len(shifts) != len(axes):
        raise ValueError(
            f"roll was given {len(shifts)} shifts for {len(axes)} axes; expected one or as many."
        )
    result = fresh(x)
    for each in sorted(set(axes)):
        size = x.shape[each]
        by = sum(s for s, a in zip(shifts, axes, strict=True) if a == each) % size if size else 0
        if by:
            parts = (_part(result, each, size - by, size), _part(result, each, 0, size - by))
            result = apply("concatenate", parts, x.shape, x.dtype, (each,))
    return result


def _part(x: Array, axis: int, start: int, stop: int) -> Array:
    """The view ``x[start:stop]`` along one axis."""
    shape, strides, offset = layout(x)
    sizes = list(shape)
    sizes[axis] = stop - start
    return view(x, tuple(sizes), strides, offset + start * strides[axis])


def broadcast_to(x: Array, /, shape: int | tuple[int, ...]) -> Array:
    """Repeat `x` along new axes and axes of size 1 until it has `shape`, without a copy.

    Raises
    ------
    ValueError
        If `x` doesn't broadcast to `shape`.
    """
    x = array_of(x)
    wanted = shape_of(shape)
    lead = len(wanted) - x.ndim
    fits = lead >= 0 and all(
        size in (1, other) for size, other in zip(x.shape, wanted[lead:], strict=True)
    )
    if not fits:
        raise ValueError(
            f"An array of shape {x.shape} can't be broadcast to {wanted}; expected sizes that are "
            f"equal or 1, counted from the last axis."
        )
    return broadcast_view(x, wanted)


def broadcast_shapes(*shapes: int | tuple[int, ...]) -> tuple[int, ...]:
    """Give the shape that arrays of these shapes broadcast to."""
    return broadcast_shape(*map(shape_of, shapes))


def broadcast_arrays(*arrays: Array) -> tuple[Array, ...]:
    """Broadcast arrays to the shape they have in common."""
    known = [array_of(each) for each in arrays]
    shape = broadcast_shape(*(each.shape for each in known))
    return tuple(broadcast_view(each, shape) for each in known)


def concat(arrays: Sequence[Array], /, axis: int | None = 0) -> Array:
    """Join arrays along an axis that they have.

    Parameters
    ----------
    arrays : sequence of Array
        Of equal shapes, but for the size of `axis`; their dtypes promote.
    axis : int, optional
        None joins the arrays as if they were flat.

    Raises
    ------
    ValueError
        If there is no array, or the shapes don't match.
    """
    known = promoted(*arrays) if len(arrays) else []
    if not known:
        raise ValueError("concat takes at least one array; it was given none.")
    if axis is None:
        known = [reshaped(each, (each.size,)) for each in known]
        axis = 0
    first = known[0]
    if first.ndim == 0:
        raise ValueError("concat takes arrays of at least 1 dimension; it was given a 0-d one.")
    where = axis_of(axis, first.ndim)
    for i, each in enumerate(known):
        rest = each.shape[:where] + each.shape[where + 1 :]
        if each.ndim != first.ndim or rest != first.shape[:where] + first.shape[where + 1 :]:
            raise ValueError(
                f"concat along axis {where} was given the shapes {first.shape} and, as array {i}, "
                f"{each.shape}; expected equal sizes on the other axes."
            )
    total = sum(each.shape[where] for each in known)
    shape = (*first.shape[:where], total, *first.shape[where + 1 :])
    if len(known) == 1:
        return fresh(first)
    return apply("concatenate", tuple(known), shape, first.dtype, (where,))


def concatenate(arrays: Sequence[Array], /, axis: int | None = 0) -> Array:
    """Join arrays along an axis that they have: NumPy's name for `concat`."""
    return concat(arrays, axis=axis)


def stack(arrays: Sequence[Array], /, axis: int = 0) -> Array:
    """Join arrays of one shape along a new axis.

    Parameters
    ----------
    arrays : sequence of Array
    axis : int
        Where the new axis is in the result.

    Raises
    ------
    ValueError
        If there is no array, or the shapes differ.
    """
    known = [array_of(each) for each in arrays]
    if not known:
        raise ValueError("stack takes at least one array; it was given none.")
    for each in known:
        if each.shape != known[0].shape:
            raise ValueError(
                f"stack was given the shapes {known[0].shape} and {each.shape}; expected equal "
                f"ones."
            )
    where = axis_of(axis, known[0].ndim + 1)
    return concat([expand_dims(each, where) for each in known], axis=where)


def unstack(x: Array, /, axis: int = 0) -> tuple[Array, ...]:
    """Split an array along an axis into views without that axis."""
    x = array_of(x)
    if x.ndim == 0:
        raise ValueError("unstack takes an array of at least 1 dimension; it was given a 0-d one.")
    where = axis_of(axis, x.ndim)
    return tuple(squeeze(_part(x, where, i, i + 1), where) for i in range(x.shape[where]))


def tile(x: Array, repetitions: int | tuple[int, ...], /) -> Array:
    """Lay copies of `x` side by side.

    Parameters
    ----------
    x : Array
    repetitions : int or tuple of int
        How many along each axis, counted from the last; missing ones are 1, and `x` gets axes of
        size 1 in front where there are more of them.
    """
    x = array_of(x)
    counts = shape_of(repetitions)
    counts = (1,) * (x.ndim - len(counts)) + counts
    shape = (1,) * (len(counts) - x.ndim) + x.shape
    # (a, b) becomes (m, a, n, b) by broadcasting, and is then flattened pair by pair.
    spread = tuple(n for pair in zip(counts, shape, strict=True) for n in pair)
    paired = tuple(n for size in shape for n in (1, size))
    final = tuple(n * size for n, size in zip(counts, shape, strict=True))
    return reshaped(broadcast_view(reshaped(x, paired), spread), final)


def repeat(x: Array, repeats: Any, /, axis: int | None = None) -> Array:
    """Repeat each element.

    Parameters
    ----------
    x : Array
    repeats : int or Array
        How often: for all, or for each element along `axis` (an Array is evaluated and waited for).
    axis : int, optional
        By default `x` is flat.

    Raises
    ------
    ValueError
        If a count is negative, or there are neither one nor as many as elements.
    """
    x = array_of(x)
    if axis is None:
        x, axis = reshaped(x, (x.size,)), 0
    where = axis_of(axis, x.ndim)
    size = x.shape[where]
    if not isinstance(repeats, int):
        counts = to_numpy(repeats) if isinstance(repeats, Array) else numpy.asarray(repeats)
        if counts.size == 0 and not isinstance(repeats, Array):
            counts = counts.astype(numpy.int64)
        if counts.dtype.kind not in "iu":
            raise TypeError(f"repeat takes integer counts; it was given {counts.dtype.name}.")
        if counts.size != 1:
            return _repeat_each(x, counts, where)
        repeats = int(counts.reshape(())[()])
    if repeats < 0:
        raise ValueError(f"repeat was given the count {repeats}; expected 0 or more.")
    wider = expand_dims(x, where + 1)
    spread = (*x.shape[: where + 1], repeats, *x.shape[where + 1 :])
    final = (*x.shape[:where], size * repeats, *x.shape[where + 1 :])
    return reshaped(broadcast_view(wider, spread), final)


def _repeat_each(x: Array, counts: numpy.ndarray, axis: int) -> Array:
    size = x.shape[axis]
    if counts.shape != (size,):
        raise ValueError(
            f"repeat was given counts of shape {counts.shape} for axis {axis} of size {size}; "
            f"expected one count or {size}."
        )
    if (counts < 0).any():
        raise ValueError(f"repeat was given the count {counts.min()}; expected 0 or more.")
    index = numpy.repeat(numpy.arange(size, dtype=numpy.int64), counts)
    shape = (*x.shape[:axis], index.size, *x.shape[axis + 1 :])
    return apply("take", (x, asarray(index, dtypes.int64)), shape, x.dtype, (axis,))


def pad(x: Array, /, pad_width: Any, *, constant_values: Any = 0) -> Array:
    """Add a constant border.

    Parameters
    ----------
    x : Array
    pad_width : int, pair of int, or sequence of pairs
        Elements before and after: one number or pair for all axes, or a pair for each axis.
    constant_values : scalar
        What the border holds, cast to the dtype of `x`.

    Raises
    ------
    ValueError
        If a width is negative, or the widths don't fit the axes.
    """
    x = array_of(x)
    try:
        widths = numpy.broadcast_to(numpy.asarray(pad_width), (x.ndim, 2))
    except ValueError:
        raise ValueError(
            f"pad_width {pad_width!r} doesn't fit an array of {x.ndim} dimensions; expected an "
            f"integer, a pair, or a pair for each axis."
        ) from None
    if widths.dtype.kind not in "iu":
        raise TypeError(f"pad_width is made of integers; {pad_width!r} was given.")
    if widths.size and widths.min() < 0:
        raise ValueError(f"pad_width holds {widths.min()}; expected 0 or more.")
    pairs = widths.tolist()
    value = cast(array_of(constant_values, x.dtype), x.dtype)
    if value.ndim:
        raise ValueError(f"pad takes a scalar for its border; its shape is {value.shape}.")
    shape = tuple(n + before + after for n, (before, after) in zip(x.shape, pairs, strict=True))
    flat = tuple(width for pair in pairs for width in pair)
    return apply("pad", (x, value), shape, x.dtype, flat)
