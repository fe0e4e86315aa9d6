// sort and argsort: elements become unsigned keys, keys are sorted by radix.
#include "cpu/kernels/sort.h"

#include <atomic>
#include <bit>

#include "cpu/kernels/iterate.h"
#include "cpu/kernels/sort_keys.h"
#include "cpu/kernels/sort_radix.h"
#include "cpu/kernels/sort_ranks.h"

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

// The smallest and largest key of a row, and with them the bits in which keys differ.
template <class T>
struct KeyRange {
  using K = SortKey<T>;
  using Key = typename K::Key;
  Key low = static_cast<Key>(~Key(0)), high = 0;

  KeyRange(const char* row, std::int64_t stride, std::int64_t n, Key flip) noexcept {
    std::atomic<Key> least{low}, most{high};
    parallel_for(n, 4 * parallel_grain, [&](std::int64_t begin, std::int64_t end) {
      Key a = static_cast<Key>(~Key(0)), b = 0;
      for (std::int64_t i = begin; i < end; ++i) {
        const Key key = K::from(raw_at<Key>(row, stride, i), flip);
        a = key < a ? key : a;
        b = key > b ? key : b;
      }
      Key seen = least.load(std::memory_order_relaxed);
      while (a < seen && !least.compare_exchange_weak(seen, a, std::memory_order_relaxed)) {
      }
      seen = most.load(std::memory_order_relaxed);
      while (b > seen && !most.compare_exchange_weak(seen, b, std::memory_order_relaxed)) {
      }
    });
    low = least.load(std::memory_order_relaxed);
    high = most.load(std::memory_order_relaxed);
  }
  int bits() const noexcept { return std::bit_width(static_cast<std::uint64_t>(high - low)); }
};

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
  if (rows.n == 0 || rows.count == 0) return;
  const Key flip = descending ? static_cast<Key>(~Key(0)) : Key(0);
  const std::int64_t n = rows.n, stride = rows.stride;
  rows.for_each(x.data, [&](std::int64_t r, const char* row) {
    Key* out = launch.output.as<Key>() + r * n;
    if (n <= longest_ranked<T>) {
      return sort_by_ranks<T>(row, stride, n, flip,
                              [&](auto place, std::int64_t, Key element) { out[place] = element; });
    }
    const std::size_t bytes = sizeof(Key) * static_cast<std::size_t>(n);
    const Scratch spare(bytes);
    if (!spare) return refuse_memory(launch, bytes);
    std::atomic<bool> negative_zero{false};
    Key low = 0;
    int bits = K::bits;
    if (K::bits > 16 && n > 1024) {
      const KeyRange<T> range(row, stride, n, flip);
      low = range.low;
      bits = range.bits();
    }
    parallel_for(n, parallel_grain, [&](std::int64_t begin, std::int64_t end) {
      unsigned found = 0;
      for (std::int64_t i = begin; i < end; ++i) {
        const Key raw = raw_at<Key>(row, stride, i);
        if constexpr (K::floating) found |= raw == K::sign;
        out[i] = static_cast<Key>(K::from(raw, flip) - low);
      }
      if (found) negative_zero.store(true, std::memory_order_relaxed);
    });
    Key* sorted = radix_sort(out, spare.as<Key>(), n, 0, bits);
    if (sorted == nullptr) return refuse_memory(launch, bytes);
    parallel_for(n, parallel_grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i)
        out[i] = K::to(static_cast<Key>(sorted[i] + low), flip);
    });
    if (negative_zero.load(std::memory_order_relaxed)) restore_zeros<T>(row, stride, n, out);
  });
}

// Longest run of keys with equal upper halves that is put in order by insertion; among
// longer ones a full sort of the wide keys is quicker.
inline constexpr std::int64_t longest_run = 32;

// Orders positions whose upper key bits are equal by the whole key; false: a run is too
// long. Runs are found by the upper half of each word.
template <class T>
bool order_runs(std::uint64_t* words, std::int64_t n, const char* row, std::int64_t stride,
                typename SortKey<T>::Key flip) noexcept {
  using K = SortKey<T>;
  using Key = typename K::Key;
  const auto key_at = [&](std::uint64_t word) {
    return K::from(raw_at<Key>(row, stride, static_cast<std::int64_t>(word & 0xffffffffu)), flip);
  };
  for (std::int64_t first = 0; first < n;) {
    std::int64_t end = first + 1;
    while (end < n && words[end] >> 32 == words[first] >> 32) ++end;
    if (end - first > longest_run) return false;
    for (std::int64_t i = first + 1; i < end; ++i) {
      const std::uint64_t word = words[i];
      const Key key = key_at(word);
      std::int64_t j = i;
      for (; j > first && key < key_at(words[j - 1]); --j) words[j] = words[j - 1];
      words[j] = word;
    }
    first = end;
  }
  return true;
}

