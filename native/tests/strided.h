// Arrays for kernel tests: random elements in a random layout, and a launch over them.
#pragma once

#include <cstdint>
#include <cstring>
#include <numeric>
#include <random>
#include <span>
#include <vector>

#include "check.h"
#include "cpu/kernel.h"

namespace nitinol::cpu {

using Random = std::mt19937_64;
using Shape = std::vector<std::int64_t>;

inline double uniform(Random& random, double low, double high) {
  return low + (high - low) * static_cast<double>(random() >> 11) * 0x1p-53;
}

template <class T>
constexpr DType dtype_of() {
  if constexpr (std::is_same_v<T, bool>) return DType::bool_;
  if constexpr (std::is_same_v<T, std::uint8_t>) return DType::uint8;
  if constexpr (std::is_same_v<T, std::int8_t>) return DType::int8;
  if constexpr (std::is_same_v<T, std::int32_t>) return DType::int32;
  if constexpr (std::is_same_v<T, std::int64_t>) return DType::int64;
  if constexpr (std::is_same_v<T, std::uint64_t>) return DType::uint64;
  if constexpr (std::is_same_v<T, float16>) return DType::float16;
  if constexpr (std::is_same_v<T, double>) return DType::float64;
  return DType::float32;
}

enum class Order {
  row_major,
  permuted,  // axes in another order in memory
  gaps,      // rows further apart than their length (a slice of a cache)
  step,      // the last axis has a stride of 2
  flipped,   // the last axis runs backwards
};

inline Order any_order(Random& random) { return static_cast<Order>(random() % 5); }

// Elements outside the layout are poisoned (0xff bytes: NaN in floating types).
template <class T>
class Strided {
 public:
  Strided(Shape shape, Order order, Random& random) : shape_(std::move(shape)) {
    const std::size_t ndim = shape_.size();
    std::vector<std::size_t> memory(ndim);  // axes from the outermost in memory
    std::iota(memory.begin(), memory.end(), std::size_t{0});
    if (order == Order::permuted) std::shuffle(memory.begin(), memory.end(), random);
    Shape strides(ndim, 1);
    std::int64_t step = order == Order::step ? 2 : 1;
    for (std::size_t n = ndim; n-- > 0;) {
      strides[memory[n]] = step;
      step *= shape_[memory[n]] > 0 ? shape_[memory[n]] : 1;
      if (order == Order::gaps && n + 1 == ndim) step += static_cast<std::int64_t>(random() % 9);
    }
    std::int64_t origin = 0;
    if (order == Order::flipped && ndim > 0) {
      origin = strides[ndim - 1] * (shape_[ndim - 1] > 0 ? shape_[ndim - 1] - 1 : 0);
      strides[ndim - 1] = -strides[ndim - 1];
    }
    storage_.resize((static_cast<std::size_t>(step) + 1) * sizeof(T), 0xff);
    layout_ = Layout(shape_, strides, 0);
    view_ = View{
        reinterpret_cast<char*>(storage_.data() + static_cast<std::size_t>(origin) * sizeof(T)),
        &layout_, dtype_of<T>()};
  }
  Strided(const Strided&) = delete;

  const View& view() const { return view_; }
  const Shape& shape() const { return shape_; }
  std::int64_t size() const { return layout_.size(); }
  T* at(std::int64_t flat) const {
    std::int64_t offset = 0;
    for (int axis = layout_.ndim() - 1; axis >= 0; --axis) {
      offset += flat % layout_.shape(axis) * layout_.stride(axis);
      flat /= layout_.shape(axis);
    }
    return view_.template as<T>() + offset;
  }
  double operator[](std::int64_t flat) const { return static_cast<double>(*at(flat)); }
  template <class F>
  void fill(F value) {
    for (std::int64_t i = 0; i < size(); ++i) *at(i) = static_cast<T>(value(i));
  }
  void fill_uniform(Random& random, double low, double high) {
    fill([&](std::int64_t) { return uniform(random, low, high); });
  }

 private:
  Shape shape_;
  std::vector<unsigned char> storage_;
  Layout layout_;
  View view_;
};

// A row-major output, filled with 0xff bytes, so that an element left out shows.
template <class T>
class Output {
 public:
  explicit Output(const Shape& shape)
      : layout_(std::span<const std::int64_t>(shape)),
        data(static_cast<std::size_t>(layout_.size())) {
    clear();
    view_ = View{reinterpret_cast<char*>(data.data()), &layout_, dtype_of<T>()};
  }
  Output(const Output&) = delete;
  void clear() {
    if (!data.empty()) std::memset(static_cast<void*>(data.data()), 0xff, data.size() * sizeof(T));
  }
  const View& view() const { return view_; }
  double operator[](std::int64_t i) const {
    return static_cast<double>(data[static_cast<std::size_t>(i)]);
  }

 private:
  Layout layout_;

 public:
  std::vector<T> data;

 private:
  View view_;
};

inline Fault run(Kernel kernel, const std::vector<View>& inputs, const View& output,
                 std::vector<std::int64_t> ints = {}, std::vector<double> floats = {}) {
  Params params;
  params.ints = std::move(ints);
  params.floats = std::move(floats);
  FaultSlot slot;
  kernel(Launch{params, inputs, output, slot});
  return slot.failed() ? slot.get() : Fault{};
}

}  // namespace nitinol::cpu
