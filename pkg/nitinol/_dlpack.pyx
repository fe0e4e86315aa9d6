"""What a DLPack capsule claims, checked before NumPy goes by it.

NumPy trusts the sizes in a capsule, and allocates what they ask for where the address is NULL.
Whether the memory is really there no reader can tell.
"""

from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_IsValid
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

import numpy

from nitinol._text import shown


# The structures of dlpack.h, whose layout is its promise.
cdef struct DLDevice:
    int32_t type
    int32_t index

cdef struct DLDataType:
    uint8_t code
    uint8_t bits
    uint16_t lanes

cdef struct DLTensor:
    void* data
    DLDevice device
    int32_t ndim
    DLDataType dtype
    int64_t* shape
    int64_t* strides
    uint64_t byte_offset

cdef struct DLManagedTensorVersioned:
    uint32_t major
    uint32_t minor
    void* manager_context
    void (*deleter)(void*) noexcept
    uint64_t flags
    DLTensor tensor


cdef int LONGEST_SHAPE = 64
cdef object LARGEST = 2**63 - 1
# Memory that the processor can read: its own, and that of CUDA and ROCm that is shared with it.
cdef tuple READABLE = (1, 3, 11, 13)
# By DLPack's number of the kind of number: its name and the widths in bits that NumPy has.
cdef dict KINDS = {
    0: ("int", (8, 16, 32, 64)), 1: ("uint", (8, 16, 32, 64)), 2: ("float", (16, 32, 64)),
    5: ("complex", (64, 128)), 6: ("bool", (8,)),
}


cdef int check_tensor(const DLTensor* tensor, object whose) except -1:
    cdef int i
    if tensor.device.type not in READABLE:
        raise BufferError(f"{whose} is on the DLPack device type {tensor.device.type}; expected "
                          f"the memory of the CPU (1).")
    if not 0 <= tensor.ndim <= LONGEST_SHAPE:
        raise ValueError(f"{whose} claims {tensor.ndim} dimensions; expected 0 to "
                         f"{LONGEST_SHAPE}.")
    name, widths = KINDS.get(tensor.dtype.code, (None, ()))
    if name is None or tensor.dtype.lanes != 1 or tensor.dtype.bits not in widths:
        raise TypeError(f"{whose} has elements of DLPack's kind {tensor.dtype.code}, "
                        f"{tensor.dtype.bits} bits and {tensor.dtype.lanes} lanes; expected "
                        f"booleans or numbers of up to 128 bits.")
    if tensor.ndim > 0 and tensor.shape == NULL:
        raise ValueError(f"{whose} claims {tensor.ndim} dimensions and has no shape.")
    shape = tuple([tensor.shape[i] for i in range(tensor.ndim)])
    if any([n < 0 for n in shape]):
        raise ValueError(f"{whose} claims the shape {shown(shape)}; expected sizes of 0 or more.")
    item = tensor.dtype.bits // 8
    count = described = 1
    for n in shape:
        count *= n
        described *= max(n, 1)
    reach = described
    if tensor.strides != NULL:
        strides = [tensor.strides[i] for i in range(tensor.ndim)]
        reach = 1 + sum([abs(stride) * max(n - 1, 0) for stride, n in zip(strides, shape)])
    if max(described, reach) * item + tensor.byte_offset > LARGEST:
        raise ValueError(f"{whose} claims the shape {shown(shape)} of {item} bytes each from byte "
                         f"{tensor.byte_offset} on; expected less than 2**63 bytes.")
    if count > 0 and tensor.data == NULL:
        raise ValueError(f"{whose} claims the shape {shown(shape)} at no address.")
    return 0


def check_capsule(capsule, whose="The capsule"):
    """Refuse a capsule that contradicts itself; `whose` is the subject of the sentence.

    Raises
    ------
    TypeError
        If it is no capsule of DLPack's, or its elements are none that NumPy has.
    ValueError
        If it was consumed before, or its sizes can't be.
    BufferError
        If its memory can't be read here, or its DLPack version is not known.
    """
    cdef DLManagedTensorVersioned* versioned
    if PyCapsule_IsValid(capsule, "dltensor"):
        check_tensor(<DLTensor*> PyCapsule_GetPointer(capsule, "dltensor"), whose)
    elif PyCapsule_IsValid(capsule, "dltensor_versioned"):
        versioned = <DLManagedTensorVersioned*> PyCapsule_GetPointer(
            capsule, "dltensor_versioned")
        # Nothing behind the version is known of another major version.
        if versioned.major != 1:
            raise BufferError(f"{whose} has the DLPack version {versioned.major}."
                              f"{versioned.minor}; expected 1.")
        check_tensor(&versioned.tensor, whose)
    elif (PyCapsule_IsValid(capsule, "used_dltensor")
            or PyCapsule_IsValid(capsule, "used_dltensor_versioned")):
        raise ValueError(f"{whose} was consumed before; expected a new one.")
    else:
        raise TypeError(f"{whose} is {shown(capsule)}; expected a capsule named 'dltensor' or "
                        f"'dltensor_versioned'.")


class _Checked:
    """An object with ``__dlpack__`` whose capsules are looked at first."""

    def __init__(self, obj):
        self.obj = obj

    def __dlpack_device__(self):
        return self.obj.__dlpack_device__()

    def __dlpack__(self, **keywords):
        capsule = self.obj.__dlpack__(**keywords)
        check_capsule(capsule, f"The capsule of a {type(self.obj).__name__}")
        return capsule


def to_numpy(obj):
    """Return the NumPy array over the memory that ``obj.__dlpack__()`` gives."""
    return numpy.from_dlpack(_Checked(obj))
