// Attention of many queries: a threadgroup takes tiles of 8 queries a simdgroup through tiles of 32
// keys. A lane scores one key for 8 queries, then makes some features of their results; a matrix of
// scores stands nowhere. Plain multiplications: through simdgroup matrices the corrections of the
// softmax would carry a NaN of one query to others.
//
// Q, K, V, OUT: the types of the operands. D, DV: head sizes. SIMDGROUPS: a threadgroup. SLICE:
// features of the values that one threadgroup makes, a multiple of 32. MASK: its type, where there
// is one; MASK_IS_BOOL. VALID: whether the number of keys is given.

constant constexpr uint tile_queries = 8 * SIMDGROUPS, tile_keys = 32;
constant constexpr uint chunk = 64;            // features that stand in threadgroup memory
constant constexpr uint pitch = chunk + 4;     // of keys: lanes read different banks
constant constexpr uint columns = SLICE / 32;  // features of the result a lane
constant constexpr uint threads = 32 * SIMDGROUPS;

struct Attention {
  long q[4];  // strides: batch, head, position, feature
  long k[4];
  long v[4];
  long mask[4];  // batch, head, query, key
  long heads;
  long group;  // heads that share keys and values
  long queries;
  long keys;
  float scale;
  uint causal;
  uint splits;
};

// Rows `first` to `first + count` of a matrix, features [from, from + chunk), to threadgroup
// memory; what is not there becomes 0. All threads take part.
template <typename T>
inline void load_tile(threadgroup float* tile, uint tile_pitch, device const T* rows,
                      long row_stride, long stride, uint count, uint height, uint from, uint size,
                      uint thread_index) {
  for (uint e = thread_index; e < height * chunk; e += threads) {
    const uint r = e / chunk, f = e % chunk;
    float value = 0;
    if (r < count && from + f < size) {
      value = float(rows[long(r) * row_stride + long(from + f) * stride]);
    }
    tile[r * tile_pitch + f] = value;
  }
}

