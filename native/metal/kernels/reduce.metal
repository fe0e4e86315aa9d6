// Reductions. The order in which elements are combined is fixed by their number alone:
//   - up to 8 one after the other;
//   - a block of 512: element i in lane i % 32, the lanes then combined in halves;
//   - a chunk of 8 blocks: these combined in halves;
//   - chunks: their results are reduced as elements are.
// Rows and columns differ in which threads do it. Macros: FUNCTION, and of types IN (as
// stored), VALUE (as computed), OUT; LOWEST (no better value exists), MASK (of what makes
// words true); IN_PARTS and OUT_PARTS where results of chunks are read or written.

#define SUM 1
#define PROD 2
#define MAX 3
#define MIN 4
#define ALL 5
#define ANY 6
#define ARGMAX 7
#define ARGMIN 8

#if FUNCTION == ARGMAX || FUNCTION == ARGMIN
struct Part {
  VALUE value;
  long index;
};
#else
typedef VALUE Part;
#endif

#if FUNCTION == SUM
// -0.0 keeps a sum of negative zeros negative.
inline Part identity() { return VALUE(ZERO); }
inline Part combine(Part a, Part b) { return a + b; }
inline Part empty() { return VALUE(0); }
#elif FUNCTION == PROD
inline float multiply(float a, float b) { return a * b; }
inline ulong multiply(ulong a, ulong b) { return a * b; }
inline float2 multiply(float2 a, float2 b) {
  return float2(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x);
}
inline Part identity() { return VALUE(ONE); }
inline Part combine(Part a, Part b) { return multiply(a, b); }
inline Part empty() { return identity(); }
#elif FUNCTION == MAX || FUNCTION == MIN
inline bool better(VALUE b, VALUE a) { return FUNCTION == MAX ? b > a : b < a; }
inline Part identity() { return LOWEST; }
// A NaN takes over, and nothing is better than it afterwards.
inline Part combine(Part a, Part b) { return better(b, a) || b != b ? b : a; }
inline Part empty() { return identity(); }
#elif FUNCTION == ALL || FUNCTION == ANY
inline Part identity() { return FUNCTION == ALL ? 1u : 0u; }
inline Part combine(Part a, Part b) { return FUNCTION == ALL ? a & b : a | b; }
inline Part empty() { return identity(); }
#else
inline bool better(VALUE b, VALUE a) { return FUNCTION == ARGMAX ? b > a : b < a; }
inline Part identity() { return Part{LOWEST, 0x7fffffffffffffffl}; }
// The first NaN, or else the first of the best.
inline Part combine(Part a, Part b) {
  const bool a_nan = a.value != a.value, b_nan = b.value != b.value;
  const bool equal = a.value == b.value || (a_nan && b_nan);
  const bool take = equal ? b.index < a.index : b_nan || (!a_nan && better(b.value, a.value));
  return take ? b : a;
}
inline Part empty() { return identity(); }
inline Part shuffle_down(Part v, ushort delta) {
  return Part{shuffle_down(v.value, delta), shuffle_down(v.index, delta)};
}
#endif

#ifdef IN_PARTS
typedef Part Element;
inline Part load(Element v, long) { return v; }
#else
typedef IN Element;
#if FUNCTION == ALL || FUNCTION == ANY
inline Part load(Element v, long) { return (v & IN(MASK)) != 0 ? 1u : 0u; }
#elif FUNCTION == ARGMAX || FUNCTION == ARGMIN
inline Part load(Element v, long index) { return Part{VALUE(v), index}; }
#else
// Signed integers are extended on their way to ulong.
inline Part load(Element v, long) { return VALUE(v); }
#endif
#endif

#ifdef OUT_PARTS
typedef Part Result;
inline Result finish(Part v) { return v; }
#else
typedef OUT Result;
#if FUNCTION == ALL || FUNCTION == ANY
inline Result finish(Part v) { return v != 0; }
#elif FUNCTION == ARGMAX || FUNCTION == ARGMIN
inline Result finish(Part v) { return v.index; }
#else
inline Result finish(Part v) { return OUT(v); }
#endif
#endif

constant int block_length = 512;
constant int chunk_length = 4096;

struct Reduction {
  long n, stride;                                          // of the reduced axis
  long outer;                                              // results
  long chunks;                                             // a result
  long columns, column_tiles, column_stride, column_step;  // the last: from result to result
};

// A thread for each result, elements in order.
kernel void reduce_in_order(device const Element* x [[buffer(0)]], device Result* out [[buffer(1)]],
                            constant long* dims [[buffer(2)]], constant Reduction& r [[buffer(3)]],
                            uint3 at [[thread_position_in_grid]], uint3 grid [[threads_per_grid]]) {
  const ulong row = flat_position(at, grid);
  if (row >= ulong(r.outer)) return;
  device const Element* from = x + walk(row, dims, 1);
  Part value = r.n == 0 ? empty() : identity();
  for (long i = 0; i < r.n; ++i) value = combine(value, load(from[i * r.stride], i));
  out[row] = finish(value);
}

inline Part combine_lanes(Part value) {
  for (ushort delta = 16; delta > 0; delta /= 2) {
    value = combine(value, shuffle_down(value, delta));
  }
  return value;
}

// Elements [first, first + n) of a row, n at most a block; the result is in lane 0.
inline Part reduce_block(device const Element* x, long stride, long first, long n, uint lane) {
  Part value = identity();
  for (long i = first + long(lane); i < first + n; i += 32) {
    value = combine(value, load(x[i * stride], i));
  }
  return combine_lanes(value);
}

