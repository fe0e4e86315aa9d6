"""Those methods and properties of Array that call a function of a chapter, and no more."""

import nitinol


def tolist(self):
    """Return the elements as nested lists of Python scalars."""
    return nitinol._interop.to_numpy(self).tolist()


def to_device(self, device, *, stream=None):
    """Return the array on another device; the array itself where it is there already.

    Parameters
    ----------
    device : Device or str

    Raises
    ------
    TypeError
        If that device lacks the dtype.
    """
    return nitinol._interop.to_device(self, device)


def T(self):
    """The transpose of a matrix."""
    return nitinol.linalg.matrix_transpose_of_two(self)


def mT(self):
    """The transpose of each matrix of the last two axes."""
    return nitinol.linalg.matrix_transpose(self)


def real(self):
    """The real part."""
    return nitinol.elementwise.real(self)


def imag(self):
    """The imaginary part."""
    return nitinol.elementwise.imag(self)


def astype(self, dtype, *, copy=True):
    """Return the array with another dtype; see `nitinol.astype`."""
    return nitinol.manipulation.astype(self, dtype, copy=copy)


def copy(self):
    """Return a copy in row-major order."""
    return nitinol._operations.apply("copy", (self,), self.shape, self.dtype)


def reshape(self, *shape):
    """Return the elements in another shape; see `nitinol.reshape`."""
    if len(shape) == 1 and not isinstance(shape[0], int):
        shape = shape[0]
    return nitinol.manipulation.reshape(self, shape)


def transpose(self, *axes):
    """Return the array with its axes in another order; reversed if none is given."""
    if len(axes) == 1 and not isinstance(axes[0], int):
        axes = axes[0]
    return nitinol.manipulation.permute_dims(self, axes or tuple(range(self.ndim - 1, -1, -1)))


def squeeze(self, axis=None):
    """Return the array without axes of size one; see `nitinol.squeeze`."""
    if axis is None:
        axis = tuple(i for i, n in enumerate(self.shape) if n == 1)
    return nitinol.manipulation.squeeze(self, axis)


def flatten(self):
    """Return the elements as one axis."""
    return nitinol.manipulation.reshape(self, (-1,))


def sum(self, axis=None, *, dtype=None, keepdims=False):
    """Return the sum over axes; see `nitinol.sum`."""
    return nitinol.statistical.sum(self, axis=axis, dtype=dtype, keepdims=keepdims)


def prod(self, axis=None, *, dtype=None, keepdims=False):
    """Return the product over axes; see `nitinol.prod`."""
    return nitinol.statistical.prod(self, axis=axis, dtype=dtype, keepdims=keepdims)


def mean(self, axis=None, *, keepdims=False):
    """Return the mean over axes; see `nitinol.mean`."""
    return nitinol.statistical.mean(self, axis=axis, keepdims=keepdims)


def var(self, axis=None, *, correction=0.0, keepdims=False):
    """Return the variance over axes; see `nitinol.var`."""
    return nitinol.statistical.var(self, axis=axis, correction=correction, keepdims=keepdims)


def std(self, axis=None, *, correction=0.0, keepdims=False):
    """Return the standard deviation over axes; see `nitinol.std`."""
    return nitinol.statistical.std(self, axis=axis, correction=correction, keepdims=keepdims)


def max(self, axis=None, *, keepdims=False):
    """Return the largest element over axes; see `nitinol.max`."""
    return nitinol.statistical.max(self, axis=axis, keepdims=keepdims)


def min(self, axis=None, *, keepdims=False):
    """Return the smallest element over axes; see `nitinol.min`."""
    return nitinol.statistical.min(self, axis=axis, keepdims=keepdims)


def all(self, axis=None, *, keepdims=False):
    """Return whether all elements over axes are true; see `nitinol.all`."""
    return nitinol.statistical.all(self, axis=axis, keepdims=keepdims)


def any(self, axis=None, *, keepdims=False):
    """Return whether any element over axes is true; see `nitinol.any`."""
    return nitinol.statistical.any(self, axis=axis, keepdims=keepdims)


def argmax(self, axis=None, *, keepdims=False):
    """Return the index of the largest element; see `nitinol.argmax`."""
    return nitinol.searching.argmax(self, axis=axis, keepdims=keepdims)


def argmin(self, axis=None, *, keepdims=False):
    """Return the index of the smallest element; see `nitinol.argmin`."""
    return nitinol.searching.argmin(self, axis=axis, keepdims=keepdims)