kernel void attend(device OUT* out [[buffer(0)]], device const Q* q [[buffer(1)]],
                   device const K* k [[buffer(2)]], device const V* v [[buffer(3)]],
                   constant Attention& p [[buffer(4)]],
#if defined(MASK)
                   device const MASK* mask [[buffer(5)]],
#endif
#if VALID
                   device const long* valid [[buffer(6)]], device atomic_uint* fault [[buffer(7)]],
#endif
                   uint3 group [[threadgroup_position_in_grid]],
                   uint3 groups [[threadgroups_per_grid]],
                   uint thread_index [[thread_index_in_threadgroup]],
                   uint simdgroup [[simdgroup_index_in_threadgroup]],
                   uint lane [[thread_index_in_simdgroup]]) {
  threadgroup float query_tile[tile_queries * chunk];
  threadgroup float tile[tile_keys * pitch];  // of keys, then of values
  threadgroup float weights[tile_queries * tile_keys];

  // group.x: batch and head; group.y: tiles of queries, those that see most keys first; group.z:
  // slices of the values.
  const long h = long(group.x) % p.heads, b = long(group.x) / p.heads, hk = h / p.group;
  const long first_query = long(groups.y - 1 - group.y) * tile_queries;
  const uint rows = uint(min(long(tile_queries), p.queries - first_query));
  long keys = p.keys;
#if VALID
  keys = valid[0];
  if (keys < 0 || keys > p.keys) {
    if (thread_index == 0) raise_fault(fault, 0);
    return;
  }
#endif
  device const Q* queries = q + b * p.q[0] + h * p.q[1] + first_query * p.q[2];
  device const K* key_rows = k + b * p.k[0] + hk * p.k[1];
  const uint slice = group.z * SLICE;
  device const V* value_rows = v + b * p.v[0] + hk * p.v[1];
#if defined(MASK)
  device const MASK* mask_rows = mask + b * p.mask[0] + h * p.mask[1];
#endif

  // Of this simdgroup's 8 queries; lanes hold the same.
  const uint own = 8 * simdgroup;
  long visible[8];
  float largest[8], total[8], sums[8][columns];
  for (uint r = 0; r < 8; ++r) {
    const long i = first_query + own + r;
    visible[r] = p.causal ? clamp(i + keys - p.queries + 1, long(0), keys) : keys;
    if (own + r >= rows) visible[r] = 0;
    largest[r] = -INFINITY;
    total[r] = 0;
    for (uint n = 0; n < columns; ++n) sums[r][n] = 0;
  }
  const long last_query = first_query + rows - 1;
  const long reach = p.causal ? clamp(last_query + keys - p.queries + 1, long(0), keys) : keys;

  if (D <= chunk) {
    load_tile(query_tile, chunk, queries, p.q[2], p.q[3], rows, tile_queries, 0, D, thread_index);
  }
  for (long first = 0; first < reach; first += tile_keys) {
    const uint count = uint(min(long(tile_keys), reach - first));
    float scores[8];
    for (uint r = 0; r < 8; ++r) scores[r] = 0;
    for (uint from = 0; from < D; from += chunk) {
      threadgroup_barrier(mem_flags::mem_threadgroup);
      if (D > chunk) {
        load_tile(query_tile, chunk, queries, p.q[2], p.q[3], rows, tile_queries, from, D,
                  thread_index);
      }
      load_tile(tile, pitch, key_rows + first * p.k[2], p.k[2], p.k[3], count, tile_keys, from, D,
                thread_index);
      threadgroup_barrier(mem_flags::mem_threadgroup);
      for (uint f = 0; f < min(chunk, D - from); f += 4) {
        const float4 key = *(threadgroup const float4*)(tile + lane * pitch + f);
        for (uint r = 0; r < 8; ++r) {
          const float4 x = *(threadgroup const float4*)(query_tile + (own + r) * chunk + f);
          scores[r] = fma(x.x, key.x, fma(x.y, key.y, fma(x.z, key.z, fma(x.w, key.w, scores[r]))));
        }
      }
    }

    // The softmax, a row at a time; a key that a query doesn't see weighs nothing.
    const long j = first + lane;
    for (uint r = 0; r < 8; ++r) {
      const bool seen = j < visible[r];
      float score = scores[r] * p.scale;
#if defined(MASK)
      if (seen) {
        const auto value = mask_rows[(first_query + own + r) * p.mask[2] + j * p.mask[3]];
#if MASK_IS_BOOL
        score = value ? score : -INFINITY;
#else
        score += float(value);
#endif
      }
#endif
      const bool counts = seen && score > -INFINITY;  // simd_max says nothing of NaN
      const float after = max(largest[r], simd_max(counts ? score : -INFINITY));
      const float correction = largest[r] == -INFINITY ? 0.0f
                               : largest[r] == after   ? 1.0f
                                                       : exp(largest[r] - after);
      const float weight = seen ? exp(score - (after == -INFINITY ? 0.0f : after)) : 0.0f;
      largest[r] = after;
      total[r] = (total[r] == 0.0f ? 0.0f : total[r] * correction) + simd_sum(weight);
      weights[(own + r) * tile_keys + lane] = weight;
      for (uint n = 0; n < columns; ++n) {
        sums[r][n] = correction == 0.0f ? 0.0f : sums[r][n] * correction;
      }
    }

    for (uint from = 0; from < SLICE; from += chunk) {
      threadgroup_barrier(mem_flags::mem_threadgroup);
      load_tile(tile, pitch, value_rows + first * p.v[2], p.v[2], p.v[3], count, tile_keys,
                slice + from, DV, thread_index);
      threadgroup_barrier(mem_flags::mem_threadgroup);
      for (uint n = 0; n < min(chunk, SLICE - from) / 32; ++n) {
        for (uint key = 0; key < tile_keys; key += 4) {
          const float v0 = tile[key * pitch + 32 * n + lane];
          const float v1 = tile[(key + 1) * pitch + 32 * n + lane];
          const float v2 = tile[(key + 2) * pitch + 32 * n + lane];
          const float v3 = tile[(key + 3) * pitch + 32 * n + lane];
          for (uint r = 0; r < 8; ++r) {
            const float4 w = *(threadgroup const float4*)(weights + (own + r) * tile_keys + key);
            float sum = sums[r][from / 32 + n];
            sum = fma(w.x, v0, fma(w.y, v1, fma(w.z, v2, fma(w.w, v3, sum))));
            sums[r][from / 32 + n] = sum;
          }
        }
      }
    }
  }

  for (uint r = 0; r < 8; ++r) {
    if (own + r >= rows) break;
    const ulong at = (ulong(group.x) * p.queries + first_query + own + r) * DV + slice;
    for (uint n = 0; n < columns; ++n) {
      const uint feature = 32 * n + lane;
      if (slice + feature >= DV) break;
      out[at + feature] = OUT(total[r] == 0.0f ? 0.0f : sums[r][n] / total[r]);
    }
  }
}
