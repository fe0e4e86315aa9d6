// take, gather and take_along_axis.
#include <algorithm>
#include <cstring>

#include "cpu/kernels/copy.h"
#include "cpu/kernels/index.h"

namespace nitinol::cpu::kernels {
namespace {

constexpr std::int64_t prefetch_distance = 16;  // rows ahead, for memory's latency

template <std::size_t bytes>
void copy_rows_of(char* dst, const char* x, const std::int64_t* offsets, std::int64_t n,
                  std::size_t) noexcept {
  for (std::int64_t i = 0; i < n; ++i) {
    // Single elements are dense enough for the processor to run ahead by itself.
    if (bytes > 16 && i + prefetch_distance < n) {
      __builtin_prefetch(x + offsets[i + prefetch_distance]);
    }
    std::memcpy(dst + i * static_cast<std::int64_t>(bytes), x + offsets[i], bytes);
  }
}

void copy_rows_of_any(char* dst, const char* x, const std::int64_t* offsets, std::int64_t n,
                      std::size_t bytes) noexcept {
  for (std::int64_t i = 0; i < n; ++i) {
    if (i + 4 < n) __builtin_prefetch(x + offsets[i + 4]);
    std::memcpy(dst + i * static_cast<std::int64_t>(bytes), x + offsets[i], bytes);
  }
}

using CopyRows = void (*)(char*, const char*, const std::int64_t*, std::int64_t,
                          std::size_t) noexcept;

CopyRows copy_rows(std::size_t bytes) noexcept {
  switch (bytes) {
    case 1:
      return copy_rows_of<1>;
    case 2:
      return copy_rows_of<2>;
    case 4:
      return copy_rows_of<4>;
    case 8:
      return copy_rows_of<8>;
    case 16:
      return copy_rows_of<16>;
    case 32:
      return copy_rows_of<32>;
    case 64:
      return copy_rows_of<64>;
    case 128:
      return copy_rows_of<128>;
    case 256:
      return copy_rows_of<256>;
    default:
      return copy_rows_of_any;
  }
}

// The output is outer dimensions of x, the indices' shape, inner dimensions of x.
void gather_axes(const Launch& launch, std::span<const View> indices, int axis) noexcept {
  const View& x = launch.inputs[0];
  const View& out = launch.output;
  const std::size_t bytes = itemsize(x.dtype);
  const auto item = static_cast<std::int64_t>(bytes);
  const int ndim = x.layout->ndim();
  const int behind = axis + static_cast<int>(indices.size());
  if (out.layout->size() == 0 && indices[0].layout->size() == 0) return;

  std::int64_t strides[max_ndim];
  for (int d = 0; d < ndim; ++d) strides[d] = x.layout->stride(d) * item;
  const IndexTuple tuple{indices, x.layout, axis, strides};
  const std::int64_t count = tuple.size();

  Nest<1> outer;
  Nest<2> inner;  // 0: the output, 1: x
  std::int64_t dense[max_ndim];
  row_major(x.layout->shape(), dense);
  for (int d = 0; d < axis; ++d) outer.push(x.layout->shape(d), {strides[d]});
  for (int d = behind; d < ndim; ++d) inner.push(x.layout->shape(d), {dense[d] * item, strides[d]});
  const std::int64_t outers = outer.size();
  const std::int64_t row = inner.size();

  if (tuple.nothing_to_index() || outers == 0 || row == 0) {
    // Nothing is read, but a wrong index is still wrong.
    parallel_for(count, parallel_grain, [&](std::int64_t begin, std::int64_t end) {
      std::int64_t offsets[index_block];
      for (std::int64_t i = begin; i < end; i += index_block) {
        tuple.resolve(launch.fault, i, std::min(index_block, end - i), offsets);
      }
    });
    return;
  }

  const bool in_runs = inner.ndim == 0 || (inner.ndim == 1 && inner.strides[1][0] == item);
  const std::size_t row_bytes = static_cast<std::size_t>(row) * bytes;
  const CopyRows run = copy_rows(row_bytes);
  if (row >= 4 * parallel_grain) {  // each row is work for all threads
    Odometer<1> at(outer, outer.ndim, 0);
    for (std::int64_t o = 0; o < outers; ++o, at.next()) {
      for (std::int64_t i = 0; i < count; ++i) {
        std::int64_t offset;
        tuple.resolve(launch.fault, i, 1, &offset);
        copy_region(bytes, inner, out.data + (o * count + i) * row * item,
                    x.data + at.offset[0] + offset);
      }
    }
    return;
  }

  // Blocks of indices, resolved once for all outer positions that one thread covers.
  const std::int64_t block = std::clamp<std::int64_t>(parallel_grain / row, 1, index_block);
  const std::int64_t blocks = ceil_div(count, block);
  parallel_for(blocks * outers, items_per_grain(std::min(block, count) * row),
               [&](std::int64_t begin, std::int64_t end) {
                 std::int64_t offsets[index_block];
                 std::int64_t resolved = -1;
                 Odometer<1> at(outer, outer.ndim, begin % outers);
                 for (std::int64_t u = begin; u < end; ++u, at.next()) {
                   const std::int64_t b = u / outers;
                   const std::int64_t first = b * block;
                   const std::int64_t n = std::min(block, count - first);
                   if (b != resolved) tuple.resolve(launch.fault, first, n, offsets);
                   resolved = b;
                   char* dst = out.data + ((u % outers) * count + first) * row * item;
                   const char* src = x.data + at.offset[0];
                   if (in_runs) {
                     run(dst, src, offsets, n, row_bytes);
                     continue;
                   }
                   for (std::int64_t i = 0; i < n; ++i) {
                     copy_region_inline(bytes, inner, dst + i * row * item, src + offsets[i]);
                   }
                 }
               });
}

}  // namespace

void take(const Launch& launch) noexcept {
  gather_axes(launch, launch.inputs.subspan(1, 1), static_cast<int>(launch.params.ints[0]));
}

void gather(const Launch& launch) noexcept {
  gather_axes(launch, launch.inputs.subspan(1), static_cast<int>(launch.params.ints[0]));
}

void take_along_axis(const Launch& launch) noexcept {
  const View& x = launch.inputs[0];
  const View& indices = launch.inputs[1];
  const View& out = launch.output;
  const Layout& shape = *out.layout;
  const int ndim = shape.ndim();
  const auto axis = static_cast<int>(launch.params.ints[0]);
  const auto item = static_cast<std::int64_t>(itemsize(x.dtype));
  const auto index_item = static_cast<std::int64_t>(itemsize(indices.dtype));
  const std::int64_t size = x.layout->shape(axis);
  const std::int64_t axis_stride = x.layout->stride(axis) * item;
  if (shape.size() == 0) return;

  // Lines run along the last axis: along it x advances by `step` unless it is indexed.
  // Dimensions of size 1 broadcast.
  const int last = ndim - 1;
  Nest<2> outer;  // 0: x, 1: indices, in bytes
  const auto x_stride = [&](int d) {
    return d == axis || x.layout->shape(d) == 1 ? 0 : x.layout->stride(d) * item;
  };
  const auto index_stride = [&](int d) {
    return indices.layout->shape(d) == 1 ? 0 : indices.layout->stride(d) * index_item;
  };
  for (int d = 0; d < last; ++d) outer.push(shape.shape(d), {x_stride(d), index_stride(d)});
  const std::int64_t n = shape.shape(last);
  const std::int64_t step = x_stride(last);
  const std::int64_t index_step = index_stride(last);
  const std::int64_t rows = shape.size() / n;

  dispatch_size(itemsize(x.dtype), [&]<class T>(std::type_identity<T>) {
    parallel_for(rows, items_per_grain(2 * n), [&](std::int64_t begin, std::int64_t end) {
      std::int64_t values[index_block];
      Odometer<2> at(outer, outer.ndim, begin);
      for (std::int64_t r = begin; r < end; ++r, at.next()) {
        T* to = out.as<T>() + r * n;
        const char* from = x.data + at.offset[0];
        for (std::int64_t first = 0; first < n; first += index_block) {
          const std::int64_t count = std::min(index_block, n - first);
          load_integers(indices.dtype, indices.data + at.offset[1] + first * index_step, index_step,
                        count, values);
          for (std::int64_t i = 0; i < count; ++i) {
            std::int64_t v = values[i] < 0 ? values[i] + size : values[i];
            if (static_cast<std::uint64_t>(v) >= static_cast<std::uint64_t>(size)) {
              launch.fault.raise(r * n + first + i, Code::index_out_of_range, values[i], axis,
                                 size);
              if (size == 0) return;
              v = 0;
            }
            to[first + i] =
                *reinterpret_cast<const T*>(from + (first + i) * step + v * axis_stride);
          }
        }
      }
    });
  });
}

}  // namespace nitinol::cpu::kernels
