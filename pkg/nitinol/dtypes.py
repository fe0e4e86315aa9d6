"""The element types of arrays, how they promote, and what can be asked about them.

Promotion follows the Array API standard where it says something. Beyond it nitinol follows JAX
and MLX: an integer array with a floating-point array gives the floating-point dtype, whatever its
width; ``bool`` with anything gives the other; ``uint64`` with a signed integer gives the default
floating-point dtype, ``float32``, as no integer dtype holds both. The defaults are ``float32``,
``int64`` and ``complex64``.

Python scalars are weak: they take the dtype of the array they meet, if its kind can hold them, and
the default dtype of their own kind otherwise.
"""

import builtins
from typing import Any

import numpy

from nitinol._text import shown

__all__ = [
    "bool",
    "can_cast",
    "complex64",
    "complex128",
    "dtype",
    "finfo",
    "float16",
    "float32",
    "float64",
    "iinfo",
    "int8",
    "int16",
    "int32",
    "int64",
    "isdtype",
    "result_type",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
]


_NumpyDType = numpy.dtype  # for the class below, which has an attribute numpy


class dtype:
    """The type of an array's elements. There are 14 of them, each a single object.

    Attributes
    ----------
    name : str
        The standard's name, such as ``"float32"``.
    itemsize : int
        Bytes an element.
    kind : str
        NumPy's letter: ``b`` bool, ``i`` signed, ``u`` unsigned, ``f`` floating, ``c`` complex.
    number : int
        The value in the core's ``DType`` enumeration.
    numpy : numpy.dtype
        The same type in NumPy.
    """

    __slots__ = ("__weakref__", "itemsize", "kind", "name", "number", "numpy")

    name: str
    itemsize: int
    kind: str
    number: int
    numpy: numpy.dtype

    def __new__(cls, obj: Any) -> "dtype":  # noqa: D102 (as_dtype)
        return as_dtype(obj)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"A dtype is immutable: {name!r} can't be set.")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"A dtype is immutable: {name!r} can't be deleted.")

    @property
    def dtype(self) -> _NumpyDType:
        """The same type in NumPy, under the name by which `numpy.dtype` finds it."""
        return self.numpy

    def __eq__(self, other: object) -> builtins.bool:
        """Say whether `other` is this dtype, its name, or what NumPy has for it."""
        if isinstance(other, dtype):
            return self is other
        if isinstance(other, _NumpyDType):
            return self.numpy == other
        return other is self.numpy.type or (isinstance(other, str) and other == self.name)

    def __hash__(self) -> int:
        return hash(self.numpy)

    def __repr__(self) -> str:
        return f"nitinol.{self.name}"

    def __str__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[Any, ...]:
        return as_dtype, (self.name,)


def _make(number: int, name: str) -> dtype:
    made = object.__new__(dtype)
    of_numpy = numpy.dtype(name)
    fields = {
        "name": name,
        "itemsize": of_numpy.itemsize,
        "kind": of_numpy.kind,
        "number": number,
        "numpy": of_numpy,
    }
    for field, value in fields.items():
        object.__setattr__(made, field, value)
    return made


_DType = dtype  # for classes that have an attribute of that name

# The numbers are those of DType in dtype.h.
bool = _make(0, "bool")
int8 = _make(1, "int8")
int16 = _make(2, "int16")
int32 = _make(3, "int32")
int64 = _make(4, "int64")
uint8 = _make(5, "uint8")
uint16 = _make(6, "uint16")
uint32 = _make(7, "uint32")
uint64 = _make(8, "uint64")
float16 = _make(9, "float16")
float32 = _make(10, "float32")
float64 = _make(11, "float64")
complex64 = _make(12, "complex64")
complex128 = _make(13, "complex128")
ALL = (
    bool,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
    float16,
    float32,
    float64,
    complex64,
    complex128,
)

DEFAULT_FLOAT = float32
DEFAULT_INT = int64
DEFAULT_COMPLEX = complex64

_LOOKUP: dict = {}
for _each in ALL:
    _LOOKUP[_each] = _LOOKUP[_each.name] = _LOOKUP[_each.numpy] = _LOOKUP[_each.numpy.type] = _each
_LOOKUP |= {builtins.bool: bool, int: DEFAULT_INT, float: DEFAULT_FLOAT, complex: DEFAULT_COMPLEX}


