// Gather, scatter and updates against plain loops, and what their faults leave behind.
#include <algorithm>
#include <vector>

#include "arrays.h"
#include "check.h"
#include "cpu/kernels/index.h"
#include "cpu/kernels/scatter.h"
#include "cpu/kernels/update.h"

using namespace nitinol;
using namespace nitinol::cpu;
using namespace nitinol::cpu::testing;

namespace {

// An integer array of any strides with values in [-size, size), or [0, size) unsigned.
Array random_indices(const Shape& shape, std::int64_t size) {
  const DType dtypes[] = {DType::int8, DType::int32, DType::int64, DType::uint8, DType::uint64};
  Array a = random_array(dtypes[pick(0, 4)], shape);
  dispatch(a.dtype, [&]<class T>(std::type_identity<T>) {
    if constexpr (std::is_integral_v<T>) {
      for (std::size_t i = 0; i < a.storage.size() / sizeof(T); ++i) {
        a.data<T>()[i] = static_cast<T>(pick(std::is_signed_v<T> ? -size : 0, size - 1));
      }
    }
  });
  return a;
}

std::int64_t index_at(Array& a, const Shape& where, std::int64_t size) {
  return dispatch(a.dtype, [&]<class T>(std::type_identity<T>) -> std::int64_t {
    if constexpr (std::is_integral_v<T>) {
      const auto v = static_cast<std::int64_t>(a.get<T>(where));
      return v < 0 ? v + size : v;
    }
    return 0;
  });
}

// Shape with axes [axis, axis + count) replaced by `inside`.
Shape replaced(const Shape& shape, std::size_t axis, std::size_t count, const Shape& inside) {
  Shape result(shape.begin(), shape.begin() + static_cast<std::ptrdiff_t>(axis));
  result.insert(result.end(), inside.begin(), inside.end());
  result.insert(result.end(), shape.begin() + static_cast<std::ptrdiff_t>(axis + count),
                shape.end());
  return result;
}

// Dense int64 indices of which one is wrong.
Array wrong_indices(const Shape& shape, std::int64_t at, std::int64_t value) {
  Array a = empty(DType::int64, shape);
  std::fill_n(a.data<std::int64_t>(), product(shape), 0);
  a.data<std::int64_t>()[at] = value;
  return a;
}

void check_fault(const Fault& fault, std::int64_t index, std::int64_t axis, std::int64_t size) {
  CHECK(fault.code == Code::index_out_of_range);
  CHECK(fault.args[0] == index && fault.args[1] == axis && fault.args[2] == size);
}

void test_gather_and_scatter() {
  for (int round = 0; round < 400; ++round) {
    const DType dtype = random_dtype();
    const auto ndim = static_cast<std::size_t>(pick(1, 4));
    const Shape shape = random_shape(static_cast<int>(ndim), round % 10 == 0 ? 15 : 5);
    const auto axis = static_cast<std::size_t>(pick(0, static_cast<std::int64_t>(ndim) - 1));
    const auto count = static_cast<std::size_t>(pick(1, static_cast<std::int64_t>(ndim - axis)));
    const Shape inside =
        round % 9 == 0 ? Shape{700} : random_shape(static_cast<int>(pick(0, 2)), 6);
    Array x = random_array(dtype, shape);
    std::vector<Array> indices;
    bool empty_axis = false;
    for (std::size_t k = 0; k < count; ++k) {
      empty_axis = empty_axis || shape[axis + k] == 0;
      indices.push_back(random_indices(inside, std::max<std::int64_t>(shape[axis + k], 1)));
    }
    const Shape result = replaced(shape, axis, count, inside);
    const auto first = static_cast<std::int64_t>(axis);
    Array out = empty(dtype, result);
    std::vector<Array*> inputs{&x};
    for (Array& a : indices) inputs.push_back(&a);
    const Fault fault = run(kernels::gather, inputs, out, {first});
    if (empty_axis) {
      CHECK(product(inside) == 0 || fault.code == Code::index_out_of_range);
      continue;
    }
    CHECK(fault.code == Code::none);
    const auto source = [&](const Shape& at) {
      Shape from(at.begin(), at.begin() + first);
      const Shape tuple(at.begin() + first,
                        at.begin() + first + static_cast<std::ptrdiff_t>(inside.size()));
      for (std::size_t k = 0; k < count; ++k) {
        from.push_back(index_at(indices[k], tuple, shape[axis + k]));
      }
      from.insert(from.end(), at.begin() + first + static_cast<std::ptrdiff_t>(inside.size()),
                  at.end());
      return from;
    };
    for (std::int64_t i = 0; i < product(result); ++i) {
      const Shape at = unravel(i, result);
      CHECK(same(out.at(at), x.at(source(at)), dtype));
    }

    // scatter: for one element updates come in the order of the indices, which is the
    // row-major order of the updates.
    Array updates = random_array(dtype, result);
    Array expected = empty(dtype, shape), scattered = empty(dtype, shape);
    for (std::int64_t i = 0; i < product(shape); ++i) {
      const Shape at = unravel(i, shape);
      std::memcpy(expected.at(at), x.at(at), itemsize(dtype));
    }
    Array donated = expected, before = expected;
    const std::int64_t mode = dtype == DType::int32 || dtype == DType::int64 ? pick(0, 4) : 0;
    for (std::int64_t i = 0; i < product(result); ++i) {
      const Shape at = unravel(i, result);
      char* to = expected.at(source(at));
      if (mode == 0) {
        std::memcpy(to, updates.at(at), itemsize(dtype));
        continue;
      }
      const auto apply = [&]<class T>(std::type_identity<T>) {
        T& a = *reinterpret_cast<T*>(to);
        const auto u = static_cast<std::uint64_t>(a);
        const T b = updates.get<T>(at);
        const auto v = static_cast<std::uint64_t>(b);
        a = mode == 1   ? static_cast<T>(u + v)
            : mode == 2 ? static_cast<T>(u * v)
            : mode == 3 ? std::min(a, b)
                        : std::max(a, b);
      };
      if (dtype == DType::int32) {
        apply(std::type_identity<std::int32_t>{});
      } else {
        apply(std::type_identity<std::int64_t>{});
      }
    }
    inputs.insert(inputs.begin() + 1, &updates);
    CHECK(run(kernels::scatter, inputs, scattered, {first, mode}).code == Code::none);
    CHECK(scattered.storage == expected.storage);
    inputs[0] = &donated;
    CHECK(run(kernels::scatter, inputs, donated, {first, mode}, {}, true).code == Code::none);
    CHECK(donated.storage == expected.storage);

    if (product(inside) == 0) continue;
    donated = before;
    const std::int64_t size = shape[axis + count - 1];
    Array wrong = wrong_indices(inside, product(inside) - 1, -size - 1);
    inputs.back() = &wrong;
    check_fault(run(kernels::scatter, inputs, donated, {first, mode}, {}, true), -size - 1,
                first + static_cast<std::int64_t>(count) - 1, size);
    CHECK(donated.storage == before.storage);
  }
}

void test_take_faults() {
  Array x = random_array(DType::float32, {7, 3}, true);
  Array out = empty(DType::float32, {2000, 3});
  Array indices = wrong_indices({2000}, 1500, 7);
  indices.data<std::int64_t>()[1700] = -8;  // later: not the one that is reported
  check_fault(run(kernels::take, {&x, &indices}, out, {0}), 7, 0, 7);
  Array huge = empty(DType::uint64, {1});
  huge.data<std::uint64_t>()[0] = ~std::uint64_t{0};
  Array one = empty(DType::float32, {1, 3});
  CHECK(run(kernels::take, {&x, &huge}, one, {0}).code == Code::index_out_of_range);
}

void test_take_along_axis() {
  for (int round = 0; round < 200; ++round) {
    const DType dtype = random_dtype();
    const auto ndim = static_cast<std::size_t>(pick(1, 3));
    Shape shape = random_shape(static_cast<int>(ndim), 6);
    const auto axis = static_cast<std::size_t>(pick(0, static_cast<std::int64_t>(ndim) - 1));
    shape[axis] = std::max<std::int64_t>(shape[axis], 1);
    Array x = random_array(dtype, shape);
    Shape result = shape;
    result[axis] = round % 7 == 0 ? 1100 : pick(0, 6);
    Array indices = random_indices(result, shape[axis]);
    Array out = empty(dtype, result);
    const auto a = static_cast<std::int64_t>(axis);
    CHECK(run(kernels::take_along_axis, {&x, &indices}, out, {a}).code == Code::none);
    for (std::int64_t i = 0; i < product(result); ++i) {
      const Shape at = unravel(i, result);
      Shape from = at;
      from[axis] = index_at(indices, at, shape[axis]);
      CHECK(same(out.at(at), x.at(from), dtype));
    }
    if (product(result) == 0) continue;
    Array wrong = wrong_indices(result, product(result) / 2, shape[axis]);
    check_fault(run(kernels::take_along_axis, {&x, &wrong}, out, {a}), shape[axis], a, shape[axis]);
  }
}

void test_updates() {
  for (int round = 0; round < 300; ++round) {
    const DType dtype = random_dtype();
    const auto ndim = static_cast<std::size_t>(pick(1, 3));
    const Shape shape = random_shape(static_cast<int>(ndim), 7);
    Array x = random_array(dtype, shape);
    Shape region;
    std::vector<std::int64_t> axes, starts(ndim, 0), steps(ndim, 1);
    std::vector<Array> given;
    for (std::size_t d = 0; d < ndim; ++d) region.push_back(pick(0, shape[d]));
    for (std::size_t d = ndim; d-- > 0;) {
      if (pick(0, 2) == 0) continue;
      Array start = empty(DType::int32, {});
      start.data<std::int32_t>()[0] = static_cast<std::int32_t>(pick(-3, shape[d] + 3));
      starts[d] = std::clamp<std::int64_t>(start.data<std::int32_t>()[0], 0, shape[d] - region[d]);
      axes.push_back(static_cast<std::int64_t>(d));
      given.push_back(start);
    }
    const auto check = [&](Kernel kernel, std::vector<Array*> inputs, Array& update,
                           const std::vector<std::int64_t>& ints) {
      Array expected = empty(dtype, shape), out = expected;
      for (std::int64_t i = 0; i < product(shape); ++i) {
        const Shape at = unravel(i, shape);
        std::memcpy(expected.at(at), x.at(at), itemsize(dtype));
      }
      Array donated = expected;
      for (std::int64_t i = 0; i < product(region); ++i) {
        const Shape at = unravel(i, region);
        Shape to = at;
        for (std::size_t d = 0; d < ndim; ++d) to[d] = starts[d] + at[d] * steps[d];
        std::memcpy(expected.at(to), update.at(at), itemsize(dtype));
      }
      CHECK(run(kernel, inputs, out, ints).code == Code::none);
      CHECK(out.storage == expected.storage);
      inputs[0] = &donated;
      CHECK(run(kernel, inputs, donated, ints, {}, true).code == Code::none);
      CHECK(donated.storage == expected.storage);
    };
    Array update = random_array(dtype, region);
    std::vector<Array*> inputs{&x, &update};
    for (Array& start : given) inputs.push_back(&start);
    check(kernels::slice_update, inputs, update, axes);

    std::vector<std::int64_t> slices;
    for (std::size_t d = 0; d < ndim; ++d) {
      starts[d] = shape[d] == 0 ? 0 : pick(0, shape[d] - 1);
      steps[d] = pick(0, 1) ? pick(1, 3) : -pick(1, 3);
      const std::int64_t room = steps[d] > 0 ? shape[d] - 1 - starts[d] : starts[d];
      region[d] = shape[d] == 0 ? 0 : pick(0, room / std::abs(steps[d]) + 1);
      slices.push_back(starts[d]);
      slices.push_back(steps[d]);
    }
    Array strided = random_array(dtype, region);
    check(kernels::strided_update, {&x, &strided}, strided, slices);
  }
}

}  // namespace

int main() {
  test_gather_and_scatter();
  test_take_faults();
  test_take_along_axis();
  test_updates();
}
