// What host sides of kernels share: dimensions as kernels get them, macros, grids.
#pragma once

#include <array>
#include <charconv>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>

#include "metal/launch.h"

namespace nitinol::metal::kernels {

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) noexcept { return (a + b - 1) / b; }
constexpr std::int64_t magnitude(std::int64_t v) noexcept { return v < 0 ? -v : v; }

// Threads of a threadgroup unless a kernel has reasons.
inline constexpr std::uint32_t group_threads = 256;
// Bytes that Encoder::bytes takes.
inline constexpr std::size_t max_bytes = 4096;
// Of the arguments that a kernel may have.
inline constexpr int max_arguments = 31;

// Operands that this device can't hold: Python refuses them before they get here.
inline bool refused(const Launch& launch) noexcept {
  bool known = !msl_type(launch.output.dtype).empty();
  for (const Operand& input : launch.inputs) known = known && !msl_type(input.dtype).empty();
  if (!known) launch.encoder.fail(Fault{Code::internal});
  return !known;
}

inline void refuse(const Launch& launch) noexcept { launch.encoder.fail(Fault{Code::internal}); }

// The dimensions that `operands` arrays are walked through together, in elements. One of
// size 1 is dropped, and one joined to its neighbour where every operand walks both as
// one. Kernels get `data()` as `constant long*`: ndim, the shape, then the strides of
// each operand (common.metal: walk).
class Walk {
 public:
  explicit Walk(int operands) noexcept : operands_(operands) {}

  // Adds a dimension inside those there are.
  void push(std::int64_t n, std::span<const std::int64_t> strides) noexcept {
    if (n == 0) empty_ = true;
    if (n == 1) return;
    if (ndim_ > 0) {
      bool join = true;
      for (int k = 0; k < operands_; ++k) {
        join = join && stride(k, ndim_ - 1) == strides[static_cast<std::size_t>(k)] * n;
      }
      if (join) {
        shape_[at(ndim_ - 1)] *= n;
        for (int k = 0; k < operands_; ++k) {
          strides_[at(k)][at(ndim_ - 1)] = strides[static_cast<std::size_t>(k)];
        }
        return;
      }
    }
    shape_[at(ndim_)] = n;
    for (int k = 0; k < operands_; ++k) {
      strides_[at(k)][at(ndim_)] = strides[static_cast<std::size_t>(k)];
    }
    ++ndim_;
  }
  void push(std::int64_t n, std::initializer_list<std::int64_t> strides) noexcept {
    push(n, std::span<const std::int64_t>(strides.begin(), strides.size()));
  }
  // Takes dimension `d` out.
  void remove(int d) noexcept {
    for (int i = d + 1; i < ndim_; ++i) {
      shape_[at(i - 1)] = shape_[at(i)];
      for (int k = 0; k < operands_; ++k) strides_[at(k)][at(i - 1)] = strides_[at(k)][at(i)];
    }
    --ndim_;
  }

  int ndim() const noexcept { return ndim_; }
  std::int64_t shape(int d) const noexcept { return shape_[at(d)]; }
  std::int64_t stride(int operand, int d) const noexcept { return strides_[at(operand)][at(d)]; }
  std::int64_t size() const noexcept {
    std::int64_t n = empty_ ? 0 : 1;
    for (int d = 0; d < ndim_; ++d) n *= shape(d);
    return n;
  }

  // Gives a kernel the dimensions. Up to 7 operands always fit, for 64 dimensions.
  void bind(Encoder& encoder, int index) const noexcept {
    std::array<std::int64_t, max_bytes / sizeof(std::int64_t)> packed;
    std::size_t n = 0;
    packed[n++] = ndim_;
    for (int d = 0; d < ndim_; ++d) packed[n++] = shape(d);
    for (int k = 0; k < operands_; ++k) {
      for (int d = 0; d < ndim_; ++d) packed[n++] = stride(k, d);
    }
    encoder.bytes(index, packed.data(), n * sizeof(std::int64_t));
  }

  static constexpr int max_operands = 6;

 private:
  static constexpr std::size_t at(int i) noexcept { return static_cast<std::size_t>(i); }

  int operands_;
  int ndim_ = 0;
  bool empty_ = false;
  // Uninitialised beyond ndim.
  std::int64_t shape_[max_ndim];
  std::int64_t strides_[max_operands][max_ndim];
};

// The dimensions of one operand, or its first `axes` of them.
inline Walk walk_of(const Layout& layout, int axes) noexcept {
  Walk walk(1);
  for (int d = 0; d < axes; ++d) walk.push(layout.shape(d), {layout.stride(d)});
  return walk;
}
inline Walk walk_of(const Layout& layout) noexcept { return walk_of(layout, layout.ndim()); }

// Macros for Encoder::pipeline. Names and texts must outlive it; numbers are kept here.
class Defines {
 public:
  Defines& add(std::string_view name, std::string_view value) noexcept {
    list_[count_++] = {name, value};
    return *this;
  }
  Defines& add(std::string_view name, std::int64_t value) noexcept {
    auto& digits = digits_[count_];
    *std::to_chars(digits.data(), digits.data() + digits.size() - 1, value).ptr = '\0';
    list_[count_++] = {name, {}};
    return *this;
  }
  Defines& add(std::string_view name, DType dtype) noexcept { return add(name, msl_type(dtype)); }
  void pipeline(Encoder& encoder, std::string_view file, std::string_view function) const noexcept {
    std::array<Define, capacity> list = list_;
    for (std::size_t i = 0; i < count_; ++i) {
      if (list[i].value.data() == nullptr) list[i].value = digits_[i].data();
    }
    encoder.pipeline(file, function, std::span<const Define>(list.data(), count_));
  }

 private:
  static constexpr std::size_t capacity = 16;
  std::size_t count_ = 0;
  std::array<Define, capacity> list_{};
  std::array<std::array<char, 24>, capacity> digits_{};
};

template <class T>
void bind_value(Encoder& encoder, int index, const T& value) noexcept {
  encoder.bytes(index, &value, sizeof value);
}

// `count` threadgroups in two dimensions, as the first one has room for 2^32 threads only.
// Kernels find their number by flat_position, and end where it is `count` or more.
inline Grid grid_of(std::int64_t count) noexcept {
  constexpr std::int64_t widest = std::int64_t{1} << 20;
  const std::int64_t x = count < widest ? count : widest;
  return {static_cast<std::uint32_t>(x), static_cast<std::uint32_t>(ceil_div(count, x)), 1};
}

// A thread for every `per_thread` of `count` elements.
inline void dispatch_elements(Encoder& encoder, std::int64_t count,
                              std::int64_t per_thread = 1) noexcept {
  if (count == 0) return;
  const std::int64_t threads = ceil_div(count, per_thread);
  const auto width = static_cast<std::uint32_t>(threads < group_threads ? ceil_div(threads, 32) * 32
                                                                        : group_threads);
  encoder.dispatch(grid_of(ceil_div(threads, width)), {width, 1, 1});
}

}  // namespace nitinol::metal::kernels
