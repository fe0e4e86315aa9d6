// GGUF's Q4_0, Q4_1 and Q8_0 blocks to float32 and times vectors; compiled once for each
// instruction set.
#include "cpu/simd/kernels.h"
#include "cpu/simd/vec.h"

namespace nitinol::cpu::simd::NITINOL_ISA {
namespace {

constexpr int groups = static_cast<int>(block_weights) / lanes;  // vectors a block

using Bytes = std::uint8_t __attribute__((vector_size(lanes)));
using SignedBytes = std::int8_t __attribute__((vector_size(lanes)));

NITINOL_INLINE I widen(const std::uint8_t* p) {
#if defined(__AVX512F__)
  return reinterpret_cast<I>(
      _mm512_maskz_cvtepu8_epi32(0xffff, _mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
#elif defined(__AVX2__)
  return reinterpret_cast<I>(
      _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
#else
  Bytes bytes;
  __builtin_memcpy(&bytes, p, sizeof bytes);
  return __builtin_convertvector(bytes, I);
#endif
}
NITINOL_INLINE I widen_signed(const std::uint8_t* p) {
#if defined(__AVX512F__)
  return reinterpret_cast<I>(
      _mm512_maskz_cvtepi8_epi32(0xffff, _mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
#elif defined(__AVX2__)
  return reinterpret_cast<I>(
      _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
#else
  SignedBytes bytes;
  __builtin_memcpy(&bytes, p, sizeof bytes);
  return __builtin_convertvector(bytes, I);
#endif
}
NITINOL_INLINE F to_float(I x) { return __builtin_convertvector(x, F); }

// Each type: `weights` gives the 32 weights of a block, rounded to float32 exactly as a separate
// multiplication and addition round them (d * q is exact: 11 bits by 8).

// The low nibbles of the 16 bytes are the first half of the block, the high ones the second.
template <class Weight>
NITINOL_INLINE void nibbles(const std::uint8_t* p, F (&w)[groups], Weight weight) {
  for (int g = 0; g < groups / 2; ++g) {
    const I both = widen(p + g * lanes);
    w[g] = weight(both & 15);
    w[g + groups / 2] = weight(both >> 4);
  }
}

#if defined(__AVX512F__)
// All 16 weights that a nibble can stand for fit in one register: looking a weight up takes one
// instruction, which ignores the bits above the nibble, and no conversion.
NITINOL_INLINE void look_up(const std::uint8_t* p, F (&w)[groups], F table) {
  const __m512i both = reinterpret_cast<__m512i>(widen(p));
  w[0] = _mm512_maskz_permutexvar_ps(0xffff, both, table);
  w[1] = _mm512_maskz_permutexvar_ps(0xffff, _mm512_maskz_srli_epi32(0xffff, both, 4), table);
}
constexpr F nibble_values = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
#endif

struct Q4_0 {
  static constexpr std::int64_t bytes = 18;
  NITINOL_INLINE void weights(const std::uint8_t* p, F (&w)[groups]) {
    const F d = splat(half_to_float(p));
#if defined(__AVX512F__)
    look_up(p + 2, w, d * (nibble_values - 8.0f));
#else
    nibbles(p + 2, w, [&](I q) { return d * to_float(q - 8); });
#endif
  }
};

struct Q4_1 {
  static constexpr std::int64_t bytes = 20;
  NITINOL_INLINE void weights(const std::uint8_t* p, F (&w)[groups]) {
#if defined(__AVX512F__)
    std::uint32_t bits;
    __builtin_memcpy(&bits, p, sizeof bits);
    const __m128 scales = _mm_cvtph_ps(_mm_cvtsi32_si128(static_cast<int>(bits)));
    const F d = _mm512_maskz_broadcastss_ps(0xffff, scales);
    const F m = _mm512_maskz_broadcastss_ps(0xffff, _mm_movehdup_ps(scales));
    look_up(p + 4, w, d * nibble_values + m);
#else
    const F d = splat(half_to_float(p)), m = splat(half_to_float(p + 2));
    nibbles(p + 4, w, [&](I q) { return d * to_float(q) + m; });
#endif
  }
};

struct Q8_0 {
  static constexpr std::int64_t bytes = 34;
  NITINOL_INLINE void weights(const std::uint8_t* p, F (&w)[groups]) {
    const F d = splat(half_to_float(p));
    for (int g = 0; g < groups; ++g) w[g] = d * to_float(widen_signed(p + 2 + g * lanes));
  }
};

template <class Type>
void dequantize_blocks(const std::uint8_t* blocks, std::int64_t count, float* out) {
  for (std::int64_t i = 0; i < count; ++i) {
    F w[groups];
    Type::weights(blocks + i * Type::bytes, w);
    for (int g = 0; g < groups; ++g) store(out + i * block_weights + g * lanes, w[g]);
  }
}

// Rows x Columns products at a time: a weight is made once for all rows, a vector of x loaded once
// for all columns. Each product has accumulators of its own, always added in the same order.
template <class Type, int Rows, int Columns>
NITINOL_INLINE void product_tile(const float* x, std::int64_t x_stride, const std::uint8_t* blocks,
                                 std::int64_t row_bytes, std::int64_t blocks_per_row, float* y,
                                 std::int64_t y_stride) {
  constexpr int chains = groups < 2 ? groups : 2;
  // Short rows side by side are no stream that hardware would see: fetch a later tile of them.
  const std::int64_t tile = Columns * row_bytes;
  const std::int64_t ahead = tile > 12288 ? 12288 : (12288 / tile + 1) * tile;
  F sums[Rows][Columns][chains] = {};
  for (std::int64_t i = 0; i < blocks_per_row; ++i) {
    for (int c = 0; c < Columns; ++c) {
      const std::uint8_t* p = blocks + c * row_bytes + i * Type::bytes;
      __builtin_prefetch(p + ahead);
      F w[groups];
      Type::weights(p, w);
      for (int r = 0; r < Rows; ++r) {
        const float* values = x + r * x_stride + i * block_weights;
        for (int g = 0; g < groups; ++g) sums[r][c][g % chains] += w[g] * load(values + g * lanes);
      }
    }
  }
  for (int r = 0; r < Rows; ++r) {
    for (int c = 0; c < Columns; ++c) {
      F sum = sums[r][c][0];
      for (int g = 1; g < chains; ++g) sum += sums[r][c][g];
      y[r * y_stride + c] = sum_lanes(sum);
    }
  }
}

template <class Type, int Rows>
void product_rows(const float* x, std::int64_t x_stride, const std::uint8_t* blocks,
                  std::int64_t row_bytes, std::int64_t n, std::int64_t blocks_per_row, float* y,
                  std::int64_t y_stride) {
  constexpr int columns = Rows <= 2 ? 4 : Rows <= 4 ? 2 : 1;
  std::int64_t j = 0;
  for (; j + columns <= n; j += columns) {
    product_tile<Type, Rows, columns>(x, x_stride, blocks + j * row_bytes, row_bytes,
                                      blocks_per_row, y + j, y_stride);
  }
  for (; j < n; ++j) {
    product_tile<Type, Rows, 1>(x, x_stride, blocks + j * row_bytes, row_bytes, blocks_per_row,
                                y + j, y_stride);
  }
}

template <class Type>
void product_type(const float* x, std::int64_t x_stride, std::int64_t rows,
                  const std::uint8_t* blocks, std::int64_t row_bytes, std::int64_t n,
                  std::int64_t blocks_per_row, float* y, std::int64_t y_stride) {
  const auto some = [&]<int Rows>(std::integral_constant<int, Rows>) {
    for (; rows >= Rows; rows -= Rows) {
      product_rows<Type, Rows>(x, x_stride, blocks, row_bytes, n, blocks_per_row, y, y_stride);
      x += Rows * x_stride;
      y += Rows * y_stride;
    }
  };
  some(std::integral_constant<int, 8>{});
  some(std::integral_constant<int, 4>{});
  some(std::integral_constant<int, 2>{});
  some(std::integral_constant<int, 1>{});
}

void dequantize(BlockType type, const std::uint8_t* blocks, std::int64_t count, float* out) {
  switch (type) {
    case BlockType::q4_0:
      return dequantize_blocks<Q4_0>(blocks, count, out);
    case BlockType::q4_1:
      return dequantize_blocks<Q4_1>(blocks, count, out);
    case BlockType::q8_0:
      return dequantize_blocks<Q8_0>(blocks, count, out);
  }
}

void product(BlockType type, const float* x, std::int64_t x_stride, std::int64_t rows,
             const std::uint8_t* blocks, std::int64_t row_bytes, std::int64_t n,
             std::int64_t blocks_per_row, float* y, std::int64_t y_stride) {
  const auto run = [&](auto* f) {
    f(x, x_stride, rows, blocks, row_bytes, n, blocks_per_row, y, y_stride);
  };
  switch (type) {
    case BlockType::q4_0:
      return run(product_type<Q4_0>);
    case BlockType::q4_1:
      return run(product_type<Q4_1>);
    case BlockType::q8_0:
      return run(product_type<Q8_0>);
  }
}

}  // namespace

extern const QuantizedKernels quantized_kernels = {dequantize, product};

}  // namespace nitinol::cpu::simd::NITINOL_ISA
