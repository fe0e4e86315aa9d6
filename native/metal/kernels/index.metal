// Elements and rows at positions that other arrays give. T: an unsigned type of the elements' size;
// INDEX: what positions are counted in; INDEX_TYPE: what an index array holds, LONG: the 64-bit
// type it is widened to.

#if defined(INDEX_TYPE)

// Adds (or, for the first of several arrays, sets) the offsets of one array of indices.
// `dims` walks over the array.
kernel void resolve(device long* offsets [[buffer(0)]],
                    device const INDEX_TYPE* indices [[buffer(1)]],
                    constant long* dims [[buffer(2)]], constant ulong& count [[buffer(3)]],
                    constant long2& size_and_stride [[buffer(4)]],
                    constant int& first [[buffer(5)]], device atomic_uint* fault [[buffer(6)]],
                    uint3 at [[thread_position_in_grid]], uint3 grid [[threads_per_grid]]) {
  const ulong position = flat_position(at, grid);
  if (position >= count) return;
  long index = to_index(LONG(indices[walk(INDEX(position), dims, 0)]), size_and_stride.x);
  if (index < 0) {
    raise_fault(fault, position);
    index = 0;
  }
  const long offset = index * size_and_stride.y;
  offsets[position] = first ? offset : offsets[position] + offset;
}

#if defined(T)
struct Axis {
  ulong size;   // of the output
  ulong count;  // of the indices
  ulong row;    // elements behind the axis
  long length;  // of the axis
  long stride;
};

// take: the output is the dimensions of x before the axis, the indices', then those behind.
// `dims`, `outer_dims` and `row_dims` walk over the indices and those parts of x.
kernel void take(device T* out [[buffer(0)]], device const T* x [[buffer(1)]],
                 device const INDEX_TYPE* indices [[buffer(2)]], constant long* dims [[buffer(3)]],
                 constant long* outer_dims [[buffer(4)]], constant long* row_dims [[buffer(5)]],
                 constant Axis& p [[buffer(6)]], device atomic_uint* fault [[buffer(7)]],
                 uint3 at [[thread_position_in_grid]], uint3 grid [[threads_per_grid]]) {
  const ulong position = flat_position(at, grid);
  if (position >= p.size) return;
  const INDEX flat = INDEX(position), row = INDEX(p.row), count = INDEX(p.count);
  const INDEX line = flat / row;
  const INDEX outer = line / count;
  const INDEX which = line - outer * count;
  const long index = to_index(LONG(indices[walk(which, dims, 0)]), p.length);
  if (index < 0) {
    raise_fault(fault, which);
    return;
  }
  out[position] = x[walk(outer, outer_dims, 0) + index * p.stride +
                    walk(INDEX(flat - line * row), row_dims, 0)];
}

// `dims` walks over the output's shape: operand 0 is x without the axis, 1 the indices.
kernel void take_along_axis(device T* out [[buffer(0)]], device const T* x [[buffer(1)]],
                            device const INDEX_TYPE* indices [[buffer(2)]],
                            constant long* dims [[buffer(3)]], constant Axis& p [[buffer(4)]],
                            device atomic_uint* fault [[buffer(5)]],
                            uint3 at [[thread_position_in_grid]], uint3 grid [[threads_per_grid]]) {
  const ulong position = flat_position(at, grid);
  if (position >= p.size) return;
  const INDEX flat = INDEX(position);
  const long index = to_index(LONG(indices[walk(flat, dims, 1)]), p.length);
  if (index < 0) {
    raise_fault(fault, position);
    return;
  }
  out[position] = x[walk(flat, dims, 0) + index * p.stride];
}
#endif
#endif

#if defined(GATHER)
struct Gathered {
  ulong size;   // of the output
  ulong count;  // of the indices
  ulong row;    // elements behind the axes
};

// As take, for offsets that were resolved before.
kernel void gather(device T* out [[buffer(0)]], device const T* x [[buffer(1)]],
                   device const long* offsets [[buffer(2)]],
                   constant long* outer_dims [[buffer(3)]], constant long* row_dims [[buffer(4)]],
                   constant Gathered& p [[buffer(5)]], uint3 at [[thread_position_in_grid]],
                   uint3 grid [[threads_per_grid]]) {
  const ulong position = flat_position(at, grid);
  if (position >= p.size) return;
  const INDEX flat = INDEX(position), row = INDEX(p.row), count = INDEX(p.count);
  const INDEX line = flat / row;
  const INDEX outer = line / count;
  out[position] = x[walk(outer, outer_dims, 0) + offsets[line - outer * count] +
                    walk(INDEX(flat - line * row), row_dims, 0)];
}
#endif
