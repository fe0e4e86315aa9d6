// Reading elements and rows at positions that other arrays give.
#pragma once

#include "cpu/kernel.h"
#include "cpu/kernels/iterate.h"

namespace nitinol::cpu::kernels {

void take(const Launch& launch) noexcept;
void take_along_axis(const Launch& launch) noexcept;
void gather(const Launch& launch) noexcept;

// Elements [first, first + count) of an integer array of any strides, in row-major
// order. Values beyond int64 become its largest, which is in range of no axis.
void load_integers(const View& array, std::int64_t first, std::int64_t count,
                   std::int64_t* values) noexcept;

// The same for a line of elements `stride` bytes apart.
void load_integers(DType dtype, const char* data, std::int64_t stride, std::int64_t count,
                   std::int64_t* values) noexcept;

// Index arrays of one shape over adjacent axes of an array, and how a tuple of them
// becomes an offset.
struct IndexTuple {
  std::span<const View> arrays;
  const Layout* layout;         // of the array they index
  int axis;                     // the first of them
  const std::int64_t* strides;  // for each axis of the layout, in any unit

  std::int64_t size() const noexcept { return arrays[0].layout->size(); }
  // Whether an axis has no elements, so that no index can be right.
  bool nothing_to_index() const noexcept;
  // Offsets of tuples [first, first + count). A faulty index is reported and counts as
  // 0, so that the offsets may be used wherever nothing_to_index() is false.
  void resolve(FaultSlot& fault, std::int64_t first, std::int64_t count,
               std::int64_t* offsets) const noexcept;
};

inline constexpr std::int64_t index_block = 512;  // indices resolved at a time

}  // namespace nitinol::cpu::kernels
