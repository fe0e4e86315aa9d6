// Softmax, logsumexp and norms of rows, a simdgroup or a threadgroup each. T is the type of
// elements, which are computed as float; ROW_THREADS (32 or 256) work on a row.

struct Rows {
  long n, stride;  // of a row
  long count;      // of rows
  long weight_stride, bias_stride;
  long parts;  // a row is cut into
  float eps;
};

constant int part_length = 8192;

// Neither infinite nor NaN.
inline bool float_is_bounded(float v) { return (as_type<uint>(v) & 0x7f800000u) != 0x7f800000u; }

// Each lane gets the same result, combined in the same order.
inline float lanes_sum(float v) {
  for (ushort distance = 16; distance > 0; distance /= 2) v += simd_shuffle_xor(v, distance);
  return v;
}
// NaN is passed over.
inline float larger(float a, float b) { return b > a ? b : a; }
inline float lanes_max(float v) {
  for (ushort distance = 16; distance > 0; distance /= 2) {
    v = larger(v, simd_shuffle_xor(v, distance));
  }
  return v;
}

#if ROW_THREADS == 32
#define ROWS_PER_GROUP 8
inline float row_sum(float v, threadgroup float*, uint) { return lanes_sum(v); }
inline float row_max(float v, threadgroup float*, uint) { return lanes_max(v); }
#else
#define ROWS_PER_GROUP 1
// Over 8 simdgroups; all threads take part.
inline float row_sum(float v, threadgroup float* shared, uint rank) {
  v = lanes_sum(v);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (rank % 32 == 0) shared[rank / 32] = v;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  float sum = 0.0f;
  for (int i = 0; i < 8; ++i) sum += shared[i];
  return sum;
}
inline float row_max(float v, threadgroup float* shared, uint rank) {
  v = lanes_max(v);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (rank % 32 == 0) shared[rank / 32] = v;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  float best = shared[0];
  for (int i = 1; i < 8; ++i) best = larger(best, shared[i]);
  return best;
}
#endif

// The number of a thread's row, and of the thread among those of the row.
struct Place {
  ulong row;
  uint rank;
};
inline Place place_of(uint3 group, uint3 groups, uint rank) {
  const ulong number = flat_position(group, groups);
  return ROW_THREADS == 32 ? Place{number * 8 + rank / 32, rank % 32} : Place{number, rank};
}

kernel void softmax(device const T* x [[buffer(0)]], device T* out [[buffer(1)]],
                    constant long* dims [[buffer(4)]], constant Rows& rows [[buffer(5)]],
                    uint3 group [[threadgroup_position_in_grid]],
                    uint3 groups [[threadgroups_per_grid]],
                    uint index [[thread_index_in_threadgroup]]) {
  threadgroup float shared[8];
  const Place at = place_of(group, groups, index);
  if (at.row >= ulong(rows.count)) return;
  device const T* from = x + walk(at.row, dims, 0);
  device T* to = out + at.row * ulong(rows.n);
  float best = -INFINITY;
  for (long i = at.rank; i < rows.n; i += ROW_THREADS) {
    best = larger(best, float(from[i * rows.stride]));
  }
  best = row_max(best, shared, at.rank);
  float sum = 0.0f;
  for (long i = at.rank; i < rows.n; i += ROW_THREADS) {
    sum += precise::exp(float(from[i * rows.stride]) - best);
  }
  const float factor = 1.0f / row_sum(sum, shared, at.rank);
  for (long i = at.rank; i < rows.n; i += ROW_THREADS) {
    to[i] = T(precise::exp(float(from[i * rows.stride]) - best) * factor);
  }
}

// An infinite maximum would give inf - inf; without a shift the sum is 0 or inf, as it should.
inline float shift_of(float best) { return float_is_bounded(best) ? best : 0.0f; }

