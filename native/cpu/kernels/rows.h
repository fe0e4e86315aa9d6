// Walking over the rows of a strided operand: its last axis, for each index of the others.
#pragma once

#include <cstdint>

#include "cpu/kernel.h"

namespace nitinol::cpu::kernels {

// Goes through the rows in row-major order of the outer axes.
class RowWalker {
 public:
  // Starts at row number `row`; the last `inner` axes are the row.
  RowWalker(const Layout& layout, int inner, std::int64_t row) noexcept
      : layout_(layout), ndim_(layout.ndim() - inner) {
    for (int axis = ndim_ - 1; axis >= 0; --axis) {
      const std::int64_t size = layout.shape(axis);
      index_[axis] = row % size;
      row /= size;
      offset_ += index_[axis] * layout.stride(axis);
    }
  }
  std::int64_t offset() const noexcept { return offset_; }  // in elements
  void next() noexcept {
    for (int axis = ndim_ - 1; axis >= 0; --axis) {
      offset_ += layout_.stride(axis);
      if (++index_[axis] < layout_.shape(axis)) return;
      offset_ -= index_[axis] * layout_.stride(axis);
      index_[axis] = 0;
    }
  }

 private:
  const Layout& layout_;
  int ndim_;
  std::int64_t offset_ = 0;
  std::int64_t index_[max_ndim];
};

inline std::int64_t product_of_shape(const Layout& layout, int axes) noexcept {
  std::int64_t product = 1;
  for (int axis = 0; axis < axes; ++axis) product *= layout.shape(axis);
  return product;
}

// Whether the elements of a row lie side by side.
inline bool rows_are_dense(const Layout& layout) noexcept {
  const int last = layout.ndim() - 1;
  return last >= 0 && (layout.stride(last) == 1 || layout.shape(last) <= 1);
}

// Whether row r begins at r * stride, for one stride.
inline bool rows_are_even(const Layout& layout, std::int64_t* stride) noexcept {
  *stride = 0;
  std::int64_t rows = 1;  // of the axes seen so far
  for (int axis = layout.ndim() - 2; axis >= 0; --axis) {
    if (layout.shape(axis) == 1) continue;
    if (rows == 1) {
      *stride = layout.stride(axis);
    } else if (layout.stride(axis) != rows * *stride) {
      return false;
    }
    rows *= layout.shape(axis);
  }
  return true;
}

// Rows a chunk of parallel_for, for some tens of thousands of elements: enough to be worth handing
// over, and dependent on the shape alone.
inline std::int64_t row_grain(std::int64_t row_size, std::int64_t elements = 16384) noexcept {
  return row_size >= elements ? 1 : elements / (row_size > 0 ? row_size : 1);
}

template <class From, class To>
void copy_row(const From* from, std::int64_t stride, std::int64_t n, To* to) noexcept {
  for (std::int64_t i = 0; i < n; ++i) to[i] = static_cast<To>(from[i * stride]);
}

inline void raise_out_of_memory(const Launch& launch, std::int64_t position,
                                std::int64_t bytes) noexcept {
  launch.fault.raise(position, Code::out_of_memory, bytes);
}

}  // namespace nitinol::cpu::kernels
