// Copies of strided regions into strided regions of the output, several in one dispatch: what
// concatenation, padding and functional updates are made of.
#pragma once

#include <span>

#include "metal/kernels/launch_helpers.h"

namespace nitinol::metal::kernels {

// `walk` has two operands: the destination, then the source, in elements. `offset` is where the
// destination begins, in elements from the output's first.
struct Region {
  const Operand* source = nullptr;
  Walk walk{2};
  std::int64_t offset = 0;
};

// The region that an array takes in a row-major array of shape `shape` around it.
Region region_of(const Operand& source, std::span<const std::int64_t> shape,
                 std::int64_t offset) noexcept;

// Elements are moved as they are, `item` bytes each; no two regions overlap. `regions` are used up:
// they come back counted in wider elements.
void copy_regions(Encoder& encoder, const Operand& output, std::size_t item,
                  std::span<Region> regions) noexcept;

// The whole of `source` to the output, which is row-major and of the same shape.
void copy_whole(Encoder& encoder, const Operand& source, const Operand& output) noexcept;

// A row-major copy in scratch memory. `layout` is filled in and must outlive the result.
Operand dense_copy(Encoder& encoder, const Operand& source, Layout& layout) noexcept;

// The row-major strides of `shape`.
inline void row_major(std::span<const std::int64_t> shape, std::int64_t* strides) noexcept {
  std::int64_t step = 1;
  for (std::size_t d = shape.size(); d-- > 0;) {
    strides[d] = step;
    step *= shape[d];
  }
}

// The unsigned type of `bytes` bytes that elements are moved as, and how many elements of `item`
// bytes it holds where wider moves are possible.
std::string_view move_type(std::size_t bytes) noexcept;

// The largest number of elements that may be moved as one in this region.
std::size_t widening(const Operand& output, std::size_t item, const Region& region) noexcept;
void widen(Region& region, std::int64_t factor) noexcept;

// Where positions are this small kernels count them in 32 bits: a 64-bit division takes a GPU ten
// times as long.
inline constexpr std::int64_t short_positions = std::int64_t{1} << 31;
inline void add_index_type(Defines& defines, std::int64_t count) {
  defines.add("INDEX", count < short_positions ? "uint" : "ulong");
}

}  // namespace nitinol::metal::kernels
