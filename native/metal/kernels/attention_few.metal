// Attention of one query: a threadgroup a query and head, whose simdgroups go through the keys side
// by side, each with a softmax of its own that is joined in the end. Used where queries are few.
//
// Q, K, V, OUT: the types of the operands. D, DV: head sizes. LANES: lanes that share a key, so
// that a simdgroup looks at 32 / LANES keys at a time. SIMDGROUPS: a threadgroup. SLICE: features
// of the values that one threadgroup makes. FOURS: 1 where features can be read by fours.
// MASK: its type, where there is one; MASK_IS_BOOL. VALID: whether the number of keys is given.

constant constexpr uint fours = (D + 4 * LANES - 1) / (4 * LANES);  // of a key, a lane
constant constexpr uint value_fours = (SLICE + 4 * LANES - 1) / (4 * LANES);
constant constexpr uint keys_at_once = 32 / LANES;

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
  uint splits;  // parts that the keys are cut into, whose results are joined by `join`
};

// Four features from number `first` on, 0 where there are none.
template <typename T>
inline float4 four_of(device const T* row, uint first, uint size, long stride) {
#if FOURS
  if (first + 4 <= size) return float4(*(device const vec<T, 4>*)(row + first));
#endif
  float4 result = 0;
  for (uint e = 0; e < 4; ++e) {
    if (first + e < size) result[e] = float(row[long(first + e) * stride]);
  }
  return result;
}

// exp(x - largest), where a largest of -inf stands for nothing seen so far.
inline float weight_of(float x, float largest) {
  return exp(x - (largest == -INFINITY ? 0.0f : largest));
}
// By what sums made with `before` as the largest score are to be multiplied.
inline float correction_of(float before, float after) {
  return before == -INFINITY ? 0.0f : before == after ? 1.0f : exp(before - after);
}
inline float4 corrected(float4 sum, float correction) {
  return correction == 0.0f ? float4(0) : sum * correction;
}

