// Products of batches of matrices. T: the type of the elements; ACC: of the sums.

struct Product {
  long a[2];  // strides: row, column
  long b[2];
  long m;
  long n;
  long k;
};

#if defined(TILE)
// TILE x TILE of the result by 4 simdgroups, a quarter each, in simdgroup matrices of float32.
// A_ALONG_K, B_ALONG_K: whether neighbours in memory are neighbours along k, so that threads that
// follow one another read what lies side by side.
constant constexpr uint depth = 16, threads = 128;
constant constexpr uint a_pitch = depth + 4, b_pitch = TILE + 4;
constant constexpr uint part = TILE / 2, blocks = part / 8;
constant constexpr uint a_size = TILE * a_pitch, b_size = depth * b_pitch;
constant constexpr uint result_size = 4 * 8 * (part + 4);
constant constexpr uint room = a_size + b_size > result_size ? a_size + b_size : result_size;

// `batch_dims` walks over the batch: operand 0 is a, 1 b.
kernel void multiply_tiles(device T* out [[buffer(0)]], device const T* a [[buffer(1)]],
                           device const T* b [[buffer(2)]], constant Product& p [[buffer(3)]],
                           constant long* batch_dims [[buffer(4)]],
                           uint3 group [[threadgroup_position_in_grid]],
                           uint thread_index [[thread_index_in_threadgroup]],
                           uint simdgroup [[simdgroup_index_in_threadgroup]],
                           uint lane [[thread_index_in_simdgroup]]) {
  threadgroup float memory[room];
  threadgroup float* a_tile = memory;           // TILE x depth
  threadgroup float* b_tile = memory + a_size;  // depth x TILE
  const long row = long(group.y) * TILE, column = long(group.x) * TILE;
  const uint rows = uint(min(long(TILE), p.m - row)), columns = uint(min(long(TILE), p.n - column));
  device const T* a_from = a + walk(group.z, batch_dims, 0) + row * p.a[0];
  device const T* b_from = b + walk(group.z, batch_dims, 1) + column * p.b[1];
  const uint first_row = simdgroup / 2 * part, first_column = simdgroup % 2 * part;

  simdgroup_float8x8 sums[blocks][blocks];
  for (uint i = 0; i < blocks; ++i) {
    for (uint j = 0; j < blocks; ++j) {
      sums[i][j] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
    }
  }
  for (long first = 0; first < p.k; first += depth) {
    const uint count = uint(min(long(depth), p.k - first));
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint e = thread_index; e < TILE * depth; e += threads) {
#if A_ALONG_K
      const uint i = e / depth, l = e % depth;
#else
      const uint i = e % TILE, l = e / TILE;
#endif
      a_tile[i * a_pitch + l] =
          i < rows && l < count ? float(a_from[long(i) * p.a[0] + (first + l) * p.a[1]]) : 0.0f;
    }
    for (uint e = thread_index; e < TILE * depth; e += threads) {
#if B_ALONG_K
      const uint j = e / depth, l = e % depth;
#else
      const uint j = e % TILE, l = e / TILE;
#endif
      b_tile[l * b_pitch + j] =
          j < columns && l < count ? float(b_from[(first + l) * p.b[0] + long(j) * p.b[1]]) : 0.0f;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint l = 0; l < depth; l += 8) {
      simdgroup_float8x8 left[blocks], right[blocks];
      for (uint i = 0; i < blocks; ++i) {
        simdgroup_load(left[i], a_tile + (first_row + 8 * i) * a_pitch + l, a_pitch);
      }
      for (uint j = 0; j < blocks; ++j) {
        simdgroup_load(right[j], b_tile + l * b_pitch + first_column + 8 * j, b_pitch);
      }
      for (uint i = 0; i < blocks; ++i) {
        for (uint j = 0; j < blocks; ++j) {
          simdgroup_multiply_accumulate(sums[i][j], left[i], right[j], sums[i][j]);
        }
      }
    }
  }
  // Eight rows at a time through threadgroup memory, each simdgroup in a place of its own.
  threadgroup_barrier(mem_flags::mem_threadgroup);
  threadgroup float* result = memory + simdgroup * 8 * (part + 4);
  device T* to = out + ulong(group.z) * ulong(p.m) * ulong(p.n) + row * p.n + column;
  for (uint i = 0; i < blocks; ++i) {
    for (uint j = 0; j < blocks; ++j) simdgroup_store(sums[i][j], result + 8 * j, part + 4);
    simdgroup_barrier(mem_flags::mem_threadgroup);
    for (uint e = lane; e < 8 * part; e += 32) {
      const uint r = first_row + 8 * i + e / part, c = first_column + e % part;
      if (r < rows && c < columns)
        to[long(r) * p.n + c] = T(result[e / part * (part + 4) + e % part]);
    }
    simdgroup_barrier(mem_flags::mem_threadgroup);
  }
}
#endif

