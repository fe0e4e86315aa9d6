// GGUF's Q4_0, Q4_1 and Q8_0 blocks of 32 weights: products, rows taken, plain floats.
// KIND: 2 Q4_0, 3 Q4_1, 8 Q8_0. A unit is a quarter of a block: eight weights in two fours, of
// which lanes of a simdgroup read one each, so that memory is read side by side.

#if KIND == 3
constant constexpr uint block_bytes = 20;
// Elements of the block that the two fours of unit q stand for.
inline uint first_of(uint q) { return 4 * q; }
inline uint second_of(uint q) { return 4 * q + 16; }
// Weights are rounded as the CPU's: d * q is exact, so it matters not whether it is fused.
inline void load_unit(device const uchar* block, uint q, thread float4& first,
                      thread float4& second) {
  device const uint* words = (device const uint*)block;
  const half2 scales = as_type<half2>(words[0]);
  const float d = float(scales.x), m = float(scales.y);
  const uint bits = words[1 + q];
  first = fma(float4(d), float4(as_type<uchar4>(bits & 0x0f0f0f0fu)), float4(m));
  second = fma(float4(d), float4(as_type<uchar4>((bits >> 4) & 0x0f0f0f0fu)), float4(m));
}
#elif KIND == 2
constant constexpr uint block_bytes = 18;
inline uint first_of(uint q) { return 4 * q; }
inline uint second_of(uint q) { return 4 * q + 16; }
inline void load_unit(device const uchar* block, uint q, thread float4& first,
                      thread float4& second) {
  device const ushort* words = (device const ushort*)block;
  const float d = float(as_type<half>(words[0]));
  const uint bits = uint(words[1 + 2 * q]) | uint(words[2 + 2 * q]) << 16;
  first = d * (float4(as_type<uchar4>(bits & 0x0f0f0f0fu)) - 8.0f);
  second = d * (float4(as_type<uchar4>((bits >> 4) & 0x0f0f0f0fu)) - 8.0f);
}
#else
constant constexpr uint block_bytes = 34;
inline uint first_of(uint q) { return 8 * q; }
inline uint second_of(uint q) { return 8 * q + 4; }
inline void load_unit(device const uchar* block, uint q, thread float4& first,
                      thread float4& second) {
  device const ushort* words = (device const ushort*)block;
  const float d = float(as_type<half>(words[0]));
  const uint low = uint(words[1 + 4 * q]) | uint(words[2 + 4 * q]) << 16;
  const uint high = uint(words[3 + 4 * q]) | uint(words[4 + 4 * q]) << 16;
  first = d * float4(as_type<char4>(low));
  second = d * float4(as_type<char4>(high));
}
#endif

struct Product {
  long rows;          // of x and of the output
  long columns;       // of the output, rows of blocks
  long x_stride;      // elements
  long block_stride;  // bytes from one row of blocks to the next
  uint blocks;        // a row
};

#if defined(X_ROWS)
// X_ROWS rows of x times W_ROWS rows of blocks by each simdgroup; SIMDGROUPS a threadgroup.
kernel void multiply_rows(device float* out [[buffer(0)]], device const float* x [[buffer(1)]],
                          device const uchar* blocks [[buffer(2)]],
                          constant Product& p [[buffer(3)]],
                          uint3 group [[threadgroup_position_in_grid]],
                          uint simdgroup [[simdgroup_index_in_threadgroup]],
                          uint lane [[thread_index_in_simdgroup]]) {
  const long column = (long(group.x) * SIMDGROUPS + simdgroup) * W_ROWS;
  const long row = long(group.y) * X_ROWS;
  if (column >= p.columns) return;
  // Beyond the last row the last one is read again, and nothing written.
  device const uchar* w[W_ROWS];
  for (int c = 0; c < W_ROWS; ++c) w[c] = blocks + min(column + c, p.columns - 1) * p.block_stride;
  device const float* v[X_ROWS];
  for (int r = 0; r < X_ROWS; ++r) v[r] = x + min(row + r, p.rows - 1) * p.x_stride;

  float sums[X_ROWS][W_ROWS];
  for (int r = 0; r < X_ROWS; ++r) {
    for (int c = 0; c < W_ROWS; ++c) sums[r][c] = 0;
  }
  const uint units = 4 * p.blocks;
  for (uint unit = lane; unit < units; unit += 32) {
    const uint block = unit >> 2, q = unit & 3;
    float4 first[X_ROWS], second[X_ROWS];
    for (int r = 0; r < X_ROWS; ++r) {
      first[r] = *(device const float4*)(v[r] + 32 * block + first_of(q));
      second[r] = *(device const float4*)(v[r] + 32 * block + second_of(q));
    }
    for (int c = 0; c < W_ROWS; ++c) {
      float4 a, b;
      load_unit(w[c] + block * block_bytes, q, a, b);
      for (int r = 0; r < X_ROWS; ++r) sums[r][c] += dot(first[r], a) + dot(second[r], b);
    }
  }
  for (int r = 0; r < X_ROWS; ++r) {
    for (int c = 0; c < W_ROWS; ++c) {
      const float sum = simd_sum(sums[r][c]);
      if (lane == 0 && row + r < p.rows && column + c < p.columns) {
        out[(row + r) * p.columns + column + c] = sum;
      }
    }
  }
}
#endif

#if defined(TILED)
// 32 rows of x times 64 rows of blocks by 4 simdgroups, each 16 by 32 of the result; a tile of
// weights is made once and stands in threadgroup memory, one row an element of the blocks.
constant constexpr uint x_pitch = 36, w_pitch = 68;

