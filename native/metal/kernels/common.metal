// What stands in front of every kernel file: types, layouts, faults.
#include <metal_stdlib>
using namespace metal;

// An op's bits must not depend on what it was fused with; what may be a fused
// multiply-add says fma.
#pragma clang fp contract(off)

// The shape and strides of an operand, in elements. Kernels that index by layout take
// `constant long*`: shape[0..ndim) of the iteration, then ndim strides for each operand.
inline long offset_at(ulong flat, int ndim, constant long* shape, constant long* strides) {
  long offset = 0;
  for (int axis = ndim - 1; axis > 0; --axis) {
    const ulong extent = ulong(shape[axis]);
    const ulong rest = flat / extent;
    offset += long(flat - rest * extent) * strides[axis];
    flat = rest;
  }
  return ndim > 0 ? offset + long(flat) * strides[0] : offset;
}

inline long offset_at(uint flat, int ndim, constant long* shape, constant long* strides) {
  long offset = 0;
  for (int axis = ndim - 1; axis > 0; --axis) {
    const uint extent = uint(shape[axis]);
    const uint rest = flat / extent;
    offset += long(flat - rest * extent) * strides[axis];
    flat = rest;
  }
  return ndim > 0 ? offset + long(flat) * strides[0] : offset;
}

// The same for a Walk of the host: ndim, shape, strides of operand 0, of operand 1, ...
inline long walk(ulong flat, constant long* dims, int operand) {
  const int ndim = int(dims[0]);
  return offset_at(flat, ndim, dims + 1, dims + 1 + ndim * (1 + operand));
}

inline long walk(uint flat, constant long* dims, int operand) {
  const int ndim = int(dims[0]);
  return offset_at(flat, ndim, dims + 1, dims + 1 + ndim * (1 + operand));
}

// The number of a thread of a two-dimensional grid (or of a threadgroup of several).
inline ulong flat_position(uint3 at, uint3 grid) { return ulong(at.y) * grid.x + at.x; }

// Reports an error met at `position`; the lowest one is kept, so that what is raised does
// not depend on which thread came first.
inline void raise_fault(device atomic_uint* fault, ulong position) {
  atomic_fetch_min_explicit(fault, uint(min(position, ulong(0xfffffffe))), memory_order_relaxed);
}

// An index that counts from the end when negative, as a position in an axis of this size; -1 where
// it is out of range.
inline long to_index(long index, long size) {
  const long position = index < 0 ? index + size : index;
  return position < size ? max(position, long(-1)) : -1;
}
inline long to_index(ulong index, long size) { return index < ulong(size) ? long(index) : -1; }

// The value of another lane; MSL's own functions know no 64-bit integers.
inline float shuffle_down(float v, ushort delta) { return simd_shuffle_down(v, delta); }
inline float2 shuffle_down(float2 v, ushort delta) { return simd_shuffle_down(v, delta); }
inline int shuffle_down(int v, ushort delta) { return simd_shuffle_down(v, delta); }
inline uint shuffle_down(uint v, ushort delta) { return simd_shuffle_down(v, delta); }
inline long shuffle_down(long v, ushort delta) {
  return as_type<long>(simd_shuffle_down(as_type<uint2>(v), delta));
}
inline ulong shuffle_down(ulong v, ushort delta) {
  return as_type<ulong>(simd_shuffle_down(as_type<uint2>(v), delta));
}
inline float lane_value(float v, ushort lane) { return simd_shuffle(v, lane); }
inline float2 lane_value(float2 v, ushort lane) { return simd_shuffle(v, lane); }
inline ulong lane_value(ulong v, ushort lane) {
  return as_type<ulong>(simd_shuffle(as_type<uint2>(v), lane));
}
