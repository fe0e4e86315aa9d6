// What stands in front of every kernel file: types, layouts, faults.
#include <metal_stdlib>
using namespace metal;

// The shape and strides of an operand, in elements. Kernels that index by layout take
// `constant long*`: shape[0..ndim) of the iteration, then ndim strides for each operand.
inline long offset_at(ulong flat, int ndim, constant long* shape, constant long* strides) {
  long offset = 0;
  for (int axis = ndim - 1; axis >= 0; --axis) {
    const ulong extent = ulong(shape[axis]);
    offset += long(flat % extent) * strides[axis];
    flat /= extent;
  }
  return offset;
}

// Reports an error met at `position`; the lowest one is kept, so that what is raised does
// not depend on which thread came first.
inline void raise_fault(device atomic_uint* fault, ulong position) {
  atomic_fetch_min_explicit(fault, uint(min(position, ulong(0xfffffffe))), memory_order_relaxed);
}
