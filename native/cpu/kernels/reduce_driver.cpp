// Cutting reductions into chunks, rows and columns.
#include "cpu/kernels/reduce_driver.h"

#include <cstring>
#include <optional>

namespace nitinol::cpu::kernels {

Reduction::Reduction(const Launch& launch) noexcept {
  const View& x = launch.inputs[0];
  const Layout& layout = *x.layout;
  const auto item = static_cast<std::int64_t>(itemsize(x.dtype));
  const int axis = layout.ndim() - 1;
  n = layout.shape(axis);
  stride = layout.stride(axis) * item;
  std::int64_t strides[max_ndim];
  row_major(layout.shape().first(static_cast<std::size_t>(axis)), strides);
  for (int d = 0; d < axis; ++d) {
    outer.push(layout.shape(d), {strides[d], layout.stride(d) * item});
  }
}

int Reduction::column_dimension() const noexcept {
  int best = -1;
  std::int64_t smallest = magnitude(stride);
  for (int d = 0; d < outer.ndim; ++d) {
    const std::int64_t s = magnitude(outer.strides[1][d]);
    if (s != 0 && s < smallest) {
      smallest = s;
      best = d;
    }
  }
  return best;
}

void reduce_with(const Launch& launch, const Reducer& reducer) noexcept {
  const Reduction r(launch);
  char* out = launch.output.data;
  const std::size_t item = itemsize(launch.output.dtype);
  const std::size_t width = reducer.width;
  const std::int64_t size = r.outer.size();
  if (size == 0) return;
  alignas(16) char one[16];
  if (r.n == 0) {
    reducer.empty(one);
    for (std::int64_t i = 0; i < size; ++i) reducer.store(out, i, 1, 1, one, item);
    return;
  }
  const std::int64_t chunk = reducer.in_chunks ? std::min(r.n, chunk_length) : r.n;
  const std::int64_t chunks = ceil_div(r.n, chunk);
  const auto bytes = chunks > 1 ? width * static_cast<std::size_t>(size * chunks) : 0;
  std::optional<Scratch> scratch;
  if (chunks > 1 && !scratch.emplace(bytes)) return refuse_memory(launch, bytes);
  char* parts = scratch ? scratch->as() : nullptr;

  // One chunk goes straight to the output, more to where they are folded from.
  const auto put = [&](std::int64_t first, std::int64_t step, std::int64_t c, std::int64_t count,
                       const char* values) {
    if (chunks == 1) return reducer.store(out, first, step, count, values, item);
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t at = (first + i * step) * chunks + c;
      std::memcpy(parts + static_cast<std::size_t>(at) * width,
                  values + static_cast<std::size_t>(i) * width, width);
    }
  };
  for_each_tile(
      r, launch.inputs[0].data, chunk, reducer.tile,
      [&](std::int64_t i, std::int64_t c, const char* x, std::int64_t n) {
        alignas(16) char value[16];
        reducer.row(x, r.stride, n, value);
        put(i, 1, c, 1, value);
      },
      [&](std::int64_t i, std::int64_t step, std::int64_t c, const char* x, std::int64_t n,
          std::int64_t col_stride, int cols) {
        const std::size_t wanted =
            width * static_cast<std::size_t>((1 + reducer.column_work) * cols);
        alignas(64) char small[4096];
        std::optional<Scratch> large;
        if (wanted > sizeof small && !large.emplace(wanted)) return refuse_memory(launch, wanted);
        char* results = large ? large->as() : small;
        reducer.columns(x, r.stride, n, col_stride, cols, results,
                        results + width * static_cast<std::size_t>(cols));
        put(i, step, c, cols, results);
      });
  if (chunks == 1 || launch.fault.failed()) return;
  parallel_for(size, items_per_grain(chunks), [&](std::int64_t begin, std::int64_t end) {
    alignas(16) char value[16];
    for (std::int64_t i = begin; i < end; ++i) {
      reducer.fold(parts + static_cast<std::size_t>(i * chunks) * width, chunks, value);
      reducer.store(out, i, 1, 1, value, item);
    }
  });
}

}  // namespace nitinol::cpu::kernels
