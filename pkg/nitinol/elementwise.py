"""Functions of single elements: arithmetic, comparisons, logic, bits, exponentials, trigonometry.

Every function takes arrays (or Python scalars beside one array) that broadcast together, promotes
their dtypes as `nitinol.dtypes` says, and is lazy; chains of them run as one fused kernel. Integers
given to a function of floating-point numbers count as ``float32``. All raise ValueError for shapes
that don't broadcast and TypeError for dtypes the function isn't defined for.
"""

import builtins
from typing import Any

from nitinol._arguments import array_of, cast, fresh, integer_of
from nitinol._array import Array
from nitinol._operations import elementwise
from nitinol.dtypes import finfo, float16, float32, iinfo

# Arithmetic.


def add(x1: Any, x2: Any, /) -> Array:
    """Give x1 + x2."""
    return elementwise("add", x1, x2)


def subtract(x1: Any, x2: Any, /) -> Array:
    """Give x1 - x2."""
    return elementwise("subtract", x1, x2)


def multiply(x1: Any, x2: Any, /) -> Array:
    """Give x1 * x2."""
    return elementwise("multiply", x1, x2)


def divide(x1: Any, x2: Any, /) -> Array:
    """Give x1 / x2; integers give the default floating-point dtype."""
    return elementwise("divide", x1, x2)


def floor_divide(x1: Any, x2: Any, /) -> Array:
    """Give the floor of x1 / x2."""
    return elementwise("floor_divide", x1, x2)


def remainder(x1: Any, x2: Any, /) -> Array:
    """Give the remainder of x1 / x2, with the sign of x2."""
    return elementwise("remainder", x1, x2)


def pow(x1: Any, x2: Any, /) -> Array:
    """Give x1 to the power x2.

    A negative exponent of integers is an asynchronous KernelFaultError.
    """
    return elementwise("power", x1, x2)


def negative(x: Any, /) -> Array:
    """Give -x."""
    return elementwise("negative", x)


def abs(x: Any, /) -> Array:
    """Give the absolute value; of complex numbers, the real magnitude."""
    return elementwise("abs", x)


def sign(x: Any, /) -> Array:
    """Give -1, 0 or 1; of complex numbers, x / abs(x)."""
    return elementwise("sign", x)


def square(x: Any, /) -> Array:
    """Give x * x."""
    return elementwise("square", x)


def sqrt(x: Any, /) -> Array:
    """Give the square root."""
    return elementwise("sqrt", x)


def reciprocal(x: Any, /) -> Array:
    """Give 1 / x."""
    return elementwise("reciprocal", x)


def hypot(x1: Any, x2: Any, /) -> Array:
    """Give sqrt(x1**2 + x2**2) without overflow on the way."""
    return elementwise("hypot", x1, x2)


def copysign(x1: Any, x2: Any, /) -> Array:
    """Give x1 with the sign of x2."""
    return elementwise("copysign", x1, x2)


def nextafter(x1: Any, x2: Any, /) -> Array:
    """Give the next number after x1 in the direction of x2."""
    return elementwise("nextafter", x1, x2)


def maximum(x1: Any, x2: Any, /) -> Array:
    """Give the greater of x1 and x2; NaN if either is."""
    return elementwise("maximum", x1, x2)


def minimum(x1: Any, x2: Any, /) -> Array:
    """Give the smaller of x1 and x2; NaN if either is."""
    return elementwise("minimum", x1, x2)


# Exponentials.


def exp(x: Any, /) -> Array:
    """Give e to the power x."""
    return elementwise("exp", x)


def expm1(x: Any, /) -> Array:
    """Give exp(x) - 1, accurate near 0."""
    return elementwise("expm1", x)


def log(x: Any, /) -> Array:
    """Give the natural logarithm."""
    return elementwise("log", x)


def log1p(x: Any, /) -> Array:
    """Give log(1 + x), accurate near 0."""
    return elementwise("log1p", x)


def log2(x: Any, /) -> Array:
    """Give the logarithm to base 2."""
    return elementwise("log2", x)


def log10(x: Any, /) -> Array:
    """Give the logarithm to base 10."""
    return elementwise("log10", x)


def logaddexp(x1: Any, x2: Any, /) -> Array:
    """Give log(exp(x1) + exp(x2)) without overflow on the way."""
    return elementwise("logaddexp", x1, x2)


def sigmoid(x: Any, /) -> Array:
    """Give 1 / (1 + exp(-x))."""
    return elementwise("sigmoid", x)