def as_dtype(obj: Any) -> dtype:
    """The dtype that `obj` names.

    Parameters
    ----------
    obj : dtype, numpy.dtype, type or str
        A dtype of nitinol or NumPy, a NumPy scalar type, a name such as ``"float32"``, or the
        Python types bool, int, float and complex for the default dtype of that kind.

    Raises
    ------
    TypeError
        If nitinol has no such dtype.
    """
    try:
        return _LOOKUP[obj]
    except (KeyError, TypeError):
        pass
    if isinstance(obj, numpy.dtype | type | str):
        try:
            # A byte-swapped NumPy dtype or an alias such as "f4" names the native one.
            return _LOOKUP[numpy.dtype(obj).newbyteorder("=")]
        except (KeyError, TypeError):
            pass
    raise TypeError(
        f"{obj!r} is not a dtype of nitinol, which has {', '.join(each.name for each in ALL)}."
    )


def _promote(a: dtype, b: dtype) -> dtype:
    if a is b or b is bool:
        return a
    if a is bool:
        return b
    kinds = a.kind + b.kind
    if "c" in kinds:
        widest = max(_component_bytes(a), _component_bytes(b))
        return complex128 if widest == 8 else complex64
    if "f" in kinds:
        if a.kind == b.kind:
            return max(a, b, key=lambda each: each.itemsize)
        return a if a.kind == "f" else b
    if a.kind == b.kind:
        return max(a, b, key=lambda each: each.itemsize)
    signed, unsigned = (a, b) if a.kind == "i" else (b, a)
    if signed.itemsize > unsigned.itemsize:
        return signed
    return {1: int16, 2: int32, 4: int64, 8: DEFAULT_FLOAT}[unsigned.itemsize]


