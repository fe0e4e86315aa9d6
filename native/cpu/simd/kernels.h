// The functions that exist once for each instruction set, as tables of function pointers.
#pragma once

#include <cstdint>

namespace nitinol::cpu::simd {

// One row at a time; `x` and `out` may be the same row.
struct RowKernels {
  float (*max)(const float* x, std::int64_t n);  // NaN is passed over; -inf when n is 0
  // out = exp(x - shift); returns the sum of out.
  float (*exp_sum)(const float* x, std::int64_t n, float shift, float* out);
  float (*sum_exp)(const float* x, std::int64_t n, float shift);  // the sum alone
  void (*scale)(float* x, std::int64_t n, float factor);
  void (*rms_norm)(const float* x, const float* weight, std::int64_t n, float eps, float* out);
  void (*layer_norm)(const float* x, const float* weight, const float* bias, std::int64_t n,
                     float eps, float* out);
  // Rotates the pairs (x[i], x[i + n / 2]), or (x[2i], x[2i + 1]) when interleaved. Entry i of
  // `cosines` and `sines` belongs to pair i, or, when interleaved, to element i, where the sine of
  // the first of a pair is negated.
  void (*rotate_halves)(const float* x, std::int64_t n, const float* cosines, const float* sines,
                        float* out);
  void (*rotate_pairs)(const float* x, std::int64_t n, const float* cosines, const float* sines,
                       float* out);
};

// GGUF's numbers.
enum class BlockType : int { q4_0 = 2, q4_1 = 3, q8_0 = 8 };
inline constexpr std::int64_t block_weights = 32;

struct QuantizedKernels {
  void (*dequantize)(BlockType type, const std::uint8_t* blocks, std::int64_t count, float* out);
  // y[r * y_stride + j] = dot(row r of x, row j of the blocks), 0 <= j < n. The bits of a result do
  // not depend on the number of rows or on n.
  void (*product)(BlockType type, const float* x, std::int64_t x_stride, std::int64_t rows,
                  const std::uint8_t* blocks, std::int64_t row_bytes, std::int64_t n,
                  std::int64_t blocks_per_row, float* y, std::int64_t y_stride);
};

// The steps that read keys and values, which are of type T.
template <class T>
struct KeyValueKernels {
  // scores[r * stride + j] = scale * dot(q[r], key j); up to max_rows rows.
  void (*scores)(const float* const* q, int rows, std::int64_t d, const T* k, std::int64_t k_stride,
                 std::int64_t keys, float scale, float* scores, std::int64_t stride);
  // out[r][:] = out[r][:] * correction[r] + sum over j of weights[r * stride + j] * value j. The
  // old out is not read where the correction is 0. Up to max_rows rows.
  void (*weigh)(const float* weights, std::int64_t stride, int rows, std::int64_t keys, const T* v,
                std::int64_t v_stride, std::int64_t dv, const float* correction, float* out,
                std::int64_t out_stride);
};

struct AttentionKernels {
  static constexpr int max_rows = 4;
  KeyValueKernels<float> of_float;
  KeyValueKernels<_Float16> of_half;
  // One step of the online softmax over a row of `keys` scores, which become weights. `largest` and
  // `total` are the running maximum and sum. Returns what earlier weights must be multiplied by.
  float (*soften)(float* scores, std::int64_t keys, float* largest, float* total);
  void (*widen)(const _Float16* x, std::int64_t n, float* out);

  template <class T>
  const KeyValueKernels<T>& of() const noexcept {
    if constexpr (sizeof(T) == sizeof(float)) {
      return of_float;
    } else {
      return of_half;
    }
  }
};

// Products of large matrices, from panels: `rows` rows of a, or `columns` columns of b, laid out so
// that what one step of the depth needs lies together. rows is 0 where the instruction set has no
// multiply-add: BLAS is faster there.
template <class T>
struct GemmKernels {
  int rows, columns;
  int row_pitch;  // elements a panel of a takes per step of the depth; one of b takes `columns`
  int depth;      // the most steps that are best multiplied at a time
  std::int64_t deepest;  // deeper products are left to BLAS, which is as fast
  // Packs `count` rows, `step` apart, of which each is `depth` elements `depth_step` apart, into as
  // many panels as they need, `panel_distance` apart; the last is filled up with zeros.
  void (*pack_rows)(const T* a, std::int64_t step, std::int64_t depth_step, std::int64_t count,
                    std::int64_t depth, T* out, std::int64_t panel_distance);
  void (*pack_columns)(const T* b, std::int64_t step, std::int64_t depth_step, std::int64_t count,
                       std::int64_t depth, T* out, std::int64_t panel_distance);
  // c = a @ b, or c += a @ b, of packed panels. Each element is summed up in the order of the
  // depth, with one rounding a step, so its bits depend neither on rows nor on columns.
  void (*multiply)(std::int64_t rows, std::int64_t columns, std::int64_t depth, const T* a,
                   const T* b, T* c, std::int64_t ldc, bool add);
};

struct Kernels {
  RowKernels rows;
  QuantizedKernels quantized;
  AttentionKernels attention;
  GemmKernels<float> gemm_float;
  GemmKernels<double> gemm_double;
};

#if defined(__x86_64__)
#define NITINOL_FOR_EACH_ISA(X) X(baseline) X(v3) X(v4)
#else
#define NITINOL_FOR_EACH_ISA(X) X(baseline)
#endif

#define NITINOL_X(isa)                                  \
  namespace isa {                                       \
  extern const RowKernels row_kernels;                  \
  extern const QuantizedKernels quantized_kernels;      \
  extern const AttentionKernels attention_kernels;      \
  extern const GemmKernels<float> gemm_float_kernels;   \
  extern const GemmKernels<double> gemm_double_kernels; \
  }
NITINOL_FOR_EACH_ISA(NITINOL_X)
#undef NITINOL_X

}  // namespace nitinol::cpu::simd