#if defined(VECTORS)
// A few vectors times one matrix: out[v, j] = sum over k of x[v, k] * w[j, k]. p.a: strides of x
// (vector, k); p.b: of w (k, j); p.m vectors, p.n results each.
struct Place {
  long vector;  // strides of the output
  long result;
  ulong matrix;  // of the batch
};

#if defined(ALONG_K)
// Rows of w that are dense along k: a simdgroup makes ROWS results of VECTORS vectors.
kernel void multiply_vectors(device T* out [[buffer(0)]], device const T* x [[buffer(1)]],
                             device const T* w [[buffer(2)]], constant Product& p [[buffer(3)]],
                             constant long* batch_dims [[buffer(4)]],
                             constant Place& place [[buffer(5)]],
                             uint3 group [[threadgroup_position_in_grid]],
                             uint simdgroup [[simdgroup_index_in_threadgroup]],
                             uint lane [[thread_index_in_simdgroup]]) {
  const long first = (long(group.x) * SIMDGROUPS + simdgroup) * ROWS;
  const long vector = long(group.y) * VECTORS;
  if (first >= p.n) return;
  x += walk(group.z, batch_dims, 0);
  w += walk(group.z, batch_dims, 1);
  float sums[VECTORS][ROWS];
  for (uint v = 0; v < VECTORS; ++v) {
    for (uint r = 0; r < ROWS; ++r) sums[v][r] = 0;
  }
  device const T* rows[ROWS];
  for (uint r = 0; r < ROWS; ++r) rows[r] = w + min(first + r, p.n - 1) * p.b[1];
  device const T* vectors[VECTORS];
  for (uint v = 0; v < VECTORS; ++v) vectors[v] = x + min(vector + v, p.m - 1) * p.a[0];
#if FOURS
  const long fours = p.k / 4;
  for (long l = lane; l < fours; l += 32) {
    float4 values[VECTORS];
    for (uint v = 0; v < VECTORS; ++v) {
      values[v] = float4(*(device const vec<T, 4>*)(vectors[v] + 4 * l));
    }
    for (uint r = 0; r < ROWS; ++r) {
      const float4 weight = float4(*(device const vec<T, 4>*)(rows[r] + 4 * l));
      for (uint v = 0; v < VECTORS; ++v) sums[v][r] += dot(weight, values[v]);
    }
  }
  const long done = 4 * fours;
#else
  const long done = 0;
#endif
  for (long l = done + lane; l < p.k; l += 32) {
    for (uint r = 0; r < ROWS; ++r) {
      const float weight = float(rows[r][l * p.b[0]]);
      for (uint v = 0; v < VECTORS; ++v) {
        sums[v][r] = fma(weight, float(vectors[v][l * p.a[1]]), sums[v][r]);
      }
    }
  }
  device T* to = out + place.matrix * group.z;
  for (uint v = 0; v < VECTORS; ++v) {
    for (uint r = 0; r < ROWS; ++r) {
      const float sum = simd_sum(sums[v][r]);
      if (lane == 0 && vector + v < p.m && first + r < p.n) {
        to[(vector + v) * place.vector + (first + r) * place.result] = T(sum);
      }
    }
  }
}
#else
// Otherwise a lane makes the results of one j; simdgroups divide k and add up in their order.
kernel void multiply_vectors(device T* out [[buffer(0)]], device const T* x [[buffer(1)]],
                             device const T* w [[buffer(2)]], constant Product& p [[buffer(3)]],
                             constant long* batch_dims [[buffer(4)]],
                             constant Place& place [[buffer(5)]],
                             uint3 group [[threadgroup_position_in_grid]],
                             uint simdgroup [[simdgroup_index_in_threadgroup]],
                             uint lane [[thread_index_in_simdgroup]]) {
  threadgroup float partial[SIMDGROUPS * VECTORS * 32];
  const long j = long(group.x) * 32 + lane;
  const long vector = long(group.y) * VECTORS;
  x += walk(group.z, batch_dims, 0);
  w += walk(group.z, batch_dims, 1) + min(j, p.n - 1) * p.b[1];
  device const T* vectors[VECTORS];
  for (uint v = 0; v < VECTORS; ++v) vectors[v] = x + min(vector + v, p.m - 1) * p.a[0];
  float sums[VECTORS];
  for (uint v = 0; v < VECTORS; ++v) sums[v] = 0;
  const long length = (p.k + SIMDGROUPS - 1) / SIMDGROUPS;
  const long begin = simdgroup * length, end = min(begin + length, p.k);
  for (long l = begin; l < end; ++l) {
    const float weight = float(w[l * p.b[0]]);
    for (uint v = 0; v < VECTORS; ++v) {
      sums[v] = fma(weight, float(vectors[v][l * p.a[1]]), sums[v]);
    }
  }
  for (uint v = 0; v < VECTORS; ++v) partial[(simdgroup * VECTORS + v) * 32 + lane] = sums[v];
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (j >= p.n) return;
  device T* to = out + place.matrix * group.z;
  for (uint v = simdgroup; v < VECTORS; v += SIMDGROUPS) {
    if (vector + v >= p.m) break;
    float sum = 0;
    for (uint s = 0; s < SIMDGROUPS; ++s) sum += partial[(s * VECTORS + v) * 32 + lane];
    to[(vector + v) * place.vector + j * place.result] = T(sum);
  }
}
#endif
#endif