def erf(x: Any, /) -> Array:
    """Give the error function."""
    return elementwise("erf", x)


# Trigonometry.


def sin(x: Any, /) -> Array:
    """Give the sine."""
    return elementwise("sin", x)


def cos(x: Any, /) -> Array:
    """Give the cosine."""
    return elementwise("cos", x)


def tan(x: Any, /) -> Array:
    """Give the tangent."""
    return elementwise("tan", x)


def asin(x: Any, /) -> Array:
    """Give the inverse sine."""
    return elementwise("asin", x)


def acos(x: Any, /) -> Array:
    """Give the inverse cosine."""
    return elementwise("acos", x)


def atan(x: Any, /) -> Array:
    """Give the inverse tangent."""
    return elementwise("atan", x)


def sinh(x: Any, /) -> Array:
    """Give the hyperbolic sine."""
    return elementwise("sinh", x)


def cosh(x: Any, /) -> Array:
    """Give the hyperbolic cosine."""
    return elementwise("cosh", x)


def tanh(x: Any, /) -> Array:
    """Give the hyperbolic tangent."""
    return elementwise("tanh", x)


def asinh(x: Any, /) -> Array:
    """Give the inverse hyperbolic sine."""
    return elementwise("asinh", x)


def acosh(x: Any, /) -> Array:
    """Give the inverse hyperbolic cosine."""
    return elementwise("acosh", x)


def atanh(x: Any, /) -> Array:
    """Give the inverse hyperbolic tangent."""
    return elementwise("atanh", x)


def atan2(x1: Any, x2: Any, /) -> Array:
    """Give the angle of the point (x2, x1), from -pi to pi."""
    return elementwise("atan2", x1, x2)


# Comparisons and logic: the result is bool.


def equal(x1: Any, x2: Any, /) -> Array:
    """Tell where x1 == x2."""
    return elementwise("equal", x1, x2)


def not_equal(x1: Any, x2: Any, /) -> Array:
    """Tell where x1 != x2."""
    return elementwise("not_equal", x1, x2)


def less(x1: Any, x2: Any, /) -> Array:
    """Tell where x1 < x2."""
    return elementwise("less", x1, x2)


def less_equal(x1: Any, x2: Any, /) -> Array:
    """Tell where x1 <= x2."""
    return elementwise("less_equal", x1, x2)


def greater(x1: Any, x2: Any, /) -> Array:
    """Tell where x1 > x2."""
    return elementwise("greater", x1, x2)


def greater_equal(x1: Any, x2: Any, /) -> Array:
    """Tell where x1 >= x2."""
    return elementwise("greater_equal", x1, x2)


def logical_and(x1: Any, x2: Any, /) -> Array:
    """Tell where both are true."""
    return elementwise("logical_and", x1, x2)


def logical_or(x1: Any, x2: Any, /) -> Array:
    """Tell where either is true."""
    return elementwise("logical_or", x1, x2)


def logical_xor(x1: Any, x2: Any, /) -> Array:
    """Tell where exactly one is true."""
    return elementwise("logical_xor", x1, x2)


def logical_not(x: Any, /) -> Array:
    """Tell where x is false."""
    return elementwise("logical_not", x)


def isnan(x: Any, /) -> Array:
    """Tell where x is NaN."""
    return elementwise("isnan", x)


def isinf(x: Any, /) -> Array:
    """Tell where x is infinite."""
    return elementwise("isinf", x)


def isfinite(x: Any, /) -> Array:
    """Tell where x is neither infinite nor NaN."""
    return elementwise("isfinite", x)


def signbit(x: Any, /) -> Array:
    """Tell where the sign bit of a real x is set."""
    return elementwise("signbit", x)


# Bits of integers and bools.


def bitwise_and(x1: Any, x2: Any, /) -> Array:
    """Give x1 & x2."""
    return elementwise("bitwise_and", x1, x2)


def bitwise_or(x1: Any, x2: Any, /) -> Array:
    """Give x1 | x2."""
    return elementwise("bitwise_or", x1, x2)


def bitwise_xor(x1: Any, x2: Any, /) -> Array:
    """Give x1 ^ x2."""
    return elementwise("bitwise_xor", x1, x2)


def bitwise_invert(x: Any, /) -> Array:
    """Give ~x."""
    return elementwise("bitwise_invert", x)


def bitwise_left_shift(x1: Any, x2: Any, /) -> Array:
    """Give x1 << x2."""
    return elementwise("bitwise_left_shift", x1, x2)


