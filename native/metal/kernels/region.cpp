// Strided copies: neighbouring elements are moved up to 16 bytes at a time.
#include "metal/kernels/region.h"

#include <algorithm>
#include <array>

#include "metal/kernels/copy.h"

namespace nitinol::metal::kernels {
namespace {

constexpr std::size_t most_regions = 8;  // a dispatch

// Longs that a region takes in the kernel's arguments: its place, offset, size and walk.
std::size_t packed_size(const Region& region) noexcept {
  return 4 + 3 * static_cast<std::size_t>(region.walk.ndim());
}

void dispatch_regions(Encoder& encoder, const Operand& output, std::size_t item,
                      std::span<const Region> regions) noexcept {
  std::array<std::int64_t, max_bytes / sizeof(std::int64_t)> packed;
  std::size_t n = regions.size();
  std::int64_t largest = 0;
  for (std::size_t r = 0; r < regions.size(); ++r) {
    const Walk& walk = regions[r].walk;
    packed[r] = static_cast<std::int64_t>(n);
    packed[n++] = regions[r].offset;
    packed[n++] = walk.size();
    packed[n++] = walk.ndim();
    for (int d = 0; d < walk.ndim(); ++d) packed[n++] = walk.shape(d);
    for (int k = 0; k < 2; ++k) {
      for (int d = 0; d < walk.ndim(); ++d) packed[n++] = walk.stride(k, d);
    }
    largest = std::max(largest, walk.size());
  }
  Defines defines;
  defines.add("T", move_type(item)).add("REGIONS", static_cast<std::int64_t>(regions.size()));
  add_index_type(defines, largest);
  defines.pipeline(encoder, "region", "copy_regions");
  encoder.buffer(0, output);
  encoder.bytes(1, packed.data(), n * sizeof(std::int64_t));
  for (std::size_t r = 0; r < regions.size(); ++r) {
    encoder.buffer(2 + static_cast<int>(r), *regions[r].source);
  }
  const auto width =
      static_cast<std::uint32_t>(std::min<std::int64_t>(ceil_div(largest, 32) * 32, group_threads));
  const Grid flat = grid_of(ceil_div(largest, width));
  encoder.dispatch({flat.x, static_cast<std::uint32_t>(regions.size()), flat.y}, {width, 1, 1});
}

}  // namespace

std::string_view move_type(std::size_t bytes) noexcept {
  return bytes == 16 ? "uint4" : word_type(bytes);
}

std::size_t widening(const Operand& output, std::size_t item, const Region& region) noexcept {
  const Walk& walk = region.walk;
  const int last = walk.ndim() - 1;
  if (last < 0 || walk.stride(0, last) != 1 || walk.stride(1, last) != 1) return 1;
  const auto size = static_cast<std::int64_t>(item);
  // All of these are to be multiples of the width: their lowest set bits tell how wide it may be.
  std::uint64_t bits = 16 | output.offset | region.source->offset;
  const auto also = [&](std::int64_t elements) {
    bits |= static_cast<std::uint64_t>(elements * size);
  };
  also(region.offset);
  also(walk.shape(last));
  for (int d = 0; d < last; ++d) {
    also(walk.stride(0, d));
    also(walk.stride(1, d));
  }
  const std::uint64_t width = bits & (~bits + 1);
  return std::max<std::size_t>(static_cast<std::size_t>(width) / item, 1);
}

void widen(Region& region, std::int64_t factor) noexcept {
  if (factor == 1) return;
  const Walk before = region.walk;
  region.walk = Walk(2);
  const int last = before.ndim() - 1;
  for (int d = 0; d < last; ++d) {
    region.walk.push(before.shape(d), {before.stride(0, d) / factor, before.stride(1, d) / factor});
  }
  region.walk.push(before.shape(last) / factor, {1, 1});
  region.offset /= factor;
}

Region region_of(const Operand& source, std::span<const std::int64_t> shape,
                 std::int64_t offset) noexcept {
  std::int64_t strides[max_ndim];
  row_major(shape, strides);
  Region region;
  region.source = &source;
  region.offset = offset;
  for (int d = 0; d < source.layout->ndim(); ++d) {
    region.walk.push(source.layout->shape(d), {strides[d], source.layout->stride(d)});
  }
  return region;
}

void copy_regions(Encoder& encoder, const Operand& output, std::size_t item,
                  std::span<Region> regions) noexcept {
  // Empty regions to the end, out of sight.
  const auto end = std::partition(regions.begin(), regions.end(),
                                  [](const Region& r) { return r.walk.size() > 0; });
  regions = regions.first(static_cast<std::size_t>(end - regions.begin()));
  while (!regions.empty() && !encoder.failed()) {
    std::size_t count = 0, longs = 0, factor = 16;
    while (count < regions.size() && count < most_regions &&
           longs + packed_size(regions[count]) <= max_bytes / sizeof(std::int64_t)) {
      longs += packed_size(regions[count]);
      factor = std::min(factor, widening(output, item, regions[count]));
      ++count;
    }
    if (count == 1 && factor == 1) {
      Operand to = output;
      to.offset += static_cast<std::size_t>(regions[0].offset) * item;
      copy_region(encoder, item, regions[0].walk, to, *regions[0].source);
    } else {
      for (Region& region : regions.first(count)) widen(region, static_cast<std::int64_t>(factor));
      dispatch_regions(encoder, output, item * factor, regions.first(count));
    }
    regions = regions.subspan(count);
  }
}

void copy_whole(Encoder& encoder, const Operand& source, const Operand& output) noexcept {
  Region region = region_of(source, output.layout->shape(), 0);
  copy_regions(encoder, output, itemsize(output.dtype), {&region, 1});
}

Operand dense_copy(Encoder& encoder, const Operand& source, Layout& layout) noexcept {
  layout = Layout(source.layout->shape());
  const std::size_t bytes = static_cast<std::size_t>(layout.size()) * itemsize(source.dtype);
  Operand copy = encoder.scratch(std::max<std::size_t>(bytes, 1));
  copy.layout = &layout;
  copy.dtype = source.dtype;
  copy_whole(encoder, source, copy);
  return copy;
}

}  // namespace nitinol::metal::kernels