#if defined(PLAIN)
// A thread an element: integers (modulo their width), booleans, complex numbers, small matrices.
#if PLAIN == 0  // real numbers and integers
inline ACC add_product(ACC sum, ACC x, ACC y) {
#if IS_FLOAT
  return fma(x, y, sum);
#else
  return sum + x * y;
#endif
}
#elif PLAIN == 1  // booleans: any of the pairs
inline ACC add_product(ACC sum, ACC x, ACC y) { return sum || (x && y); }
#else             // complex numbers
inline ACC add_product(ACC sum, ACC x, ACC y) {
  return float2(fma(x.x, y.x, fma(-x.y, y.y, sum.x)), fma(x.x, y.y, fma(x.y, y.x, sum.y)));
}
#endif

kernel void multiply_elements(device T* out [[buffer(0)]], device const T* a [[buffer(1)]],
                              device const T* b [[buffer(2)]], constant Product& p [[buffer(3)]],
                              constant long* batch_dims [[buffer(4)]],
                              constant ulong& size [[buffer(5)]],
                              uint3 at [[thread_position_in_grid]],
                              uint3 grid [[threads_per_grid]]) {
  const ulong position = flat_position(at, grid);
  if (position >= size) return;
  const INDEX flat = INDEX(position), n = INDEX(p.n), m = INDEX(p.m);
  const INDEX line = flat / n;
  const INDEX matrix = line / m;
  device const T* x = a + walk(matrix, batch_dims, 0) + long(line - matrix * m) * p.a[0];
  device const T* y = b + walk(matrix, batch_dims, 1) + long(flat - line * n) * p.b[1];
  ACC sum = ACC(0);
  for (long l = 0; l < p.k; ++l) {
    sum = add_product(sum, ACC(x[l * p.a[1]]), ACC(y[l * p.b[0]]));
  }
  out[position] = T(sum);
}
#endif