def bitwise_right_shift(x1: Any, x2: Any, /) -> Array:
    """Give x1 >> x2, keeping the sign."""
    return elementwise("bitwise_right_shift", x1, x2)


power = pow


# Functions that leave some dtypes as they are.


def positive(x: Any, /) -> Array:
    """Give +x."""
    x = array_of(x)
    if x.dtype.kind == "b":
        raise TypeError("positive takes a numeric array; it was given a bool one.")
    return fresh(x)


def _rounded(op: str, x: Any) -> Array:
    x = array_of(x)
    return elementwise(op, x) if x.dtype.kind in "fc" else fresh(x)


def floor(x: Any, /) -> Array:
    """Give the greatest integer not above x, in the dtype of x."""
    return _rounded("floor", x)


def ceil(x: Any, /) -> Array:
    """Give the smallest integer not below x, in the dtype of x."""
    return _rounded("ceil", x)


def trunc(x: Any, /) -> Array:
    """Give x without its fraction, in the dtype of x."""
    return _rounded("trunc", x)


def round(x: Any, /, decimals: int = 0) -> Array:
    """Round to the nearest integer, halves to the even one, or to a number of decimals.

    Parameters
    ----------
    x : Array
    decimals : int
        Decimals to keep; negative ones round to tens, hundreds and so on. Integers are rounded
        exactly; what has no such decimals to lose stays as it is.

    Raises
    ------
    TypeError
        If `decimals` is no integer.
    """
    x = array_of(x)
    decimals = integer_of(decimals, "The number of decimals")
    if decimals == 0 or (decimals > 0 and x.dtype.kind not in "fc"):
        return _rounded("round", x)
    if x.dtype.kind not in "fc":
        return _round_integers(x, 10 ** builtins.min(-decimals, 20))
    if x.dtype is float16:
        return cast(round(cast(x, float32), decimals), float16)
    info = finfo(x.dtype)
    scale = builtins.min(10.0 ** builtins.min(builtins.abs(decimals), 308), info.max)
    if decimals < 0:
        return multiply(elementwise("round", divide(x, scale)), scale)
    scaled = multiply(x, scale)
    rounded = divide(elementwise("round", scaled), scale)
    if x.dtype.kind == "c":
        return rounded
    # From 1 / eps on all numbers are whole. What overflows here would come back as infinity.
    return elementwise("where", less(abs(scaled), 1 / info.eps), rounded, x)


def _round_integers(x: Array, unit: int) -> Array:
    """Integers rounded to multiples of `unit`, halves to the even one."""
    if x.dtype.kind == "b":
        return fresh(x)
    if unit > iinfo(x.dtype).max:
        return multiply(x, 0)
    tens, rest = floor_divide(x, unit), remainder(x, unit)
    missing = subtract(unit, rest)
    odd = equal(bitwise_and(tens, 1), 1)
    up = logical_or(greater(rest, missing), logical_and(equal(rest, missing), odd))
    return multiply(add(tens, up), unit)


def conj(x: Any, /) -> Array:
    """Give the complex conjugate; a real x stays as it is."""
    x = array_of(x)
    return elementwise("conj", x) if x.dtype.kind == "c" else fresh(x)


def real(x: Any, /) -> Array:
    """Give the real part; a real x stays as it is."""
    x = array_of(x)
    return elementwise("real", x) if x.dtype.kind == "c" else fresh(x)


def imag(x: Any, /) -> Array:
    """Give the imaginary part; of a real x, zeros."""
    x = array_of(x)
    if x.dtype.kind == "c":
        return elementwise("imag", x)
    from nitinol.creation import zeros_like

    return zeros_like(x)


# Functions made of others; they run as one fused kernel all the same.


def silu(x: Any, /) -> Array:
    """Give x * sigmoid(x)."""
    x = array_of(x)
    return elementwise("multiply", x, elementwise("sigmoid", x))


def clip(x: Any, /, min: Any = None, max: Any = None) -> Array:
    """Limit x to the range from `min` to `max`.

    Parameters
    ----------
    x : Array
        Real.
    min, max : Array, int, float or None
        The limits, broadcast with x; None is no limit. Where min is above max the result is max.
    """
    x = array_of(x)
    if x.dtype.kind == "c":
        raise TypeError(f"clip takes a real array; it was given a {x.dtype.name} one.")
    result = x
    if min is not None:
        result = elementwise("maximum", result, min)
    if max is not None:
        result = elementwise("minimum", result, max)
    return fresh(x) if result is x else result