kernel void multiply_tiles(device float* out [[buffer(0)]], device const float* x [[buffer(1)]],
                           device const uchar* blocks [[buffer(2)]],
                           constant Product& p [[buffer(3)]],
                           uint3 group [[threadgroup_position_in_grid]],
                           uint thread_index [[thread_index_in_threadgroup]],
                           uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup float x_tile[32 * x_pitch];
  threadgroup float w_tile[32 * w_pitch];  // the result in the end
  const long row = long(group.y) * 32, column = long(group.x) * 64;
  const uint x_row = thread_index / 4, x_first = thread_index % 4 * 8;
  const uint w_row = thread_index % 64, w_unit = thread_index / 64 * 2;
  device const float* from = x + min(row + x_row, p.rows - 1) * p.x_stride + x_first;
  device const uchar* w = blocks + min(column + w_row, p.columns - 1) * p.block_stride;
  const uint result_row = simdgroup / 2 * 16, result_column = simdgroup % 2 * 32;

  simdgroup_float8x8 sums[2][4];
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 4; ++j) sums[i][j] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
  }
  for (uint block = 0; block < p.blocks; ++block) {
    const float4 low = *(device const float4*)(from + 32 * block);
    const float4 high = *(device const float4*)(from + 32 * block + 4);
    float4 a[2], b[2];
    for (uint u = 0; u < 2; ++u) load_unit(w + block * block_bytes, w_unit + u, a[u], b[u]);
    threadgroup_barrier(mem_flags::mem_threadgroup);  // the tiles of the last block are done with
    for (uint e = 0; e < 4; ++e) {
      x_tile[x_row * x_pitch + x_first + e] = low[e];
      x_tile[x_row * x_pitch + x_first + 4 + e] = high[e];
      for (uint u = 0; u < 2; ++u) {
        w_tile[(first_of(w_unit + u) + e) * w_pitch + w_row] = a[u][e];
        w_tile[(second_of(w_unit + u) + e) * w_pitch + w_row] = b[u][e];
      }
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint k = 0; k < 32; k += 8) {
      simdgroup_float8x8 left[2], right[4];
      for (uint i = 0; i < 2; ++i) {
        simdgroup_load(left[i], x_tile + (result_row + 8 * i) * x_pitch + k, x_pitch);
      }
      for (uint j = 0; j < 4; ++j) {
        simdgroup_load(right[j], w_tile + k * w_pitch + result_column + 8 * j, w_pitch);
      }
      for (uint i = 0; i < 2; ++i) {
        for (uint j = 0; j < 4; ++j) {
          simdgroup_multiply_accumulate(sums[i][j], left[i], right[j], sums[i][j]);
        }
      }
    }
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  for (uint i = 0; i < 2; ++i) {
    for (uint j = 0; j < 4; ++j) {
      simdgroup_store(sums[i][j], w_tile + (result_row + 8 * i) * w_pitch + result_column + 8 * j,
                      w_pitch);
    }
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  for (uint e = thread_index; e < 32 * 64; e += 128) {
    const uint r = e / 64, c = e % 64;
    if (row + r < p.rows && column + c < p.columns) {
      out[(row + r) * p.columns + column + c] = w_tile[r * w_pitch + c];
    }
  }
}
#endif

#if defined(INDEX)
// Writes unit `unit` of a row of blocks as floats.
inline void write_unit(device float* to, device const uchar* row, uint unit) {
  const uint block = unit >> 2, q = unit & 3;
  float4 first, second;
  load_unit(row + block * block_bytes, q, first, second);
  *(device float4*)(to + 32 * block + first_of(q)) = first;
  *(device float4*)(to + 32 * block + second_of(q)) = second;
}

struct Rows {
  ulong count;        // of the output
  long block_stride;  // bytes, of the matrix that rows are taken from
  long matrix_rows;   // its rows
  uint blocks;        // a row
};

// `dims` walks over the rows of blocks.
kernel void dequantize(device float* out [[buffer(0)]], device const uchar* blocks [[buffer(1)]],
                       constant long* dims [[buffer(2)]], constant Rows& rows [[buffer(3)]],
                       uint3 at [[thread_position_in_grid]], uint3 grid [[threads_per_grid]]) {
  const INDEX units = 4 * rows.blocks;
  const ulong position = flat_position(at, grid);
  if (position >= rows.count * units) return;
  const INDEX row = INDEX(position) / units;
  write_unit(out + ulong(row) * (8 * units), blocks + walk(row, dims, 0),
             uint(INDEX(position) - row * units));
}

#if defined(INDEX_TYPE)
// `dims` walks over the indices.
kernel void take_rows(device float* out [[buffer(0)]], device const uchar* blocks [[buffer(1)]],
                      constant long* dims [[buffer(2)]], constant Rows& rows [[buffer(3)]],
                      device const INDEX_TYPE* indices [[buffer(4)]],
                      device atomic_uint* fault [[buffer(5)]], uint3 at [[thread_position_in_grid]],
                      uint3 grid [[threads_per_grid]]) {
  const INDEX units = 4 * rows.blocks;
  const ulong position = flat_position(at, grid);
  if (position >= rows.count * units) return;
  const INDEX row = INDEX(position) / units;
  const long index = to_index(LONG(indices[walk(row, dims, 0)]), rows.matrix_rows);
  if (index < 0) {
    raise_fault(fault, row);
    return;
  }
  write_unit(out + ulong(row) * (8 * units), blocks + index * rows.block_stride,
             uint(INDEX(position) - row * units));
}
#endif
#endif
