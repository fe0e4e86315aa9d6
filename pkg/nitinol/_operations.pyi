from collections.abc import Callable, Sequence
from typing import Any

from nitinol._array import Array
from nitinol.dtypes import dtype as dtype_

def elementwise(op: str, *operands: Any) -> Array: ...
def cast(x: Array, dtype: Any) -> Array: ...
def apply(
    op: str,
    inputs: Sequence[Array],
    shape: Sequence[int],
    dtype: dtype_,
    ints: Sequence[int] = (),
    floats: Sequence[float] = (),
    text: str | None = None,
    callback: Callable[..., Any] | None = None,
    device: Any = None,
    memory: Any = None,
) -> Array: ...
def view(x: Array, shape: Sequence[int], strides: Sequence[int], offset: int) -> Array: ...
def layout(x: Array) -> tuple[tuple[int, ...], tuple[int, ...], int]: ...
def is_contiguous(x: Array) -> bool: ...
