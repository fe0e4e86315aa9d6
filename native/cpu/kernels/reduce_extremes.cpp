// max and min, argmax and argmin.
#include <limits>
#include <optional>

#include "cpu/half.h"
#include "cpu/kernels/reduce.h"
#include "cpu/kernels/reduce_tree.h"

namespace nitinol::cpu::kernels {
namespace {

// float16 is compared as float32.
template <class T, bool is_max>
struct Extreme {
  using In = T;
  using Acc = std::conditional_t<std::is_same_v<T, float16>, float, T>;
  static constexpr bool exact = true;
  static constexpr bool sequential = false;
  static constexpr bool cloned = true;
  static Acc identity() noexcept {
    using L = std::numeric_limits<Acc>;
    if constexpr (L::has_infinity) return is_max ? -L::infinity() : L::infinity();
    return is_max ? L::lowest() : L::max();
  }
  static Acc empty() noexcept { return identity(); }
  static Acc load(In v) noexcept {
    if constexpr (std::is_same_v<T, float16>) {
      return to_float(v);
    } else {
      return v;
    }
  }
  static Acc combine(Acc a, Acc b) noexcept {
    const int better = is_max ? b > a : b < a;
    if constexpr (std::is_floating_point_v<Acc>) {
      // A NaN takes over, and nothing compares better than a NaN afterwards.
      return (better | static_cast<int>(b != b)) != 0 ? b : a;
    } else {
      return better != 0 ? b : a;
    }
  }
  // Looks for NaN beside the chain of comparisons, which is then one instruction a step.
  static NITINOL_INLINE Acc block(const In* x, std::int64_t n) noexcept
    requires(std::is_floating_point_v<Acc>)
  {
    constexpr int width = lanes<Extreme>;
    using Flag = std::conditional_t<sizeof(Acc) == 4, std::int32_t, std::int64_t>;
    Acc best[width];
    Flag nan[width];
    for (int j = 0; j < width; ++j) best[j] = identity();
    for (int j = 0; j < width; ++j) nan[j] = 0;
    const std::int64_t full = n / width * width;
#pragma GCC unroll 1
    for (std::int64_t i = 0; i < full; i += width) {
      for (int j = 0; j < width; ++j) {
        const Acc v = load(x[i + j]);
        best[j] = (is_max ? v > best[j] : v < best[j]) ? v : best[j];
        nan[j] |= v != v ? Flag(-1) : Flag(0);
      }
    }
    const int rest = static_cast<int>(n - full);
#pragma GCC unroll 1
    for (int j = 0; j < rest; ++j) best[j] = combine(best[j], load(x[full + j]));
    for (int half = width / 2; half > 0; half /= 2) {
      for (int j = 0; j < half; ++j) {
        best[j] = combine(best[j], best[j + half]);
        nan[j] |= nan[j + half];
      }
    }
    return nan[0] ? std::numeric_limits<Acc>::quiet_NaN() : best[0];
  }
  static void store(char* out, std::int64_t i, Acc v, std::size_t) noexcept {
    if constexpr (std::is_same_v<T, float16>) {
      reinterpret_cast<float16*>(out)[i] = to_half(v);
    } else {
      reinterpret_cast<In*>(out)[i] = v;
    }
  }
};

// Calls f with the element type: bool is compared as a byte, complex numbers not at all.
template <class F>
void with_ordered(const Launch& launch, F f) noexcept {
  const DType dtype = launch.inputs[0].dtype;
  if (is_complex(dtype)) return refuse(launch);
  dispatch(dtype == DType::bool_ ? DType::uint8 : dtype, [&]<class T>(std::type_identity<T> type) {
    if constexpr (!std::is_same_v<T, bool> && !requires(T v) { v.real(); }) f(type);
  });
}

template <bool is_max>
void extreme(const Launch& launch) noexcept {
  with_ordered(launch, [&]<class T>(std::type_identity<T>) { reduce<Extreme<T, is_max>>(launch); });
}

// The best element of a chunk, in the first bytes of `value`, and where it is.
struct Found {
  alignas(8) char value[8];
  std::int64_t index;