template <class T>
bool order_all_runs(std::uint64_t* words, std::int64_t n, const char* row, std::int64_t stride,
                    typename SortKey<T>::Key flip) noexcept {
  // Each part ends where a run does; the ends are found before any run is touched.
  const std::int64_t parts = ceil_div(n, parallel_grain);
  const Scratch scratch(sizeof(std::int64_t) * static_cast<std::size_t>(parts + 1));
  if (!scratch) return false;
  std::int64_t* starts = scratch.as<std::int64_t>();
  starts[0] = 0;
  starts[parts] = n;
  for (std::int64_t p = 1; p < parts; ++p) {
    std::int64_t i = p * parallel_grain;
    const std::int64_t limit = i + longest_run;
    while (i < n && words[i] >> 32 == words[i - 1] >> 32) {
      if (++i > limit) return false;
    }
    starts[p] = i;
  }
  std::atomic<bool> settled{true};
  parallel_for(parts, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t p = begin; p < end && settled.load(std::memory_order_relaxed); ++p) {
      if (!order_runs<T>(words + starts[p], starts[p + 1] - starts[p], row, stride, flip)) {
        settled.store(false, std::memory_order_relaxed);
      }
    }
  });
  return settled.load(std::memory_order_relaxed);
}

// Sorts 64-bit words of 32 key bits and a position, in the output's own memory: the
// leading bits of those in which keys differ, which are all for most integers. What
// they leave open is settled afterwards; false: too much was left.
template <class T>
bool argsort_row(const Launch& launch, const char* row, std::int64_t stride, std::int64_t n,
                 typename SortKey<T>::Key flip, std::uint64_t* out) noexcept {
  using K = SortKey<T>;
  using Key = typename K::Key;
  const std::size_t bytes = sizeof(std::uint64_t) * static_cast<std::size_t>(n);
  const Scratch spare(bytes);
  if (!spare) {
    refuse_memory(launch, bytes);
    return true;
  }
  Key low = 0;
  int bits = K::bits;
  if (K::bits > 16 && n > 1024) {
    const KeyRange<T> range(row, stride, n, flip);
    low = range.low;
    bits = range.bits();
  }
  const int open = std::max(bits - 32, 0);
  parallel_for(n, parallel_grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const auto key = static_cast<Key>(K::from(raw_at<Key>(row, stride, i), flip) - low);
      out[i] = static_cast<std::uint64_t>(key >> open) << 32 | static_cast<std::uint64_t>(i);
    }
  });
  std::uint64_t* sorted = radix_sort(out, spare.as<std::uint64_t>(), n, 32, bits - open);
  if (sorted == nullptr) {
    refuse_memory(launch, bytes);
    return true;
  }
  if (open > 0 && !order_all_runs<T>(sorted, n, row, stride, flip)) return false;
  parallel_for(n, parallel_grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) out[i] = sorted[i] & 0xffffffffu;
  });
  return true;
}

// Wide keys beside positions: for what the above leaves open and rows beyond 2^32.
template <class T>
void argsort_row_wide(const Launch& launch, const char* row, std::int64_t stride, std::int64_t n,
                      typename SortKey<T>::Key flip, std::uint64_t* out) noexcept {
  using K = SortKey<T>;
  using Key = typename K::Key;
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
}

template <class T>
void argsort_rows(const Launch& launch, bool descending) noexcept {
  using Key = typename SortKey<T>::Key;
  const View& x = launch.inputs[0];
  const Rows rows(x);
  if (rows.n == 0 || rows.count == 0) return;
  const Key flip = descending ? static_cast<Key>(~Key(0)) : Key(0);
  const std::int64_t n = rows.n;
  rows.for_each(x.data, [&](std::int64_t r, const char* row) {
    auto* out = launch.output.as<std::uint64_t>() + r * n;
    if (n <= longest_ranked<T>) {
      return sort_by_ranks<T>(row, rows.stride, n, flip, [&](auto place, std::int64_t i, Key) {
        out[place] = static_cast<std::uint64_t>(i);
      });
    }
    const bool fits = n <= std::int64_t(1) << 32;
    if (!fits || !argsort_row<T>(launch, row, rows.stride, n, flip, out)) {
      argsort_row_wide<T>(launch, row, rows.stride, n, flip, out);
    }
  });
}

}  // namespace

void sort(const Launch& launch) noexcept {
  const bool descending = launch.params.ints[0] != 0;
  if (is_complex(launch.output.dtype)) return refuse(launch);
  dispatch(launch.output.dtype, [&]<class T>(std::type_identity<T>) {
    if constexpr (!requires(T v) { v.real(); }) sort_rows<T>(launch, descending);
  });
}

void argsort(const Launch& launch) noexcept {
  const bool descending = launch.params.ints[0] != 0;
  const DType dtype = launch.inputs[0].dtype;
  if (is_complex(dtype)) return refuse(launch);
  dispatch(dtype, [&]<class T>(std::type_identity<T>) {
    if constexpr (!requires(T v) { v.real(); }) argsort_rows<T>(launch, descending);
  });
}

}  // namespace nitinol::cpu::kernels
