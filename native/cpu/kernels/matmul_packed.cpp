// matmul over own panels, for large products: the pool packs both operands once, then its threads
// take tiles of the result as they come, so that a late worker costs little.
#include <algorithm>

#include "cpu/kernels/matmul.h"
#include "cpu/pool.h"
#include "cpu/simd/dispatch.h"

namespace nitinol::cpu::kernels {
namespace {

std::int64_t divide_up(std::int64_t a, std::int64_t b) noexcept { return (a + b - 1) / b; }

// The length of the parts of `extent`, which are as even as multiples of `unit` can be.
std::int64_t even_part(std::int64_t extent, std::int64_t most, std::int64_t unit) noexcept {
  return divide_up(divide_up(extent, divide_up(extent, most)), unit) * unit;
}

template <class T>
const simd::GemmKernels<T>& kernels_of() noexcept {
  if constexpr (std::is_same_v<T, float>) {
    return simd::kernels().gemm_float;
  } else {
    return simd::kernels().gemm_double;
  }
}

template <class T>
struct Matrix {
  const T* data;
  std::int64_t step, depth_step;  // between rows of a or columns of b, and along the depth
};

// What is packed at a time: a block of both operands, cut along the depth into steps.
template <class T>
class Block {
 public:
  Block(std::int64_t rows, std::int64_t columns, std::int64_t depth, T* memory) noexcept
      : rows_(rows),
        columns_(columns),
        depth_(depth),
        step_(even_part(depth, gemm_.depth, 16)),
        a_(memory),
        b_(memory + padded_rows(rows) * depth) {
    // What a tile needs of b, 512 KB at most, stays in the second cache while its rows of a pass.
    std::int64_t row_panels = 8;
    std::int64_t column_panels = std::max<std::int64_t>(
        1, (std::int64_t{1} << 19) / (step_ * gemm_.columns * std::int64_t{sizeof(T)}));
    for (;;) {
      row_tile_ = row_panels * gemm_.rows;
      column_tile_ = column_panels * gemm_.columns;
      row_tiles_ = divide_up(rows, row_tile_);
      column_tiles_ = divide_up(columns, column_tile_);
      if (row_tiles_ * column_tiles_ >= 16) break;
      if (column_panels > 1 && (column_tile_ >= row_tile_ || row_panels == 1)) {
        column_panels /= 2;
      } else if (row_panels > 1) {
        row_panels /= 2;
      } else {
        break;
      }
    }
  }

  // The elements that packed rows and columns take per step of the depth.
  static std::int64_t padded_rows(std::int64_t rows) noexcept {
    return divide_up(rows, kernels_of<T>().rows) * kernels_of<T>().row_pitch;
  }
  static std::int64_t padded_columns(std::int64_t columns) noexcept {
    return divide_up(columns, kernels_of<T>().columns) * kernels_of<T>().columns;
  }

  void pack(const Matrix<T>& a, const Matrix<T>& b) noexcept {
    // Pieces of some 256 KB at most, which cross few pages.
    const std::int64_t length = even_part(step_, 256, 16), pieces = divide_up(step_, length);
    const std::int64_t row_group = 8 * gemm_.rows, column_group = 8 * gemm_.columns;
    const std::int64_t row_groups = divide_up(rows_, row_group);
    const std::int64_t groups = row_groups + divide_up(columns_, column_group);
    const std::int64_t steps = divide_up(depth_, step_);
    parallel_for(groups * steps * pieces, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t task = begin; task < end; ++task) {
        const std::int64_t group = task / (steps * pieces);
        const std::int64_t at = task / pieces % steps * step_;
        const std::int64_t depth = std::min(step_, depth_ - at);
        const std::int64_t from = task % pieces * length, count = std::min(length, depth - from);
        if (count <= 0) continue;
        const std::int64_t l = at + from;
        if (group < row_groups) {
          const std::int64_t i = group * row_group;
          gemm_.pack_rows(a.data + i * a.step + l * a.depth_step, a.step, a.depth_step,
                          std::min(row_group, rows_ - i), count,
                          a_panels(i, at, depth) + from * gemm_.row_pitch, depth * gemm_.row_pitch);
        } else {
          const std::int64_t j = (group - row_groups) * column_group;
          gemm_.pack_columns(b.data + j * b.step + l * b.depth_step, b.step, b.depth_step,
                             std::min(column_group, columns_ - j), count,
                             b_panels(j, at, depth) + from * gemm_.columns, depth * gemm_.columns);
        }
      }
    });
  }

