// scatter. All indices are checked before the first write, so that a fault leaves a
// donated buffer as it was. Updates that meet the same element are applied in the
// row-major order of the indices: threads divide what no two updates share, the
// dimensions before and behind the indexed ones.
#include "cpu/kernels/scatter.h"

#include <algorithm>
#include <cstring>

#include "cpu/half.h"
#include "cpu/kernels/copy.h"
#include "cpu/kernels/index.h"
#include "cpu/kernels/reduce_accumulator.h"

namespace nitinol::cpu::kernels {
namespace {

enum class Mode { set, add, multiply, minimum, maximum };

template <class T, Mode mode>
NITINOL_INLINE T combine(T a, T b) noexcept {
  if constexpr (mode == Mode::set) {
    return b;
  } else if constexpr (std::is_same_v<T, float16>) {
    return to_half(combine<float, mode>(to_float(a), to_float(b)));
  } else if constexpr (std::is_same_v<T, bool>) {
    return mode == Mode::add || mode == Mode::maximum ? a || b : a && b;
  } else if constexpr (std::is_integral_v<T> && (mode == Mode::add || mode == Mode::multiply)) {
    const auto u = static_cast<std::uint64_t>(a), v = static_cast<std::uint64_t>(b);
    return static_cast<T>(mode == Mode::add ? u + v : u * v);
  } else if constexpr (mode == Mode::add) {
    return a + b;
  } else if constexpr (mode == Mode::multiply) {
    return multiply(a, b);
  } else {
    // NaN propagates.
    const bool better = mode == Mode::minimum ? b < a : b > a;
    return better || b != b ? b : a;
  }
}

// Applies one line of updates; the output is dense.
template <class T, Mode mode>
void apply_line(char* out, const char* updates, std::int64_t stride, std::int64_t n) noexcept {
  T* to = reinterpret_cast<T*>(out);
  if (stride == static_cast<std::int64_t>(sizeof(T))) {
    if constexpr (mode == Mode::set) {
      std::memcpy(out, updates, static_cast<std::size_t>(n) * sizeof(T));
    } else {
      const T* from = reinterpret_cast<const T*>(updates);
      for (std::int64_t i = 0; i < n; ++i) to[i] = combine<T, mode>(to[i], from[i]);
    }
    return;
  }
  for (std::int64_t i = 0; i < n; ++i) {
    to[i] = combine<T, mode>(to[i], *reinterpret_cast<const T*>(updates + i * stride));
  }
}

// Where updates go: for each outer position and tuple of indices, one row of the inner
// dimensions, walked in lines.
struct Plan {
  Nest<2> outer;                // 0: the output, 1: updates, in bytes
  Nest<1> tuples;               // updates, over the shape of the indices
  Nest<2> inner;                // as outer
  const std::int64_t* offsets;  // of the output, one a tuple, bytes
  std::int64_t count;           // tuples
};

using ApplyLine = void (*)(char*, const char*, std::int64_t, std::int64_t) noexcept;

// Updates of one outer position, columns [begin, end) of the innermost line.
NITINOL_INLINE void apply_updates(const Plan& plan, ApplyLine apply, char* out, const char* updates,
                                  std::int64_t begin, std::int64_t end) noexcept {
  const int lines = std::max(plan.inner.ndim - 1, 0);
  const std::int64_t out_step = plan.inner.ndim > 0 ? plan.inner.strides[0][lines] : 0;
  const std::int64_t step = plan.inner.ndim > 0 ? plan.inner.strides[1][lines] : 0;
  std::int64_t rows = 1;
  for (int d = 0; d < lines; ++d) rows *= plan.inner.shape[d];
  Odometer<1> tuple(plan.tuples, plan.tuples.ndim, 0);
  for (std::int64_t t = 0; t < plan.count; ++t, tuple.next()) {
    char* to = out + plan.offsets[t] + begin * out_step;
    const char* from = updates + tuple.offset[0] + begin * step;
    if (rows == 1) {
      apply(to, from, step, end - begin);
      continue;
    }
    Odometer<2> line(plan.inner, lines, 0);
    for (std::int64_t r = 0; r < rows; ++r, line.next()) {
      apply(to + line.offset[0], from + line.offset[1], step, end - begin);
    }
  }
}

// The usual case of single elements, without a call for each.
template <class T, Mode mode>
void apply_elements(const Plan& plan, char* out, const char* updates) noexcept {
  if (plan.tuples.ndim <= 1) {
    const std::int64_t step = plan.tuples.ndim == 0 ? 0 : plan.tuples.strides[0][0];
    for (std::int64_t t = 0; t < plan.count; ++t) {
      T& to = *reinterpret_cast<T*>(out + plan.offsets[t]);
      to = combine<T, mode>(to, *reinterpret_cast<const T*>(updates + t * step));
    }
    return;
  }
  apply_updates(plan, apply_line<T, mode>, out, updates, 0, 1);
}

template <class T, Mode mode>
void apply_all(const Plan& plan, char* out, const char* updates) noexcept {
  const std::int64_t outers = plan.outer.size();
  const std::int64_t row = plan.inner.size();
  if (outers == 0 || row == 0) return;
  const int inner = plan.inner.ndim - 1;
  if (outers == 1 && row > 1) {
    // One outer position: threads divide the innermost line, each applies all updates.
    const std::int64_t length = plan.inner.shape[inner];
    const std::int64_t cost = plan.count * (row / length);
    const std::int64_t grain = std::max<std::int64_t>(items_per_grain(cost), 1024 / sizeof(T));
    parallel_for(length, grain, [&](std::int64_t begin, std::int64_t end) {
      apply_updates(plan, apply_line<T, mode>, out, updates, begin, end);
    });
    return;
  }
  parallel_for(outers, items_per_grain(plan.count * row),
               [&](std::int64_t begin, std::int64_t end) {
                 Odometer<2> at(plan.outer, plan.outer.ndim, begin);
                 for (std::int64_t o = begin; o < end; ++o, at.next()) {
                   char* to = out + at.offset[0];
                   const char* from = updates + at.offset[1];
                   if (row == 1) {
                     apply_elements<T, mode>(plan, to, from);
                   } else {
                     apply_updates(plan, apply_line<T, mode>, to, from, 0, plan.inner.shape[inner]);
                   }
                 }
               });
}

template <Mode mode>
void apply_as(const Launch& launch, const Plan& plan) noexcept {
  char* out = launch.output.data;
  const char* updates = launch.inputs[1].data;
  if constexpr (mode == Mode::set) {
    dispatch_size(itemsize(launch.output.dtype),
                  [&]<class T>(std::type_identity<T>) { apply_all<T, mode>(plan, out, updates); });
  } else {
    dispatch(launch.output.dtype, [&]<class T>(std::type_identity<T>) {
      if constexpr (mode == Mode::add || mode == Mode::multiply || !requires(T v) { v.real(); }) {
        apply_all<T, mode>(plan, out, updates);
      } else {
        refuse(launch);
      }
    });
  }
}

}  // namespace

void scatter(const Launch& launch) noexcept {
  const View& x = launch.inputs[0];
  const View& updates = launch.inputs[1];
  const std::span<const View> indices = launch.inputs.subspan(2);
  const auto axis = static_cast<int>(launch.params.ints[0]);
  const int behind = axis + static_cast<int>(indices.size());
  const int ndim = x.layout->ndim();
  const auto item = static_cast<std::int64_t>(itemsize(x.dtype));

  std::int64_t strides[max_ndim];
  row_major(x.layout->shape(), strides);
  for (int d = 0; d < ndim; ++d) strides[d] *= item;
  const IndexTuple tuple{indices, x.layout, axis, strides};
  const std::int64_t count = tuple.size();
  const std::size_t bytes = sizeof(std::int64_t) * static_cast<std::size_t>(count);
  const Scratch scratch(bytes);
  if (!scratch) return refuse_memory(launch, bytes);
  std::int64_t* offsets = scratch.as<std::int64_t>();
  parallel_for(count, parallel_grain, [&](std::int64_t begin, std::int64_t end) {
    tuple.resolve(launch.fault, begin, end - begin, offsets + begin);
  });
  if (launch.fault.failed()) return;
  if (!launch.in_place) copy_into(x, launch.output.data, launch.output.layout->shape());
  if (updates.layout->size() == 0) return;

  Plan plan;
  plan.offsets = offsets;
  plan.count = count;
  const Layout& from = *updates.layout;
  const int rank = indices[0].layout->ndim();
  for (int d = 0; d < axis; ++d) {
    plan.outer.push(from.shape(d), {strides[d], from.stride(d) * item});
  }
  for (int d = axis; d < axis + rank; ++d) plan.tuples.push(from.shape(d), {from.stride(d) * item});
  for (int d = behind; d < ndim; ++d) {
    const int u = d - behind + axis + rank;
    plan.inner.push(from.shape(u), {strides[d], from.stride(u) * item});
  }
  switch (static_cast<Mode>(launch.params.ints[1])) {
    case Mode::set:
      return apply_as<Mode::set>(launch, plan);
    case Mode::add:
      return apply_as<Mode::add>(launch, plan);
    case Mode::multiply:
      return apply_as<Mode::multiply>(launch, plan);
    case Mode::minimum:
      return apply_as<Mode::minimum>(launch, plan);
    case Mode::maximum:
      return apply_as<Mode::maximum>(launch, plan);
  }
  refuse(launch);
}

}  // namespace nitinol::cpu::kernels
