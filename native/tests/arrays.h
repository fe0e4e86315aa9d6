// Arrays of any dtype and strides for tests of kernels, element access by index, and a launch.
#pragma once

#include <algorithm>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>

#include "check.h"
#include "cpu/half.h"
#include "cpu/kernel.h"

namespace nitinol::cpu::testing {

using Shape = std::vector<std::int64_t>;

inline std::mt19937_64 generator(20240611);

inline std::int64_t pick(std::int64_t low, std::int64_t high) {  // both ends included
  return std::uniform_int_distribution<std::int64_t>(low, high)(generator);
}

inline std::int64_t product(const Shape& shape) {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

// The index tuple of a flat row-major position.
inline Shape unravel(std::int64_t flat, const Shape& shape) {
  Shape index(shape.size());
  for (std::size_t d = shape.size(); d-- > 0;) {
    index[d] = flat % shape[d];
    flat /= shape[d];
  }
  return index;
}

// An array with storage of its own, of exactly the bytes it needs.
struct Array {
  DType dtype;
  Layout layout;
  std::vector<char> storage;

  Shape shape() const { return {layout.shape().begin(), layout.shape().end()}; }
  View view() {
    return {storage.data() + layout.offset() * static_cast<std::int64_t>(itemsize(dtype)), &layout,
            dtype};
  }
  char* at(const Shape& index) {
    std::int64_t offset = layout.offset();
    for (std::size_t d = 0; d < index.size(); ++d) {
      offset += index[d] * layout.stride(static_cast<int>(d));
    }
    return storage.data() + offset * static_cast<std::int64_t>(itemsize(dtype));
  }
  template <class T>
  T& get(const Shape& index) {
    return *reinterpret_cast<T*>(at(index));
  }
  template <class T>
  T* data() {
    return reinterpret_cast<T*>(storage.data());
  }
};

inline Array empty(DType dtype, const Shape& shape) {
  Array a{dtype, Layout(shape), {}};
  a.storage.resize(static_cast<std::size_t>(product(shape)) * itemsize(dtype));
  return a;
}

// Any strides: permuted, stepped, flipped and broadcast axes; elements are small numbers.
inline Array random_array(DType dtype, const Shape& shape, bool dense = false) {
  const auto ndim = shape.size();
  std::vector<std::size_t> order(ndim);
  std::iota(order.begin(), order.end(), 0);
  Shape strides(ndim);
  std::int64_t extent = 1, offset = 0;
  if (dense) {
    std::reverse(order.begin(), order.end());
  } else {
    std::shuffle(order.begin(), order.end(), generator);
  }
  for (const std::size_t d : order) {
    const std::int64_t step = dense ? 1 : pick(1, 2);
    const std::int64_t kind = dense ? 9 : pick(0, 9);
    strides[d] = kind == 0 ? 0 : extent * step;
    if (kind == 0) continue;
    if (kind == 1 && shape[d] > 0) {
      offset += (shape[d] - 1) * strides[d];
      strides[d] = -strides[d];
    }
    extent *= std::max<std::int64_t>(shape[d], 1) * step;
  }
  Array a{dtype, Layout(shape, strides, offset), {}};
  a.storage.resize(static_cast<std::size_t>(extent) * itemsize(dtype));
  dispatch(dtype, [&]<class T>(std::type_identity<T>) {
    for (std::int64_t i = 0; i < extent; ++i) {
      const std::int64_t v = dtype == DType::bool_ ? pick(0, 1) : pick(0, 100);
      if constexpr (std::is_same_v<T, float16>) {
        a.data<T>()[i] = to_half(static_cast<float>(v - 50) / 8);
      } else if constexpr (std::is_integral_v<T>) {
        a.data<T>()[i] = static_cast<T>(v);
      } else {
        a.data<T>()[i] = static_cast<T>(static_cast<double>(v - 50) / 8);
      }
    }
  });
  return a;
}

inline Shape random_shape(int ndim, std::int64_t largest) {
  Shape shape;
  for (int d = 0; d < ndim; ++d) shape.push_back(pick(pick(0, 9) == 0 ? 0 : 1, largest));
  return shape;
}

inline DType random_dtype() { return static_cast<DType>(pick(0, dtype_count - 1)); }

inline Fault run(Kernel kernel, std::vector<Array*> inputs, Array& output,
                 std::vector<std::int64_t> ints = {}, std::vector<double> floats = {},
                 bool in_place = false) {
  Params params;
  params.ints = std::move(ints);
  params.floats = std::move(floats);
  std::vector<View> views;
  for (Array* a : inputs) views.push_back(a->view());
  const View out = output.view();
  FaultSlot fault;
  kernel(Launch{params, views, out, fault, in_place});
  return fault.get();
}

inline bool same(const void* a, const void* b, DType dtype) {
  return std::memcmp(a, b, itemsize(dtype)) == 0;
}

}  // namespace nitinol::cpu::testing