def _component_bytes(each: dtype) -> int:
    """Bytes of one floating-point component; integers don't widen a complex dtype."""
    return {"f": each.itemsize, "c": each.itemsize // 2}.get(each.kind, 0)


# PROMOTION[a.number][b.number] is the number of the dtype that a and b promote to.
PROMOTION = [[_promote(a, b).number for b in ALL] for a in ALL]

# The smallest and the greatest integer of each integer dtype, by its number.
_LIMITS = {
    each.number: (int(numpy.iinfo(each.numpy).min), int(numpy.iinfo(each.numpy).max))
    for each in ALL
    if each.kind in "iu"
}

# For a weak Python scalar: its rank among the kinds, and the default dtype of its kind.
_KIND_RANK = {"b": 0, "i": 1, "u": 1, "f": 2, "c": 3}
_DEFAULT_OF_RANK = (bool, DEFAULT_INT, DEFAULT_FLOAT, DEFAULT_COMPLEX)


def _scalar_rank(value: complex) -> int:
    if isinstance(value, builtins.bool):
        return 0
    if isinstance(value, int):
        return 1
    return 2 if isinstance(value, float) else 3


def with_scalar(strong: dtype, value: complex) -> dtype:
    """The dtype of an operation between an array of dtype `strong` and a Python scalar.

    Raises
    ------
    OverflowError
        If `value` is an integer that the integer dtype `strong` can't hold.
    """
    rank = _scalar_rank(value)
    own = _KIND_RANK[strong.kind]
    if isinstance(value, int) and rank == own == 1:
        low, high = _LIMITS[strong.number]
        if not low <= value <= high:
            raise OverflowError(
                f"The Python integer {shown(value)} doesn't fit in {strong.name}, which holds "
                f"{low} to {high}."
            )
    if rank <= own:
        return strong
    if rank == 3 and own == 2:
        return complex128 if strong is float64 else complex64
    return _DEFAULT_OF_RANK[rank]


def _dtype_of(obj: Any) -> dtype:
    found = getattr(obj, "dtype", obj)
    return found if isinstance(found, dtype) else as_dtype(found)


def result_type(*arrays_and_dtypes: Any) -> dtype:
    """The dtype that the arguments promote to.

    Parameters
    ----------
    *arrays_and_dtypes : Array, dtype, bool, int, float or complex
        At least one. Python scalars are weak; scalars alone give the default dtype of the
        highest kind among them.

    Raises
    ------
    ValueError
        If there is no argument.
    TypeError
        If an argument is none of these.
    """
    if not arrays_and_dtypes:
        raise ValueError(
            "result_type takes at least one array, dtype or scalar; it was given none."
        )
    strong = None
    scalars = []
    for each in arrays_and_dtypes:
        if isinstance(each, builtins.bool | int | float | complex) and not isinstance(
            each, numpy.generic
        ):
            scalars.append(each)
            continue
        found = _dtype_of(each)
        strong = found if strong is None else ALL[PROMOTION[strong.number][found.number]]
    if strong is None:
        return _DEFAULT_OF_RANK[max(map(_scalar_rank, scalars))]
    if scalars:
        ranks = [_scalar_rank(each) for each in scalars]
        for each in scalars:
            with_scalar(strong, each)
        strong = with_scalar(strong, scalars[ranks.index(max(ranks))])
    return strong


def can_cast(from_: Any, to: Any, /) -> builtins.bool:
    """Whether an array of dtype `from_` can become `to` by promotion alone.

    Parameters
    ----------
    from_ : Array or dtype
    to : dtype
    """
    source, target = _dtype_of(from_), as_dtype(to)
    return PROMOTION[source.number][target.number] == target.number


_KINDS = {
    "bool": "b",
    "signed integer": "i",
    "unsigned integer": "u",
    "integral": "iu",
    "real floating": "f",
    "complex floating": "c",
    "numeric": "iufc",
}


def isdtype(dtype: Any, kind: Any) -> builtins.bool:
    """Whether `dtype` is of the given kind.

    Parameters
    ----------
    dtype : dtype
    kind : dtype, str, or tuple of these
        A dtype is compared for equality. The strings are ``"bool"``, ``"signed integer"``,
        ``"unsigned integer"``, ``"integral"``, ``"real floating"``, ``"complex floating"`` and
        ``"numeric"``. A tuple asks whether any of its members fits.

    Raises
    ------
    ValueError
        If `kind` is an unknown string.
    """
    dtype = as_dtype(dtype)
    if isinstance(kind, tuple):
        return any(isdtype(dtype, each) for each in kind)
    if isinstance(kind, str):
        if kind not in _KINDS:
            raise ValueError(
                f"{kind!r} is not a kind of dtype; expected one of {', '.join(_KINDS)}."
            )
        return dtype.kind in _KINDS[kind]
    return dtype is as_dtype(kind)


class _Info:
    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: {name!r} can't be set.")

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({fields})"


class finfo(_Info):
    """Limits of a floating-point dtype; for a complex one, those of its components.

    Attributes
    ----------
    bits : int
    eps, max, min, smallest_normal : float
    dtype : dtype
        The real floating-point dtype that the figures are about.

    Raises
    ------
    TypeError
        If the dtype is not a floating-point one.
    """

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: _DType

    def __init__(self, type: Any, /):
        found = _dtype_of(type)
        if found.kind not in "fc":
            raise TypeError(f"finfo takes a floating-point dtype; it was given {found.name}.")
        info = numpy.finfo(found.numpy)
        vars(self).update(
            bits=int(info.bits),
            eps=float(info.eps),
            max=float(info.max),
            min=float(info.min),
            smallest_normal=float(info.smallest_normal),
            dtype=as_dtype(info.dtype),
        )


class iinfo(_Info):
    """Limits of an integer dtype.

    Attributes
    ----------
    bits, max, min : int
    dtype : dtype

    Raises
    ------
    TypeError
        If the dtype is not an integer one.
    """

    bits: int
    max: int
    min: int
    dtype: _DType

    def __init__(self, type: Any, /):
        found = _dtype_of(type)
        if found.kind not in "iu":
            raise TypeError(f"iinfo takes an integer dtype; it was given {found.name}.")
        low, high = _LIMITS[found.number]
        vars(self).update(bits=8 * found.itemsize, max=high, min=low, dtype=found)


class _NamespaceInfo:
    """What ``nitinol.__array_namespace_info__()`` gives: the standard's questions to a library."""

    def capabilities(self) -> dict[str, Any]:
        """Data-dependent shapes and boolean masks work: they wait for the value they need."""
        return {
            "boolean indexing": True,
            "data-dependent shapes": True,
            "max dimensions": 64,
        }

    def default_device(self) -> Any:
        """The device that new arrays go to."""
        from nitinol._stream import default_device

        return default_device()

    def devices(self) -> list[Any]:
        """Every device of this process."""
        from nitinol._device import devices

        return list(devices())

    def default_dtypes(self, *, device: Any = None) -> dict[str, dtype]:
        """The dtype of each kind that is used when none is asked for."""
        return {
            "real floating": DEFAULT_FLOAT,
            "complex floating": DEFAULT_COMPLEX,
            "integral": DEFAULT_INT,
            "indexing": DEFAULT_INT,
        }

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, dtype]:
        """The standard's dtypes that a device has, by name; `kind` as in `isdtype` selects.

        float16, which the standard doesn't know, is not among them.
        """
        from nitinol._device import Device
        from nitinol._stream import default_device

        where = default_device() if device is None else Device(device)
        return {
            each.name: each
            for each in ALL
            if each is not float16
            and where.supports(each)
            and (kind is None or isdtype(each, kind))
        }


def __array_namespace_info__() -> _NamespaceInfo:
    """The standard's inspection interface: devices, dtypes, capabilities and defaults."""
    return _NamespaceInfo()