// A simdgroup for each row of one block.
kernel void reduce_short_rows(device const Element* x [[buffer(0)]],
                              device Result* out [[buffer(1)]], constant long* dims [[buffer(2)]],
                              constant Reduction& r [[buffer(3)]],
                              uint3 group [[threadgroup_position_in_grid]],
                              uint3 groups [[threadgroups_per_grid]],
                              uint lane [[thread_index_in_simdgroup]],
                              uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  const ulong row = flat_position(group, groups) * 8 + simdgroup;
  if (row >= ulong(r.outer)) return;
  const Part value = reduce_block(x + walk(row, dims, 1), r.stride, 0, r.n, lane);
  if (lane == 0) out[row] = finish(value);
}

// A threadgroup for each chunk of each row, a simdgroup for each block.
kernel void reduce_rows(device const Element* x [[buffer(0)]], device Result* out [[buffer(1)]],
                        constant long* dims [[buffer(2)]], constant Reduction& r [[buffer(3)]],
                        uint3 group [[threadgroup_position_in_grid]],
                        uint3 groups [[threadgroups_per_grid]],
                        uint lane [[thread_index_in_simdgroup]],
                        uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup Part parts[8];
  const ulong number = flat_position(group, groups);
  if (number >= ulong(r.outer * r.chunks)) return;
  const ulong row = number / ulong(r.chunks);
  const long first =
      long(number - row * ulong(r.chunks)) * chunk_length + long(simdgroup) * block_length;
  const long count = clamp(r.n - first, long(0), long(block_length));
  const Part value = reduce_block(x + walk(row, dims, 1), r.stride, first, count, lane);
  if (lane == 0) parts[simdgroup] = value;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  for (uint half_width = 4; half_width > 0; half_width /= 2) {
    if (lane == 0 && simdgroup < half_width) {
      parts[simdgroup] = combine(parts[simdgroup], parts[simdgroup + half_width]);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  if (lane == 0 && simdgroup == 0) out[number] = finish(parts[0]);
}

// 32 columns a threadgroup, where x is denser along them than along the reduced axis: thread
// (c, s) has lanes s, s + 8, s + 16 and s + 24 of column c.
kernel void reduce_columns(device const Element* x [[buffer(0)]], device Result* out [[buffer(1)]],
                           constant long* dims [[buffer(2)]], constant Reduction& r [[buffer(3)]],
                           uint3 group [[threadgroup_position_in_grid]],
                           uint3 groups [[threadgroups_per_grid]],
                           uint3 thread_at [[thread_position_in_threadgroup]]) {
  threadgroup Part lanes[8][32];
  threadgroup Part blocks[8][32];
  const ulong number = flat_position(group, groups);
  const ulong rest = number / ulong(r.chunks);
  const long chunk = long(number - rest * ulong(r.chunks));
  const ulong outer = rest / ulong(r.column_tiles);
  if (long(outer) * r.columns >= r.outer) return;
  const uint c = thread_at.x, s = thread_at.y;
  const long column = long(rest - outer * ulong(r.column_tiles)) * 32 + long(c);
  const bool inside = column < r.columns;
  device const Element* from = x + walk(outer, dims, 1) + column * r.column_stride;
  const long first = chunk * chunk_length;
  const long end = min(r.n, first + chunk_length);
  if (s == 0) {
    for (int b = 0; b < 8; ++b) blocks[b][c] = identity();
  }
  for (int b = 0; first + b * block_length < end; ++b) {
    const long start = first + b * block_length;
    const long stop = min(end, start + block_length);
    Part part[4];
    for (int q = 0; q < 4; ++q) {
      part[q] = identity();
      if (!inside) continue;
      for (long i = start + long(s) + 8 * q; i < stop; i += 32) {
        part[q] = combine(part[q], load(from[i * r.stride], i));
      }
    }
    lanes[s][c] = combine(combine(part[0], part[2]), combine(part[1], part[3]));
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint half_width = 4; half_width > 0; half_width /= 2) {
      if (s < half_width) lanes[s][c] = combine(lanes[s][c], lanes[s + half_width][c]);
      threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    if (s == 0) blocks[b][c] = lanes[0][c];
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  if (s != 0 || !inside) return;
  for (int half_width = 4; half_width > 0; half_width /= 2) {
    for (int b = 0; b < half_width; ++b) {
      blocks[b][c] = combine(blocks[b][c], blocks[b + half_width][c]);
    }
  }
  const long place = walk(outer, dims, 0) + column * r.column_step;
  out[place * r.chunks + chunk] = finish(blocks[0][c]);
}

#if FUNCTION == PROD
// A simdgroup for each row: elements come 32 at a time, but are multiplied in order.
kernel void reduce_ordered_rows(device const Element* x [[buffer(0)]],
                                device Result* out [[buffer(1)]], constant long* dims [[buffer(2)]],
                                constant Reduction& r [[buffer(3)]],
                                uint3 group [[threadgroup_position_in_grid]],
                                uint3 groups [[threadgroups_per_grid]],
                                uint lane [[thread_index_in_simdgroup]],
                                uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  const ulong row = flat_position(group, groups) * 8 + simdgroup;
  if (row >= ulong(r.outer)) return;
  device const Element* from = x + walk(row, dims, 1);
  Part value = identity();
  for (long first = 0; first < r.n; first += 32) {
    const long i = first + long(lane);
    const Part mine = i < r.n ? load(from[i * r.stride], i) : identity();
    const ushort count = ushort(min(r.n - first, long(32)));
    for (ushort k = 0; k < count; ++k) value = combine(value, lane_value(mine, k));
  }
  if (lane == 0) out[row] = finish(value);
}
#endif
