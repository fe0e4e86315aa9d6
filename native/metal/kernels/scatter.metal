// scatter: applies updates, in row-major order of the indices where several meet one element.
// T: the type of the elements (for `set` an unsigned type of their size); INDEX: what positions are
// counted in. MODE: 0 set, 1 add, 2 multiply, 3 minimum, 4 maximum. KIND: 0 real numbers, 1
// integers, 2 booleans, 3 complex numbers.

struct Scatter {
  ulong size;   // elements of one tuple's updates: outer positions times row
  ulong count;  // tuples of indices
  ulong row;    // elements behind the indexed axes
};

#if MODE == 0
inline T combine(T, T update) { return update; }
#elif KIND == 2
inline T combine(T x, T update) { return MODE == 1 || MODE == 4 ? x || update : x && update; }
#elif MODE == 1
inline T combine(T x, T update) { return T(WIDE(x) + WIDE(update)); }
#elif MODE == 2 && KIND == 3
inline T combine(T x, T y) { return T(x.x * y.x - x.y * y.y, x.x * y.y + x.y * y.x); }
#elif MODE == 2
inline T combine(T x, T update) { return T(WIDE(x) * WIDE(update)); }
#else
// NaN propagates.
inline T combine(T x, T update) {
  const bool better = MODE == 3 ? update < x : update > x;
  return better || update != update ? update : x;
}
#endif

inline bool has_failed(device atomic_uint* fault) {
  return atomic_load_explicit(fault, memory_order_relaxed) != 0xffffffff;
}

#if defined(WALKED)
// A thread a position of the output's slices goes through all tuples in their order. `outer_dims`
// and `row_dims` walk over output and updates, `tuple_dims` over the updates of one position.
kernel void scatter(device T* out [[buffer(0)]], device const T* updates [[buffer(1)]],
                    device const long* offsets [[buffer(2)]],
                    constant long* outer_dims [[buffer(3)]], constant long* row_dims [[buffer(4)]],
                    constant long* tuple_dims [[buffer(5)]], constant Scatter& p [[buffer(6)]],
                    device atomic_uint* fault [[buffer(7)]], uint3 at [[thread_position_in_grid]],
                    uint3 grid [[threads_per_grid]]) {
  const ulong position = flat_position(at, grid);
  if (position >= p.size || has_failed(fault)) return;
  const INDEX row = INDEX(p.row), outer = INDEX(position) / row;
  const INDEX inner = INDEX(position) - outer * row;
  device T* to = out + walk(outer, outer_dims, 0) + walk(inner, row_dims, 0);
  device const T* from = updates + walk(outer, outer_dims, 1) + walk(inner, row_dims, 1);
  for (INDEX t = 0; t < INDEX(p.count); ++t) {
    to[offsets[t]] = combine(to[offsets[t]], from[walk(t, tuple_dims, 0)]);
  }
}
#endif

#if defined(SORTED)
// `order` sorts the tuples by offset, equal ones in their order: the thread of the first of equals
// applies them all, for one position of the output's slices.
kernel void scatter_sorted(device T* out [[buffer(0)]], device const T* updates [[buffer(1)]],
                           device const long* offsets [[buffer(2)]],
                           constant long* outer_dims [[buffer(3)]],
                           constant long* row_dims [[buffer(4)]],
                           constant long* tuple_dims [[buffer(5)]],
                           constant Scatter& p [[buffer(6)]],
                           device atomic_uint* fault [[buffer(7)]],
                           device const long* order [[buffer(8)]],
                           uint3 at [[thread_position_in_grid]], uint3 grid [[threads_per_grid]]) {
  const ulong position = flat_position(at, grid);
  if (position >= p.size * p.count || has_failed(fault)) return;
  const INDEX row = INDEX(p.row), count = INDEX(p.count);
  const INDEX line = INDEX(position) / row;
  const INDEX inner = INDEX(position) - line * row;
  const INDEX outer = line / count;
  INDEX rank = line - outer * count;
  const long offset = offsets[order[rank]];
  if (rank > 0 && offsets[order[rank - 1]] == offset) return;
  device T* to = out + walk(outer, outer_dims, 0) + walk(inner, row_dims, 0) + offset;
  device const T* from = updates + walk(outer, outer_dims, 1) + walk(inner, row_dims, 1);
  T result = *to;
  for (; rank < count && offsets[order[rank]] == offset; ++rank) {
    result = combine(result, from[walk(INDEX(order[rank]), tuple_dims, 0)]);
  }
  *to = result;
}
#endif
