// Integer indices: their values, their range and the offsets they stand for.
#include "cpu/kernels/index.h"

#include <algorithm>
#include <limits>

namespace nitinol::cpu::kernels {
namespace {

template <class T>
std::int64_t widen(T value) noexcept {
  if constexpr (std::is_same_v<T, std::uint64_t>) {
    constexpr auto largest = std::numeric_limits<std::int64_t>::max();
    return value > static_cast<std::uint64_t>(largest) ? largest : static_cast<std::int64_t>(value);
  } else {
    return value;
  }
}

// Adds the offsets of the indices; false: some were outside and counted as 0.
NITINOL_CLONES bool add_offsets(const std::int64_t* values, std::int64_t n, std::int64_t size,
                                std::int64_t stride, std::int64_t* offsets) noexcept {
  std::int64_t bad = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int64_t v = values[i] < 0 ? values[i] + size : values[i];
    const bool outside = static_cast<std::uint64_t>(v) >= static_cast<std::uint64_t>(size);
    bad |= outside ? 1 : 0;
    offsets[i] += (outside ? 0 : v) * stride;
  }
  return bad == 0;
}

template <class T>
void load_line(const char* data, std::int64_t stride, std::int64_t count,
               std::int64_t* values) noexcept {
  if (stride == static_cast<std::int64_t>(sizeof(T))) {
    const T* p = reinterpret_cast<const T*>(data);
    for (std::int64_t i = 0; i < count; ++i) values[i] = widen(p[i]);
  } else {
    for (std::int64_t i = 0; i < count; ++i) {
      values[i] = widen(*reinterpret_cast<const T*>(data + i * stride));
    }
  }
}

}  // namespace

void load_integers(DType dtype, const char* data, std::int64_t stride, std::int64_t count,
                   std::int64_t* values) noexcept {
  dispatch(dtype, [&]<class T>(std::type_identity<T>) {
    if constexpr (std::is_integral_v<T>) load_line<T>(data, stride, count, values);
  });
}

void load_integers(const View& array, std::int64_t first, std::int64_t count,
                   std::int64_t* values) noexcept {
  const auto item = static_cast<std::int64_t>(itemsize(array.dtype));
  Nest<1> nest;
  for (int d = 0; d < array.layout->ndim(); ++d) {
    nest.push(array.layout->shape(d), {array.layout->stride(d) * item});
  }
  if (nest.ndim == 0) return load_integers(array.dtype, array.data, 0, count, values);
  const int inner = nest.ndim - 1;
  const std::int64_t length = nest.shape[inner], stride = nest.strides[0][inner];
  std::int64_t skip = first % length;
  Odometer<1> at(nest, inner, first / length);
  for (std::int64_t done = 0; done < count; at.next()) {
    const std::int64_t n = std::min(count - done, length - skip);
    load_integers(array.dtype, array.data + at.offset[0] + skip * stride, stride, n, values + done);
    done += n;
    skip = 0;
  }
}

bool IndexTuple::nothing_to_index() const noexcept {
  for (std::size_t k = 0; k < arrays.size(); ++k) {
    if (layout->shape(axis + static_cast<int>(k)) == 0) return true;
  }
  return false;
}

void IndexTuple::resolve(FaultSlot& fault, std::int64_t first, std::int64_t count,
                         std::int64_t* offsets) const noexcept {
  std::int64_t block[index_block];
  for (std::size_t k = 0; k < arrays.size(); ++k) {
    const View& array = arrays[k];
    const int d = axis + static_cast<int>(k);
    const std::int64_t size = layout->shape(d);
    const bool readable = array.dtype == DType::int64 && array.layout->contiguous();
    for (std::int64_t done = 0; done < count; done += index_block) {
      const std::int64_t n = std::min(index_block, count - done);
      const std::int64_t* values = array.as<std::int64_t>() + first + done;
      if (!readable) {
        load_integers(array, first + done, n, block);
        values = block;
      }
      if (k == 0) std::fill_n(offsets + done, n, 0);
      if (add_offsets(values, n, size, strides[d], offsets + done)) continue;
      for (std::int64_t i = 0; i < n; ++i) {
        if (values[i] >= size || values[i] < -size) {
          fault.raise(first + done + i, Code::index_out_of_range, values[i], d, size);
        }
      }
    }
  }
}

}  // namespace nitinol::cpu::kernels