kernel void logsumexp(device const T* x [[buffer(0)]], device T* out [[buffer(1)]],
                      constant long* dims [[buffer(4)]], constant Rows& rows [[buffer(5)]],
                      uint3 group [[threadgroup_position_in_grid]],
                      uint3 groups [[threadgroups_per_grid]],
                      uint index [[thread_index_in_threadgroup]]) {
  threadgroup float shared[8];
  const Place at = place_of(group, groups, index);
  if (at.row >= ulong(rows.count)) return;
  device const T* from = x + walk(at.row, dims, 0);
  float best = -INFINITY;
  for (long i = at.rank; i < rows.n; i += ROW_THREADS) {
    best = larger(best, float(from[i * rows.stride]));
  }
  const float shift = shift_of(row_max(best, shared, at.rank));
  float sum = 0.0f;
  for (long i = at.rank; i < rows.n; i += ROW_THREADS) {
    sum += precise::exp(float(from[i * rows.stride]) - shift);
  }
  sum = row_sum(sum, shared, at.rank);
  if (at.rank == 0) out[at.row] = T(shift + precise::log(sum));
}

kernel void rms_norm(device const T* x [[buffer(0)]], device T* out [[buffer(1)]],
                     device const T* weight [[buffer(2)]], constant long* dims [[buffer(4)]],
                     constant Rows& rows [[buffer(5)]],
                     uint3 group [[threadgroup_position_in_grid]],
                     uint3 groups [[threadgroups_per_grid]],
                     uint index [[thread_index_in_threadgroup]]) {
  threadgroup float shared[8];
  const Place at = place_of(group, groups, index);
  if (at.row >= ulong(rows.count)) return;
  device const T* from = x + walk(at.row, dims, 0);
  device T* to = out + at.row * ulong(rows.n);
  float sum = 0.0f;
  for (long i = at.rank; i < rows.n; i += ROW_THREADS) {
    const float v = float(from[i * rows.stride]);
    sum = fma(v, v, sum);
  }
  const float mean = row_sum(sum, shared, at.rank) / float(rows.n);
  const float factor = 1.0f / precise::sqrt(mean + rows.eps);
  for (long i = at.rank; i < rows.n; i += ROW_THREADS) {
    to[i] = T(float(from[i * rows.stride]) * factor * float(weight[i * rows.weight_stride]));
  }
}

// Around the first element, so that a large common offset costs no digits.
kernel void layer_norm(device const T* x [[buffer(0)]], device T* out [[buffer(1)]],
                       device const T* weight [[buffer(2)]], device const T* bias [[buffer(3)]],
                       constant long* dims [[buffer(4)]], constant Rows& rows [[buffer(5)]],
                       uint3 group [[threadgroup_position_in_grid]],
                       uint3 groups [[threadgroups_per_grid]],
                       uint index [[thread_index_in_threadgroup]]) {
  threadgroup float shared[8];
  const Place at = place_of(group, groups, index);
  if (at.row >= ulong(rows.count)) return;
  device const T* from = x + walk(at.row, dims, 0);
  device T* to = out + at.row * ulong(rows.n);
  const float first = float(from[0]);
  float sum = 0.0f;
  for (long i = at.rank; i < rows.n; i += ROW_THREADS) {
    sum += float(from[i * rows.stride]) - first;
  }
  const float mean = first + row_sum(sum, shared, at.rank) / float(rows.n);
  float squares = 0.0f;
  for (long i = at.rank; i < rows.n; i += ROW_THREADS) {
    const float v = float(from[i * rows.stride]) - mean;
    squares = fma(v, v, squares);
  }
  const float variance = row_sum(squares, shared, at.rank) / float(rows.n);
  const float factor = 1.0f / precise::sqrt(variance + rows.eps);
  for (long i = at.rank; i < rows.n; i += ROW_THREADS) {
    to[i] = T(fma((float(from[i * rows.stride]) - mean) * factor,
                  float(weight[i * rows.weight_stride]), float(bias[i * rows.bias_stride])));
  }
}