#if defined(ATTEND)
// `out`: the result, or where keys are split partial sums, and `partials` their largest score and
// total.
kernel void attend(device OUT* out [[buffer(0)]], device const Q* q [[buffer(1)]],
                   device const K* k [[buffer(2)]], device const V* v [[buffer(3)]],
                   constant Attention& p [[buffer(4)]],
#if defined(MASK)
                   device const MASK* mask [[buffer(5)]],
#endif
#if VALID
                   device const long* valid [[buffer(6)]], device atomic_uint* fault [[buffer(7)]],
#endif
#if SPLIT
                   device float2* partials [[buffer(8)]],
#endif
                   uint3 group [[threadgroup_position_in_grid]],
                   uint3 groups [[threadgroups_per_grid]],
                   uint thread_index [[thread_index_in_threadgroup]],
                   uint simdgroup [[simdgroup_index_in_threadgroup]],
                   uint lane [[thread_index_in_simdgroup]]) {
  threadgroup float sums[SIMDGROUPS * SLICE];
  threadgroup float largests[SIMDGROUPS];
  threadgroup float totals[SIMDGROUPS];

  // group.x: queries of all heads; group.y: parts of the keys; group.z: slices of the values.
  const ulong query = ulong(group.x);
  const long i = long(query % ulong(p.queries));
  const long head = long(query / ulong(p.queries));
  const long h = head % p.heads, b = head / p.heads, hk = h / p.group;
  long keys = p.keys;
#if VALID
  keys = valid[0];
  if (keys < 0 || keys > p.keys) {
    if (thread_index == 0) raise_fault(fault, 0);
    return;
  }
#endif
  const long visible = p.causal ? clamp(i + keys - p.queries + 1, long(0), keys) : keys;
  uint begin = 0, end = uint(visible);
#if SPLIT
  const uint part = uint((visible + p.splits - 1) / p.splits);
  begin = min(part * group.y, end);
  end = min(begin + part, end);
#endif

  const uint slot = lane / LANES, c = lane % LANES;
  device const Q* query_row = q + b * p.q[0] + h * p.q[1] + i * p.q[2];
  device const K* key_rows = k + b * p.k[0] + hk * p.k[1];
  const uint slice = group.z * SLICE, width = min(uint(SLICE), uint(DV) - slice);
  device const V* value_rows = v + b * p.v[0] + hk * p.v[1] + long(slice) * p.v[3];
#if defined(MASK)
  device const MASK* mask_row = mask + b * p.mask[0] + h * p.mask[1] + i * p.mask[2];
#endif

  float4 features[fours + (fours == 0)];
  for (uint n = 0; n < fours; ++n) features[n] = four_of(query_row, 4 * (n * LANES + c), D, p.q[3]);
  float4 sum[value_fours + (value_fours == 0)];
  for (uint n = 0; n < value_fours; ++n) sum[n] = 0;
  float largest = -INFINITY, total = 0;  // of this slot: the lanes that share its keys

  const uint step = keys_at_once * SIMDGROUPS;
  for (uint first = begin + simdgroup * keys_at_once; first < end; first += step) {
    const uint j = first + slot;
    const bool seen = j < end;
    const long row = long(seen ? j : first);  // a row that is there, for lanes without a key
    float4 products = 0;
    for (uint n = 0; n < fours; ++n) {
      products = fma(features[n], four_of(key_rows + row * p.k[2], 4 * (n * LANES + c), D, p.k[3]),
                     products);
    }
    float score = (products.x + products.y) + (products.z + products.w);
    for (uint distance = 1; distance < LANES; distance *= 2) {
      score += simd_shuffle_xor(score, ushort(distance));
    }
    score *= p.scale;
#if defined(MASK)
#if MASK_IS_BOOL
    score = mask_row[row * p.mask[3]] ? score : -INFINITY;
#else
    score += float(mask_row[row * p.mask[3]]);
#endif
#endif
    if (!seen) continue;
    const float after = score > largest ? score : largest;
    const float correction = correction_of(largest, after);
    const float weight = weight_of(score, after);
    largest = after;
    total = (total == 0.0f ? 0.0f : total * correction) + weight;
    for (uint n = 0; n < value_fours; ++n) {
      const float4 value = four_of(value_rows + row * p.v[2], 4 * (n * LANES + c), width, p.v[3]);
      sum[n] = fma(float4(weight), value, corrected(sum[n], correction));
    }
  }

  // The slots of a simdgroup.
  for (uint distance = LANES; distance < 32; distance *= 2) {
    const float other = simd_shuffle_xor(largest, ushort(distance));
    const float after = other > largest ? other : largest;
    const float correction = correction_of(largest, after);
    largest = after;
    total = total == 0.0f ? 0.0f : total * correction;
    total += simd_shuffle_xor(total, ushort(distance));
    for (uint n = 0; n < value_fours; ++n) {
      float4 mine = corrected(sum[n], correction);
      for (uint e = 0; e < 4; ++e) mine[e] += simd_shuffle_xor(mine[e], ushort(distance));
      sum[n] = mine;
    }
  }
  // The simdgroups.
  if (slot == 0) {
    for (uint n = 0; n < value_fours; ++n) {
      for (uint e = 0; e < 4; ++e) {
        const uint feature = 4 * (n * LANES + c) + e;
        if (feature < width) sums[simdgroup * SLICE + feature] = sum[n][e];
      }
    }
  }
  if (lane == 0) {
    largests[simdgroup] = largest;
    totals[simdgroup] = total;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  for (uint s = 0; s < SIMDGROUPS; ++s) largest = largests[s] > largest ? largests[s] : largest;
  total = 0;
  float corrections[SIMDGROUPS];
  for (uint s = 0; s < SIMDGROUPS; ++s) {
    corrections[s] = correction_of(largests[s], largest);
    total += totals[s] == 0.0f ? 0.0f : totals[s] * corrections[s];
  }
#if SPLIT
  const ulong entry = query * p.splits + group.y;
  if (thread_index == 0 && slice == 0) partials[entry] = float2(largest, total);
#else
  const ulong entry = query;
#endif
  for (uint feature = thread_index; feature < width; feature += 32 * SIMDGROUPS) {
    float result = 0;
    for (uint s = 0; s < SIMDGROUPS; ++s) {
      if (corrections[s] != 0.0f) result = fma(sums[s * SLICE + feature], corrections[s], result);
    }
#if !SPLIT
    result = total == 0.0f ? 0.0f : result / total;
#endif
    out[entry * DV + slice + feature] = OUT(result);
  }
}
#endif

#if defined(JOIN)
// The parts of the keys, a thread a feature of the result.
kernel void join(device OUT* out [[buffer(0)]], device const float* sums [[buffer(1)]],
                 device const float2* partials [[buffer(2)]], constant ulong& size [[buffer(3)]],
                 constant uint& splits [[buffer(4)]], uint3 at [[thread_position_in_grid]],
                 uint3 grid [[threads_per_grid]]) {
  const ulong position = flat_position(at, grid);
  if (position >= size) return;
  const ulong query = position / DV, feature = position % DV;
  float largest = -INFINITY;
  for (uint s = 0; s < splits; ++s) {
    const float other = partials[query * splits + s].x;
    largest = other > largest ? other : largest;
  }
  float total = 0, result = 0;
  for (uint s = 0; s < splits; ++s) {
    const float2 partial = partials[query * splits + s];
    const float correction = correction_of(partial.x, largest);
    total += partial.y == 0.0f ? 0.0f : partial.y * correction;
    if (correction != 0.0f)
      result = fma(sums[(query * splits + s) * DV + feature], correction, result);
  }
  out[position] = OUT(total == 0.0f ? 0.0f : result / total);
}
#endif