  void multiply(T* c, std::int64_t ldc, bool add) noexcept {
    parallel_for(row_tiles_ * column_tiles_, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t task = begin; task < end; ++task) {
        const std::int64_t i = task % row_tiles_ * row_tile_;
        const std::int64_t j = task / row_tiles_ * column_tile_;
        for (std::int64_t at = 0; at < depth_; at += step_) {
          const std::int64_t depth = std::min(step_, depth_ - at);
          gemm_.multiply(std::min(row_tile_, rows_ - i), std::min(column_tile_, columns_ - j),
                         depth, a_panels(i, at, depth), b_panels(j, at, depth), c + i * ldc + j,
                         ldc, add || at > 0);
        }
      }
    });
  }

 private:
  // The panels from row i on, of the step of the depth that starts at `at`.
  T* a_panels(std::int64_t i, std::int64_t at, std::int64_t depth) const noexcept {
    return a_ + at * padded_rows(rows_) + i / gemm_.rows * gemm_.row_pitch * depth;
  }
  T* b_panels(std::int64_t j, std::int64_t at, std::int64_t depth) const noexcept {
    return b_ + at * padded_columns(columns_) + j * depth;
  }

  const simd::GemmKernels<T>& gemm_ = kernels_of<T>();
  const std::int64_t rows_, columns_, depth_;
  const std::int64_t step_;
  T* const a_;
  T* const b_;
  std::int64_t row_tile_, column_tile_;
  std::int64_t row_tiles_, column_tiles_;
};

}  // namespace

// Measured against OpenBLAS on one thread and on two. Packing a costs a share of about 1 / n of
// the product, more where it comes from memory; the same goes for b and m, but BLAS is slow there.
template <class T>
bool packed_is_faster(std::int64_t m, std::int64_t n, std::int64_t k) noexcept {
  const simd::GemmKernels<T>& gemm = kernels_of<T>();
  if (gemm.rows == 0 || k > gemm.deepest || m < (sizeof(T) == 4 ? 2 : 32)) return false;
  std::int64_t left, products;
  if (__builtin_mul_overflow(m, k, &left) || __builtin_mul_overflow(left, n, &products)) {
    return true;
  }
  return products >= std::int64_t{1} << 21 && n >= (left <= std::int64_t{1} << 20 ? 96 : 192);
}

template <class T>
void matmul_packed(const Launch& launch, const MatrixBatch& a, const MatrixBatch& b,
                   const MatrixBatch& c) noexcept {
  const simd::GemmKernels<T>& gemm = kernels_of<T>();
  const std::int64_t m = c.rows, n = c.columns, k = a.columns;
  const std::int64_t rows = even_part(m, 2048, gemm.rows);
  const std::int64_t columns = even_part(n, 2048, gemm.columns);
  const std::int64_t depth = even_part(k, 2048, 16);
  const std::int64_t size =
      (Block<T>::padded_rows(rows) + Block<T>::padded_columns(columns)) * depth;
  Scratch memory(static_cast<std::size_t>(size) * sizeof(T));
  if (!memory) {
    launch.fault.raise(0, Code::out_of_memory, size * static_cast<std::int64_t>(sizeof(T)));
    return;
  }
  for (std::int64_t index = 0; index < c.batch(); ++index) {
    const T* a_data = reinterpret_cast<const T*>(a.data) + a.offset(index);
    const T* b_data = reinterpret_cast<const T*>(b.data) + b.offset(index);
    T* out = reinterpret_cast<T*>(c.data) + index * m * n;
    for (std::int64_t j = 0; j < n; j += columns) {
      for (std::int64_t i = 0; i < m; i += rows) {
        for (std::int64_t l = 0; l < k; l += depth) {
          Block<T> block(std::min(rows, m - i), std::min(columns, n - j), std::min(depth, k - l),
                         memory.as<T>());
          block.pack(
              {a_data + i * a.row_stride + l * a.column_stride, a.row_stride, a.column_stride},
              {b_data + l * b.row_stride + j * b.column_stride, b.column_stride, b.row_stride});
          block.multiply(out + i * n + j, n, l > 0);
        }
      }
    }
  }
}

template bool packed_is_faster<float>(std::int64_t, std::int64_t, std::int64_t) noexcept;
template bool packed_is_faster<double>(std::int64_t, std::int64_t, std::int64_t) noexcept;
template void matmul_packed<float>(const Launch&, const MatrixBatch&, const MatrixBatch&,
                                   const MatrixBatch&) noexcept;
template void matmul_packed<double>(const Launch&, const MatrixBatch&, const MatrixBatch&,
                                    const MatrixBatch&) noexcept;

}  // namespace nitinol::cpu::kernels