// Few long rows, in three steps. First the maximum of each part and the sum of exponentials
// relative to it (x, y).
kernel void exponential_parts(device const T* x [[buffer(0)]], device float2* parts [[buffer(1)]],
                              constant long* dims [[buffer(4)]], constant Rows& rows [[buffer(5)]],
                              uint3 group [[threadgroup_position_in_grid]],
                              uint3 groups [[threadgroups_per_grid]],
                              uint index [[thread_index_in_threadgroup]]) {
  threadgroup float shared[8];
  const ulong number = flat_position(group, groups);
  if (number >= ulong(rows.count * rows.parts)) return;
  const ulong row = number / ulong(rows.parts);
  const long first = long(number - row * ulong(rows.parts)) * part_length;
  const long end = min(rows.n, first + long(part_length));
  device const T* from = x + walk(row, dims, 0);
  float best = -INFINITY;
  for (long i = first + long(index); i < end; i += ROW_THREADS) {
    best = larger(best, float(from[i * rows.stride]));
  }
  best = row_max(best, shared, index);
  const float shift = shift_of(best);
  float sum = 0.0f;
  for (long i = first + long(index); i < end; i += ROW_THREADS) {
    sum += precise::exp(float(from[i * rows.stride]) - shift);
  }
  sum = row_sum(sum, shared, index);
  if (index == 0) parts[number] = float2(best, sum);
}

// The maximum of each row and the sum of exponentials relative to its shift.
inline float2 joined(device const float2* parts, ulong row, long count, threadgroup float* shared,
                     uint rank) {
  float best = -INFINITY;
  for (long i = rank; i < count; i += ROW_THREADS) {
    best = larger(best, parts[row * ulong(count) + ulong(i)].x);
  }
  best = row_max(best, shared, rank);
  float sum = 0.0f;
  for (long i = rank; i < count; i += ROW_THREADS) {
    const float2 part = parts[row * ulong(count) + ulong(i)];
    // Nothing times infinity would be NaN.
    if (part.y != 0.0f) sum += part.y * precise::exp(shift_of(part.x) - shift_of(best));
  }
  return float2(best, row_sum(sum, shared, rank));
}

kernel void softmax_totals(device const float2* parts [[buffer(0)]],
                           device float2* totals [[buffer(1)]], constant long* dims [[buffer(4)]],
                           constant Rows& rows [[buffer(5)]],
                           uint3 group [[threadgroup_position_in_grid]],
                           uint3 groups [[threadgroups_per_grid]],
                           uint index [[thread_index_in_threadgroup]]) {
  threadgroup float shared[8];
  const ulong row = flat_position(group, groups);
  if (row >= ulong(rows.count)) return;
  const float2 total = joined(parts, row, rows.parts, shared, index);
  // An infinite maximum leaves no number in the row.
  if (index == 0) totals[row] = float2(total.x, float_is_bounded(total.x) ? 1.0f / total.y : NAN);
}

kernel void logsumexp_totals(device const float2* parts [[buffer(0)]], device T* out [[buffer(1)]],
                             constant long* dims [[buffer(4)]], constant Rows& rows [[buffer(5)]],
                             uint3 group [[threadgroup_position_in_grid]],
                             uint3 groups [[threadgroups_per_grid]],
                             uint index [[thread_index_in_threadgroup]]) {
  threadgroup float shared[8];
  const ulong row = flat_position(group, groups);
  if (row >= ulong(rows.count)) return;
  const float2 total = joined(parts, row, rows.parts, shared, index);
  if (index == 0) out[row] = T(shift_of(total.x) + precise::log(total.y));
}

kernel void softmax_apply(device const T* x [[buffer(0)]], device T* out [[buffer(1)]],
                          device const float2* totals [[buffer(2)]],
                          constant long* dims [[buffer(4)]], constant Rows& rows [[buffer(5)]],
                          uint3 group [[threadgroup_position_in_grid]],
                          uint3 groups [[threadgroups_per_grid]],
                          uint index [[thread_index_in_threadgroup]]) {
  const ulong number = flat_position(group, groups);
  if (number >= ulong(rows.count * rows.parts)) return;
  const ulong row = number / ulong(rows.parts);
  const long first = long(number - row * ulong(rows.parts)) * part_length;
  const long end = min(rows.n, first + long(part_length));
  device const T* from = x + walk(row, dims, 0);
  const float2 total = totals[row];
  for (long i = first + long(index); i < end; i += ROW_THREADS) {
    out[row * ulong(rows.n) + ulong(i)] =
        T(precise::exp(float(from[i * rows.stride]) - total.x) * total.y);
  }
}