  template <class Acc>
  Acc get() const noexcept {
    return *reinterpret_cast<const Acc*>(value);
  }
  template <class Acc>
  void set(Acc v, std::int64_t at) noexcept {
    *reinterpret_cast<Acc*>(value) = v;
    index = at;
  }
};

inline constexpr int find_tile = 512;  // columns searched side by side

// Whether `b`, which comes later, takes the place of `a`: the first NaN wins.
template <bool is_max, class Acc>
NITINOL_INLINE bool takes_over(Acc a, Acc b) noexcept {
  const int better = is_max ? b > a : b < a;
  if constexpr (std::is_floating_point_v<Acc>) {
    return (better | (static_cast<int>(b != b) & static_cast<int>(a == a))) != 0;
  }
  return better != 0;
}

// The first element equal to `value` (NaN: the first NaN).
template <class P>
NITINOL_CLONES std::int64_t find_first(const char* x, std::int64_t stride, std::int64_t n,
                                       typename P::Acc value) noexcept {
  constexpr std::int64_t item = sizeof(typename P::In);
  constexpr int step = 64;
  const bool nan = value != value;
  std::int64_t i = 0;
  if (stride == item) {
    const auto* p = reinterpret_cast<const typename P::In*>(x);
    for (; i + step <= n; i += step) {
      unsigned hits = 0;
      for (int j = 0; j < step; ++j) {
        const typename P::Acc v = P::load(p[i + j]);
        hits |= (nan ? v != v : v == value) ? 1u : 0u;
      }
      if (hits) break;
    }
  }
  for (; i < n; ++i) {
    const typename P::Acc v = load_at<P>(x + i * stride);
    if (nan ? v != v : v == value) break;
  }
  return i;
}

template <class P>
void find_in_row(const char* x, std::int64_t stride, std::int64_t n, Found* found) noexcept {
  typename P::Acc value;
  row_cloned<P>(x, stride, n, &value);
  found->set(value, find_first<P>(x, stride, n, value));
}

// The best of each column and its row, for at most 2^31 rows.
template <class P, bool is_max>
NITINOL_CLONES void find_in_columns(const char* x, std::int64_t stride, std::int64_t n,
                                    std::int64_t col_stride, int cols, Found* found) noexcept {
  using In = typename P::In;
  using Acc = typename P::Acc;
  Acc best[find_tile];
  std::int32_t index[find_tile];
  for (int j = 0; j < cols; ++j) best[j] = load_at<P>(x + j * col_stride);
  std::fill_n(index, cols, 0);
  for (std::int32_t r = 1; r < static_cast<std::int32_t>(n); ++r) {
    const char* row = x + r * stride;
    if (col_stride == static_cast<std::int64_t>(sizeof(In))) {
      const In* p = reinterpret_cast<const In*>(row);
      for (int j = 0; j < cols; ++j) {
        const Acc v = P::load(p[j]);
        const bool take = takes_over<is_max>(best[j], v);
        best[j] = take ? v : best[j];
        index[j] = take ? r : index[j];
      }
    } else {
#pragma GCC unroll 1
      for (int j = 0; j < cols; ++j) {
        const Acc v = load_at<P>(row + j * col_stride);
        if (takes_over<is_max>(best[j], v)) best[j] = v, index[j] = r;
      }
    }
  }
  for (int j = 0; j < cols; ++j) found[j].set(best[j], index[j]);
}

// The typed parts of a search.
struct Finder {
  void (*row)(const char* x, std::int64_t stride, std::int64_t n, Found* found) noexcept;
  void (*columns)(const char* x, std::int64_t stride, std::int64_t n, std::int64_t col_stride,
                  int cols, Found* found) noexcept;
  bool (*takes_over)(const Found& a, const Found& b) noexcept;
};

void find_with(const Launch& launch, const Finder& finder) noexcept {
  const Reduction r(launch);
  const std::int64_t size = r.outer.size();
  if (size == 0 || r.n == 0) return;
  const std::int64_t chunks = ceil_div(r.n, chunk_length);
  const std::size_t bytes =
      chunks > 1 ? sizeof(Found) * static_cast<std::size_t>(size * chunks) : 0;
  std::optional<Scratch> scratch;
  if (chunks > 1 && !scratch.emplace(bytes)) return refuse_memory(launch, bytes);
  Found* parts = scratch ? scratch->as<Found>() : nullptr;
  std::int64_t* out = launch.output.as<std::int64_t>();
  const auto put = [&](std::int64_t i, std::int64_t c, Found found) {
    if (chunks == 1) {
      out[i] = found.index;
    } else {
      found.index += c * chunk_length;
      parts[i * chunks + c] = found;
    }
  };
  for_each_tile(
      r, launch.inputs[0].data, std::min(r.n, chunk_length), find_tile,
      [&](std::int64_t i, std::int64_t c, const char* x, std::int64_t n) {
        Found found;
        finder.row(x, r.stride, n, &found);
        put(i, c, found);
      },
      [&](std::int64_t i, std::int64_t step, std::int64_t c, const char* x, std::int64_t n,
          std::int64_t col_stride, int cols) {
        Found found[find_tile];
        finder.columns(x, r.stride, n, col_stride, cols, found);
        for (int j = 0; j < cols; ++j) put(i + j * step, c, found[j]);
      });
  for (std::int64_t i = 0; i < size && chunks > 1; ++i) {
    const Found* part = parts + i * chunks;
    Found best = part[0];
    for (std::int64_t c = 1; c < chunks; ++c) {
      if (finder.takes_over(best, part[c])) best = part[c];
    }
    out[i] = best.index;
  }
}

template <bool is_max>
void arg_extreme(const Launch& launch) noexcept {
  with_ordered(launch, [&]<class T>(std::type_identity<T>) {
    using P = Extreme<T, is_max>;
    using Acc = typename P::Acc;
    find_with(launch, {find_in_row<P>, find_in_columns<P, is_max>,
                       [](const Found& a, const Found& b) noexcept {
                         return takes_over<is_max>(a.get<Acc>(), b.get<Acc>());
                       }});
  });
}

}  // namespace

void max(const Launch& launch) noexcept { extreme<true>(launch); }
void min(const Launch& launch) noexcept { extreme<false>(launch); }
void argmax(const Launch& launch) noexcept { arg_extreme<true>(launch); }
void argmin(const Launch& launch) noexcept { arg_extreme<false>(launch); }

}  // namespace nitinol::cpu::kernels
