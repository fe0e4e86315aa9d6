// The inner loops of large matrix products: panels packed for the multiply-adds, and their product
// in registers; compiled once for each instruction set.
#include "cpu/simd/kernels.h"
#include "cpu/simd/vec.h"

namespace nitinol::cpu::simd::NITINOL_ISA {

#if defined(__AVX512F__) || (defined(__AVX2__) && defined(__FMA__))
namespace {

using D = double __attribute__((vector_size(NITINOL_VECTOR_BYTES)));
template <class T>
struct VectorOf {
  using type = F;
};
template <>
struct VectorOf<double> {
  using type = D;
};

template <class T>
struct Shape {
  using V = typename VectorOf<T>::type;
  static constexpr int width = NITINOL_VECTOR_BYTES / sizeof(T);
#if defined(__AVX512F__)
  static constexpr int rows = 14;  // 28 sums, 2 vectors of b and one of a: 31 of 32 registers
  static constexpr int depth = 4096 / sizeof(T);
  static constexpr std::int64_t deepest = std::int64_t{1} << 62;
#else
  static constexpr int rows = 6;  // 12 sums, 2 vectors of b and one of a: 15 of 16 registers
  static constexpr int depth = 1024 / sizeof(T);
  static constexpr std::int64_t deepest = 256;
#endif
  static constexpr int columns = 2 * width;
  // Panels of a are whole vectors apart, which a transposition can store.
  static constexpr int row_pitch = (rows + width - 1) / width * width;
};

template <class V, class T>
NITINOL_INLINE V load_vector(const T* p) {
  V x;
  __builtin_memcpy(&x, p, sizeof x);
  return x;
}
template <class V, class T>
NITINOL_INLINE void store_vector(T* p, V x) {
  __builtin_memcpy(p, &x, sizeof x);
}

// Element j of x[i] and element i of x[j] change places: one bit of i and j at a time.
template <int Width, int Distance, class V, int... Lane>
NITINOL_INLINE void exchange_bit(V* x, std::integer_sequence<int, Lane...>) {
  for (int i = 0; i < Width; ++i) {
    if (i & Distance) continue;
    const V low = x[i], high = x[i + Distance];
    x[i] =
        __builtin_shufflevector(low, high, (Lane & Distance ? (Lane ^ Distance) + Width : Lane)...);
    x[i + Distance] =
        __builtin_shufflevector(low, high, (Lane & Distance ? Lane + Width : Lane ^ Distance)...);
  }
}
template <int Width, int Distance = Width / 2, class V>
NITINOL_INLINE void transpose(V* x) {
  exchange_bit<Width, Distance>(x, std::make_integer_sequence<int, Width>{});
  if constexpr (Distance > 1) transpose<Width, Distance / 2>(x);
}

// One panel of lines that are contiguous along the depth.
template <class T, int Pitch>
void pack_lines(const T* source, std::int64_t step, std::int64_t count, std::int64_t depth,
                T* out) {
  using V = typename Shape<T>::V;
  constexpr int width = Shape<T>::width;
  std::int64_t l = 0;
  for (; l + width <= depth; l += width) {
    for (int first = 0; first < Pitch; first += width) {
      V x[width];
      for (int i = 0; i < width; ++i) {
        x[i] = V{};
        if (first + i >= count) continue;
        const T* line = source + (first + i) * step + l;
        __builtin_prefetch(line + 4 * width);
        x[i] = load_vector<V>(line);
      }
      transpose<width>(x);
      for (int i = 0; i < width; ++i) store_vector(out + (l + i) * Pitch + first, x[i]);
    }
  }
  for (; l < depth; ++l) {
    for (int i = 0; i < Pitch; ++i) out[l * Pitch + i] = i < count ? source[i * step + l] : T{};
  }
}

template <class T, int Size, int Pitch>
void pack(const T* source, std::int64_t step, std::int64_t depth_step, std::int64_t count,
          std::int64_t depth, T* out, std::int64_t panel_distance) {
  using V = typename Shape<T>::V;
  if (depth_step == 1 && step != 1) {
    for (; count > 0; count -= Size, source += Size * step, out += panel_distance) {
      pack_lines<T, Pitch>(source, step, count < Size ? count : Size, depth, out);
    }
    return;
  }
  // In the order in which memory lies.
  for (std::int64_t l = 0; l < depth; ++l) {
    const T* line = source + l * depth_step;
    T* target = out + l * Pitch;
    std::int64_t left = count;
    for (; left >= Size; left -= Size, line += Size * step, target += panel_distance) {
      if (step == 1) {
        __builtin_prefetch(line + 4 * depth_step);
        __builtin_prefetch(line + 4 * depth_step + Shape<T>::width);
        if constexpr (Size == Pitch) {
          for (int i = 0; i < Size; i += Shape<T>::width) {
            store_vector(target + i, load_vector<V>(line + i));
          }
        } else {
          __builtin_memcpy(target, line, Size * sizeof(T));
        }
      } else {
        for (int i = 0; i < Size; ++i) target[i] = line[i * step];
      }
    }
    if (left > 0) {
      for (int i = 0; i < Pitch; ++i) target[i] = i < left ? line[i * step] : T{};
    }
  }
}

template <int Rows, class T>
NITINOL_INLINE void multiply_registers(std::int64_t depth, const T* a, const T* b, T* c,
                                       std::int64_t ldc, bool add) {
  using S = Shape<T>;
  using V = typename S::V;
  constexpr int ahead = 32;  // steps
  V sums[Rows][2] = {};
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i) {
    __builtin_prefetch(c + i * ldc, 1);
    __builtin_prefetch(c + i * ldc + S::width, 1);
  }
  for (std::int64_t l = 0; l < depth; ++l) {
    const V b0 = load_vector<V>(b), b1 = load_vector<V>(b + S::width);
    // Both come from the second cache.
    __builtin_prefetch(a + ahead * S::row_pitch);
    __builtin_prefetch(b + ahead * S::columns);
    __builtin_prefetch(b + ahead * S::columns + S::width);
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i) {
      const V x = a[i] - V{};
      sums[i][0] += x * b0;
      sums[i][1] += x * b1;
    }
    a += S::row_pitch;
    b += S::columns;
  }
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i) {
    T* row = c + i * ldc;
    if (add) {
      sums[i][0] += load_vector<V>(row);
      sums[i][1] += load_vector<V>(row + S::width);
    }
    store_vector(row, sums[i][0]);
    store_vector(row + S::width, sums[i][1]);
  }
}

