// sort and argsort: elements become unsigned keys, keys are sorted by radix.
#include "cpu/kernels/sort.h"

#include <atomic>

#include "cpu/kernels/iterate.h"
#include "cpu/kernels/sort_keys.h"
#include "cpu/kernels/sort_radix.h"

namespace nitinol::cpu::kernels {
namespace {

// The rows of x along its last axis.
struct Rows {
  Nest<1> outer;
  std::int64_t n;
  std::int64_t stride;  // bytes
  std::int64_t count;

  explicit Rows(const View& x) noexcept {
    const auto item = static_cast<std::int64_t>(itemsize(x.dtype));
    const int axis = x.layout->ndim() - 1;
    n = x.layout->shape(axis);
    stride = x.layout->stride(axis) * item;
    for (int d = 0; d < axis; ++d) {
      outer.push(x.layout->shape(d), {x.layout->stride(d) * item});
    }
    count = outer.size();
  }

  // row(index, x) for all rows: few long ones one after the other, each on all
  // threads; many on a thread each.
  template <class F>
  void for_each(const char* x, F row) const noexcept {
    const auto range = [&](std::int64_t begin, std::int64_t end) {
      Odometer<1> at(outer, outer.ndim, begin);
      for (std::int64_t r = begin; r < end; ++r, at.next()) row(r, x + at.offset[0]);
    };
    if (count == 0) return;
    if (count < concurrency()) return range(0, count);
    parallel_for(count, items_per_grain(16 * n), range);
  }
};

template <class Key>
Key raw_at(const char* x, std::int64_t stride, std::int64_t i) noexcept {
  return *reinterpret_cast<const Key*>(x + i * stride);
}

// Puts the zeros of a sorted row back as they were: those below zero bits differ only
// in sign, and a stable sort keeps their order.
template <class T>
void restore_zeros(const char* x, std::int64_t stride, std::int64_t n,
                   typename SortKey<T>::Key* out) noexcept {
  using Key = typename SortKey<T>::Key;
  constexpr Key sign = SortKey<T>::sign;
  std::int64_t at = 0;
  while (out[at] != 0) ++at;
  for (std::int64_t i = 0; i < n; ++i) {
    const Key raw = raw_at<Key>(x, stride, i);
    if ((raw & static_cast<Key>(~sign)) == 0) out[at++] = raw;
  }
}

template <class T>
void sort_rows(const Launch& launch, bool descending) noexcept {
  using K = SortKey<T>;
  using Key = typename K::Key;
  const View& x = launch.inputs[0];
  const Rows rows(x);
  if (rows.n == 0) return;
  const Key flip = descending ? static_cast<Key>(~Key(0)) : Key(0);
  const std::int64_t n = rows.n, stride = rows.stride;
  rows.for_each(x.data, [&](std::int64_t r, const char* row) {
    Key* out = launch.output.as<Key>() + r * n;
    const std::size_t bytes = sizeof(Key) * static_cast<std::size_t>(n);
    const Scratch spare(bytes);
    if (!spare) return refuse_memory(launch, bytes);
    std::atomic<bool> negative_zero{false};
    parallel_for(n, parallel_grain, [&](std::int64_t begin, std::int64_t end) {
      unsigned found = 0;
      for (std::int64_t i = begin; i < end; ++i) {
        const Key raw = raw_at<Key>(row, stride, i);
        if constexpr (K::floating) found |= raw == K::sign;
        out[i] = K::from(raw, flip);
      }
      if (found) negative_zero.store(true, std::memory_order_relaxed);
    });
    Key* sorted = radix_sort(out, spare.as<Key>(), n, 0, K::bits);
    if (sorted == nullptr) return refuse_memory(launch, bytes);
    parallel_for(n, parallel_grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) out[i] = K::to(sorted[i], flip);
    });
    if (negative_zero.load(std::memory_order_relaxed)) restore_zeros<T>(row, stride, n, out);
  });
}

// Keys up to 32 bits and positions share a 64-bit word, in the output's own memory.
template <class T>
void argsort_narrow(const Launch& launch, const Rows& rows, bool descending) noexcept {
  using K = SortKey<T>;
  using Key = typename K::Key;
  const Key flip = descending ? static_cast<Key>(~Key(0)) : Key(0);
  const std::int64_t n = rows.n, stride = rows.stride;
  rows.for_each(launch.inputs[0].data, [&](std::int64_t r, const char* row) {
    auto* out = launch.output.as<std::uint64_t>() + r * n;
    const std::size_t bytes = sizeof(std::uint64_t) * static_cast<std::size_t>(n);
    const Scratch spare(bytes);
    if (!spare) return refuse_memory(launch, bytes);
    parallel_for(n, parallel_grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const std::uint64_t key = K::from(raw_at<Key>(row, stride, i), flip);
        out[i] = key << 32 | static_cast<std::uint64_t>(i);
      }
    });
    const std::uint64_t* sorted = radix_sort(out, spare.as<std::uint64_t>(), n, 32, K::bits);
    if (sorted == nullptr) return refuse_memory(launch, bytes);
    parallel_for(n, parallel_grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) out[i] = sorted[i] & 0xffffffffu;
    });
  });
}

template <class T>
void argsort_wide(const Launch& launch, const Rows& rows, bool descending) noexcept {
  using K = SortKey<T>;
  using Key = typename K::Key;
  const Key flip = descending ? static_cast<Key>(~Key(0)) : Key(0);
  const std::int64_t n = rows.n, stride = rows.stride;
  rows.for_each(launch.inputs[0].data, [&](std::int64_t r, const char* row) {
    auto* out = launch.output.as<std::uint64_t>() + r * n;
    const std::size_t bytes = 2 * sizeof(KeyedIndex) * static_cast<std::size_t>(n);
    const Scratch scratch(bytes);
    if (!scratch) return refuse_memory(launch, bytes);
    KeyedIndex* records = scratch.as<KeyedIndex>();
    parallel_for(n, parallel_grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        records[i] = {K::from(raw_at<Key>(row, stride, i), flip), static_cast<std::uint64_t>(i)};
      }
    });
    const KeyedIndex* sorted = radix_sort(records, records + n, n, 0, K::bits);
    if (sorted == nullptr) return refuse_memory(launch, bytes);
    parallel_for(n, parallel_grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) out[i] = sorted[i].index;
    });
  });
}

}  // namespace

void sort(const Launch& launch) noexcept {
  const bool descending = launch.params.ints[0] != 0;
  if (is_complex(launch.output.dtype)) return refuse(launch);
  dispatch(launch.output.dtype, [&]<class T>(std::type_identity<T>) {
    if constexpr (sizeof(T) <= 8 && !std::is_same_v<T, complex64>) {
      sort_rows<T>(launch, descending);
    }
  });
}

void argsort(const Launch& launch) noexcept {
  const bool descending = launch.params.ints[0] != 0;
  const View& x = launch.inputs[0];
  if (is_complex(x.dtype)) return refuse(launch);
  const Rows rows(x);
  if (rows.n == 0) return;
  const bool fits = rows.n <= std::int64_t(1) << 32;
  dispatch(x.dtype, [&]<class T>(std::type_identity<T>) {
    if constexpr (sizeof(T) <= 8 && !std::is_same_v<T, complex64>) {
      if constexpr (sizeof(T) < 8) {
        if (fits) return argsort_narrow<T>(launch, rows, descending);
      }
      argsort_wide<T>(launch, rows, descending);
    }
  });
}

}  // namespace nitinol::cpu::kernels
