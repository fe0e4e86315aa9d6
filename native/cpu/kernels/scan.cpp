// Running sums and products. A long sum is cut into sections of fixed length: each is
// scanned in order from nothing, and what came before it is added to every element.
// Where the cuts lie depends on the length alone, so threads never change the bits;
// sums of non-negative numbers never decrease; errors grow with the section's length
// and the number of sections, not with their product.
#include "cpu/kernels/scan.h"

#include <algorithm>

#include "cpu/kernels/copy.h"
#include "cpu/kernels/reduce_accumulator.h"

namespace nitinol::cpu::kernels {
namespace {

inline constexpr std::int64_t section = 512;
inline constexpr int group = 8;  // sections scanned side by side, to hide the latency of adding

// From In to Out: integers are added in 64 bits and then cut to the output's width.
template <class In, class Out>
struct Scan : Accumulator<In> {
  using Acc = typename Accumulator<In>::Acc;
  static Out finish(Acc v) noexcept {
    if constexpr (std::is_same_v<Out, float16>) {
      return to_half(v);
    } else {
      return static_cast<Out>(v);
    }
  }
};

template <class In, class Out>
struct RunningSum : Scan<In, Out> {
  using Acc = typename Scan<In, Out>::Acc;
  static constexpr bool sections = true;
  static Acc identity() noexcept { return additive_identity<Acc>(); }
  static Acc combine(Acc a, Acc b) noexcept { return a + b; }
};

template <class In, class Out>
struct RunningProduct : Scan<In, Out> {
  using Acc = typename Scan<In, Out>::Acc;
  // A section alone may overflow where the product so far is small.
  static constexpr bool sections = false;
  static Acc identity() noexcept { return Acc(1); }
  static Acc combine(Acc a, Acc b) noexcept { return multiply(a, b); }
};

template <class P, class In>
NITINOL_INLINE typename P::Acc load(const char* x, std::int64_t stride, std::int64_t i) noexcept {
  return P::load(*reinterpret_cast<const In*>(x + i * stride));
}

// Scans elements in order from `acc` and returns the last value.
template <class P, class In, class Out>
typename P::Acc scan_in_order(const char* x, std::int64_t stride, Out* out, std::int64_t n,
                              typename P::Acc acc) noexcept {
  for (std::int64_t i = 0; i < n; ++i) {
    acc = P::combine(acc, load<P, In>(x, stride, i));
    out[i] = P::finish(acc);
  }
  return acc;
}

template <class P, class In>
void section_totals(const char* x, std::int64_t stride, int count,
                    typename P::Acc* totals) noexcept {
  using Acc = typename P::Acc;
  Acc acc[group];
  for (int s = 0; s < group; ++s) acc[s] = P::identity();
  if (count == group) {
    for (std::int64_t i = 0; i < section; ++i) {
      for (int s = 0; s < group; ++s) {
        acc[s] = P::combine(acc[s], load<P, In>(x, stride, s * section + i));
      }
    }
  } else {
    for (int s = 0; s < count; ++s) {
      for (std::int64_t i = 0; i < section; ++i) {
        acc[s] = P::combine(acc[s], load<P, In>(x, stride, s * section + i));
      }
    }
  }
  std::copy_n(acc, count, totals);
}

// Writes `count` whole sections, whose predecessors add up to before[s].
template <class P, class In, class Out>
void scan_sections(const char* x, std::int64_t stride, Out* out, int count,
                   const typename P::Acc* before) noexcept {
  using Acc = typename P::Acc;
  Acc acc[group];
  for (int s = 0; s < group; ++s) acc[s] = P::identity();
  if (count == group) {
    for (std::int64_t i = 0; i < section; ++i) {
      for (int s = 0; s < group; ++s) {
        const std::int64_t at = s * section + i;
        acc[s] = P::combine(acc[s], load<P, In>(x, stride, at));
        out[at] = P::finish(P::combine(before[s], acc[s]));
      }
    }
    return;
  }
  for (int s = 0; s < count; ++s) {
    for (std::int64_t i = 0; i < section; ++i) {
      const std::int64_t at = s * section + i;
      acc[s] = P::combine(acc[s], load<P, In>(x, stride, at));
      out[at] = P::finish(P::combine(before[s], acc[s]));
    }
  }
}

// The elements behind the last whole section.
template <class P, class In, class Out>
void scan_rest(const char* x, std::int64_t stride, Out* out, std::int64_t n,
               typename P::Acc before) noexcept {
  typename P::Acc acc = P::identity();
  for (std::int64_t i = 0; i < n; ++i) {
    acc = P::combine(acc, load<P, In>(x, stride, i));
    out[i] = P::finish(P::combine(before, acc));
  }
}

template <class P, class In, class Out>
void scan_row(const char* x, std::int64_t stride, Out* out, std::int64_t n) noexcept {
  using Acc = typename P::Acc;
  if (!P::sections || n <= section) {
    scan_in_order<P, In>(x, stride, out, n, P::identity());
    return;
  }
  const std::int64_t whole = n / section;
  Acc before = P::identity();
  for (std::int64_t s = 0; s < whole; s += group) {
    const int count = static_cast<int>(std::min<std::int64_t>(group, whole - s));
    const char* p = x + s * section * stride;
    Acc totals[group], starts[group];
    section_totals<P, In>(p, stride, count, totals);
    for (int k = 0; k < count; ++k) {
      starts[k] = before;
      before = P::combine(before, totals[k]);
    }
    scan_sections<P, In>(p, stride, out + s * section, count, starts);
  }
  const std::int64_t done = whole * section;
  scan_rest<P, In>(x + done * stride, stride, out + done, n - done, before);
}

// One long row on all threads, stretch by stretch: totals of its sections first, then
// every section on its own while the stretch is still in the last cache.
inline constexpr std::int64_t stretch = 2048;  // sections

template <class P, class In, class Out>
void scan_long_row(const char* x, std::int64_t stride, Out* out, std::int64_t n) noexcept {
  using Acc = typename P::Acc;
  const std::int64_t whole = n / section;
  const std::int64_t grain = items_per_grain(section * group);
  Acc totals[stretch];
  Acc before = P::identity();
  for (std::int64_t first = 0; first < whole; first += stretch) {
    const std::int64_t sections = std::min(stretch, whole - first);
    const char* from = x + first * section * stride;
    Out* to = out + first * section;
    const auto count = [&](std::int64_t g) {
      return static_cast<int>(std::min<std::int64_t>(group, sections - g * group));
    };
    parallel_for(ceil_div(sections, group), grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t g = begin; g < end; ++g) {
        section_totals<P, In>(from + g * group * section * stride, stride, count(g),
                              totals + g * group);
      }
    });
    for (std::int64_t s = 0; s < sections; ++s) {
      const Acc total = totals[s];
      totals[s] = before;
      before = P::combine(before, total);
    }
    parallel_for(ceil_div(sections, group), grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t g = begin; g < end; ++g) {
        const std::int64_t at = g * group * section;
        scan_sections<P, In>(from + at * stride, stride, to + at, count(g), totals + g * group);
      }
    });
  }
  const std::int64_t done = whole * section;
  scan_rest<P, In>(x + done * stride, stride, out + done, n - done, before);
}

