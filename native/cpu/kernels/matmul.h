// matmul: products of batches of matrices of every dtype.
#pragma once

#include <cstdint>

#include "cpu/kernel.h"

namespace nitinol::cpu::kernels {

void matmul(const Launch& launch) noexcept;

// One operand or result as a batch of matrices: the last two axes are rows and columns, strides
// count elements, batch axes may have stride 0.
struct MatrixBatch {
  char* data = nullptr;
  int batch_ndim = 0;
  std::int64_t batch_shape[max_ndim];
  std::int64_t batch_stride[max_ndim];
  std::int64_t rows = 0, columns = 0;
  std::int64_t row_stride = 0, column_stride = 0;

  static MatrixBatch of(const View& view) noexcept;
  std::int64_t batch() const noexcept;
  // How far matrix `index` of the batch lies from `data`, in elements.
  std::int64_t offset(std::int64_t index) const noexcept;
};

// Cuts of an m x n result with k products an element, which depend on these three alone.
struct Partition {
  std::int64_t row_panel, column_panel;    // extent of a panel; the last may be smaller
  std::int64_t row_panels, column_panels;  // how many
  std::int64_t panels() const noexcept { return row_panels * column_panels; }
};
Partition partition(std::int64_t m, std::int64_t n, std::int64_t k) noexcept;

// c = a @ b for integers and booleans, with the wraparound of the dtype; booleans: any of the
// pairs. The batch axes of a and b are those of c.
void matmul_integer(const Launch& launch, MatrixBatch a, MatrixBatch b,
                    const MatrixBatch& c) noexcept;

// c = a @ b over own panels, whatever the strides of a and b; T is float or double. The bits of
// an element depend on its row, its column and the instruction set only.
template <class T>
void matmul_packed(const Launch& launch, const MatrixBatch& a, const MatrixBatch& b,
                   const MatrixBatch& c) noexcept;
// Whether it is to be preferred to BLAS; never where the instruction set has no kernel for it.
template <class T>
bool packed_is_faster(std::int64_t m, std::int64_t n, std::int64_t k) noexcept;

}  // namespace nitinol::cpu::kernels