template <int Rows, class T>
void multiply_panels(std::int64_t columns, std::int64_t depth, const T* a, const T* b, T* c,
                     std::int64_t ldc, bool add) {
  constexpr int width = Shape<T>::columns;
  if (columns >= width) {
    multiply_registers<Rows>(depth, a, b, c, ldc, add);
    return;
  }
  T part[Rows * width];
  multiply_registers<Rows>(depth, a, b, part, width, false);
  for (int i = 0; i < Rows; ++i) {
    for (std::int64_t j = 0; j < columns; ++j) {
      c[i * ldc + j] = add ? c[i * ldc + j] + part[i * width + j] : part[i * width + j];
    }
  }
}

template <class T, int Rows = Shape<T>::rows>
void multiply_rows(std::int64_t rows, std::int64_t columns, std::int64_t depth, const T* a,
                   const T* b, T* c, std::int64_t ldc, bool add) {
  if constexpr (Rows > 1) {
    if (rows < Rows) return multiply_rows<T, Rows - 1>(rows, columns, depth, a, b, c, ldc, add);
  }
  multiply_panels<Rows>(columns, depth, a, b, c, ldc, add);
}

// Along the rows of c, which lie together in memory; the panel of a stays in the first cache.
template <class T>
void multiply(std::int64_t rows, std::int64_t columns, std::int64_t depth, const T* a, const T* b,
              T* c, std::int64_t ldc, bool add) {
  using S = Shape<T>;
  for (std::int64_t i = 0; i < rows; i += S::rows, a += depth * S::row_pitch) {
    const T* panel = b;
    for (std::int64_t j = 0; j < columns; j += S::columns, panel += depth * S::columns) {
      multiply_rows<T>(rows - i, columns - j, depth, a, panel, c + i * ldc + j, ldc, add);
    }
  }
}

template <class T>
constexpr GemmKernels<T> kernels_of() {
  using S = Shape<T>;
  return {S::rows,
          S::columns,
          S::row_pitch,
          S::depth,
          S::deepest,
          pack<T, S::rows, S::row_pitch>,
          pack<T, S::columns, S::columns>,
          multiply<T>};
}

}  // namespace

const GemmKernels<float> gemm_float_kernels = kernels_of<float>();
const GemmKernels<double> gemm_double_kernels = kernels_of<double>();
#else
const GemmKernels<float> gemm_float_kernels = {};
const GemmKernels<double> gemm_double_kernels = {};
#endif

}  // namespace nitinol::cpu::simd::NITINOL_ISA