template <class P, class In, class Out>
void scan(const Launch& launch, const View& x) noexcept {
  const Layout& layout = *x.layout;
  Out* out = launch.output.as<Out>();
  constexpr std::int64_t item = sizeof(In);
  const int axis = layout.ndim() - 1;
  const std::int64_t n = layout.shape(axis);
  const std::int64_t stride = layout.stride(axis) * item;
  Nest<1> outer;
  for (int d = 0; d < axis; ++d) outer.push(layout.shape(d), {layout.stride(d) * item});
  const std::int64_t rows = outer.size();
  if (rows == 0 || n == 0) return;
  const int threads = concurrency();
  if (P::sections && threads > 1 && n >= 4 * parallel_grain && rows < 2 * threads) {
    Odometer<1> at(outer, outer.ndim, 0);
    for (std::int64_t r = 0; r < rows; ++r, at.next()) {
      scan_long_row<P, In>(x.data + at.offset[0], stride, out + r * n, n);
    }
    return;
  }
  parallel_for(rows, items_per_grain(2 * n), [&](std::int64_t begin, std::int64_t end) {
    Odometer<1> at(outer, outer.ndim, begin);
    for (std::int64_t r = begin; r < end; ++r, at.next()) {
      scan_row<P, In>(x.data + at.offset[0], stride, out + r * n, n);
    }
  });
}

// Scanning along an axis that is far from dense reads a cache line for every element:
// a tiled copy comes first, and the scan then runs in place.
View densest(const Launch& launch) noexcept {
  const View& x = launch.inputs[0];
  const int axis = x.layout->ndim() - 1;
  const std::int64_t step = magnitude(x.layout->stride(axis));
  const bool sparse = step * static_cast<std::int64_t>(itemsize(x.dtype)) > 64;
  if (!sparse || x.dtype != launch.output.dtype || axis == 0) return x;
  copy_into(x, launch.output.data, launch.output.layout->shape());
  return launch.output;
}

template <template <class, class> class P>
void run(const Launch& launch) noexcept {
  const DType in = launch.inputs[0].dtype, out = launch.output.dtype;
  // Narrow integers are written as they are added: only their own dtype is taken.
  const bool wide = is_integer(out) && itemsize(out) == 8;
  const bool directly = accumulates_directly(in, out) && (wide || in == out);
  with_accumulator_input(launch, directly, [](const Launch& ready) noexcept {
    const View x = densest(ready);
    const bool to_wide = is_integer(ready.output.dtype) && itemsize(ready.output.dtype) == 8;
    dispatch(x.dtype, [&]<class T>(std::type_identity<T>) {
      if constexpr (std::is_integral_v<T>) {
        if (to_wide) return scan<P<T, std::uint64_t>, T, std::uint64_t>(ready, x);
      }
      if constexpr (!std::is_same_v<T, bool> && (!std::is_integral_v<T> || sizeof(T) < 8)) {
        scan<P<T, T>, T, T>(ready, x);
      }
    });
  });
}

}  // namespace

void cumulative_sum(const Launch& launch) noexcept { run<RunningSum>(launch); }
void cumulative_prod(const Launch& launch) noexcept { run<RunningProduct>(launch); }

}  // namespace nitinol::cpu::kernels
