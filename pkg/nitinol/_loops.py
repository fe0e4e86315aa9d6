"""NumPy's inner loops for elementwise operations, and what dtype each operation gives.

NumPy 1.24 and later hand out, for packages like this one, the strided loop that a ufunc would run
for given dtypes, as a capsule around a C struct. Its first five fields have stayed the same since;
only those are read here.
"""

import ctypes

import numpy

# What the output's dtype is, from the common dtype of the operands.
SAME = 0
FLOAT = 1  # integers become the default floating dtype first
BOOL = 2
REAL = 3  # complex gives its real part's dtype

_NAMES = {
    SAME: "cast where add subtract multiply floor_divide remainder power negative sign square "
    "maximum minimum floor ceil trunc round bitwise_and bitwise_or bitwise_xor bitwise_invert "
    "bitwise_left_shift bitwise_right_shift conj",
    FLOAT: "divide sqrt reciprocal exp expm1 log log1p log2 log10 sin cos tan asin acos atan sinh "
    "cosh tanh asinh acosh atanh atan2 hypot copysign nextafter logaddexp sigmoid erf",
    BOOL: "isnan isinf isfinite signbit equal not_equal less less_equal greater greater_equal "
    "logical_and logical_or logical_xor logical_not",
    REAL: "abs real imag",
}
RULES = {name: rule for rule, names in _NAMES.items() for name in names.split()}


class _CallInfo(ctypes.Structure):
    """The head of NumPy's PyArray_... ufunc_call_info."""

    _fields_ = [
        ("strided_loop", ctypes.c_void_p),
        ("context", ctypes.c_void_p),
        ("auxdata", ctypes.c_void_p),
        ("requires_pyapi", ctypes.c_ubyte),
        ("no_floatingpoint_errors", ctypes.c_ubyte),
    ]


_CAPSULE_NAME = b"numpy_1.24_ufunc_call_info"
_get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_get_pointer.restype = ctypes.c_void_p
_get_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]

# NumPy orders complex numbers by their parts; mathematics, and this library, don't.
_ORDERED = {"less", "less_equal", "greater", "greater_equal", "maximum", "minimum"}

# The loops point into them.
_capsules: list[object] = []


def resolve(
    ufunc: str, arity: int, operand: numpy.dtype, result: numpy.dtype
) -> tuple[int, int, int] | None:
    """Return the addresses of the loop, its context and its data.

    Returns
    -------
    tuple of (int, int, int) or None
        None when NumPy has no loop for exactly these dtypes, or only one that needs the GIL, and
        for an order of complex numbers.
    """
    if operand.kind == "c" and ufunc in _ORDERED:
        return None
    function = getattr(numpy, ufunc)
    try:
        found, capsule = function._resolve_dtypes_and_context((operand,) * arity + (None,))
    except TypeError:
        return None
    if found[:arity] != (operand,) * arity or found[arity] != result:
        return None
    function._get_strided_loop(capsule)
    info = _CallInfo.from_address(_get_pointer(capsule, _CAPSULE_NAME))
    if info.requires_pyapi or not info.strided_loop:
        return None
    _capsules.append(capsule)
    return info.strided_loop, info.context or 0, info.auxdata or 0
