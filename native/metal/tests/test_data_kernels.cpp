// Kernels that move elements: take, gather, scatter, updates, concatenation, padding. The bits must
// be those of the CPU's kernels.
#include "kernel_case.h"

using namespace nitinol;
using namespace nitinol::metal;
using namespace nitinol::metal::testing;

namespace {

const auto any_dtype = [] {
  return one_of(
      {DType::bool_, DType::int8, DType::float16, DType::float32, DType::int64, DType::complex64});
};

// Integers of any strides in [-size, size), or [0, size) unsigned.
Array random_indices(const Shape& shape, std::int64_t size) {
  Array a = random_array(
      one_of({DType::int8, DType::int32, DType::int64, DType::uint8, DType::uint64}), shape);
  dispatch(a.dtype, [&]<class T>(std::type_identity<T>) {
    if constexpr (std::is_integral_v<T>) {
      for (std::size_t i = 0; i < a.storage.size() / sizeof(T); ++i) {
        a.data<T>()[i] = static_cast<T>(pick(std::is_signed_v<T> ? -size : 0, size - 1));
      }
    }
  });
  return a;
}

Shape replaced(const Shape& shape, std::size_t axis, std::size_t count, const Shape& inside) {
  Shape result(shape.begin(), shape.begin() + static_cast<std::ptrdiff_t>(axis));
  result.insert(result.end(), inside.begin(), inside.end());
  result.insert(result.end(), shape.begin() + static_cast<std::ptrdiff_t>(axis + count),
                shape.end());
  return result;
}

void test_gather_and_scatter() {
  for (int round = 0; round < 150; ++round) {
    const DType dtype = any_dtype();
    const auto ndim = static_cast<std::size_t>(pick(1, 4));
    const Shape shape = random_shape(static_cast<int>(ndim), round % 10 == 0 ? 16 : 5);
    const auto axis = static_cast<std::size_t>(pick(0, static_cast<std::int64_t>(ndim) - 1));
    const auto count = static_cast<std::size_t>(pick(1, static_cast<std::int64_t>(ndim - axis)));
    const Shape inside =
        round % 7 == 0 ? Shape{300} : random_shape(static_cast<int>(pick(0, 2)), 6);
    Array x = random_array(dtype, shape, round % 4 == 0);
    std::vector<Array> indices;
    bool empty_axis = false;
    for (std::size_t k = 0; k < count; ++k) {
      empty_axis = empty_axis || shape[axis + k] == 0;
      indices.push_back(random_indices(inside, std::max<std::int64_t>(shape[axis + k], 1)));
    }
    const Shape result = replaced(shape, axis, count, inside);
    const auto first = static_cast<std::int64_t>(axis);
    Case gather{Op::gather, {&x}, result, dtype, {first}};
    for (Array& a : indices) gather.inputs.push_back(&a);
    if (empty_axis) {
      if (product(inside) > 0) check_fault(gather, Code::index_out_of_range, 0);
      continue;
    }
    check(gather, 0, "gather");
    if (count == 1) {
      gather.op = Op::take;
      CHECK(check(gather, 0, "take").dispatches <= 1);
    }

    Array updates = random_array(dtype, result), dense = random_array(dtype, shape, true);
    const std::int64_t mode = pick(0, dtype == DType::complex64 ? 2 : 4);
    Case scatter{
        Op::scatter,   {round % 2 ? &dense : &x, &updates}, shape, dtype, {first, mode}, {},
        round % 2 == 1};
    for (Array& a : indices) scatter.inputs.push_back(&a);
    check(scatter, 0, "scatter");
  }
}

// The order of updates shows in the last bits of sums of floats.
void test_scatter_of_many() {
  for (const DType dtype : {DType::float32, DType::uint8, DType::int64, DType::float16}) {
    for (const Shape& rest : {Shape{}, Shape{3}}) {
      for (std::int64_t mode = 0; mode <= 4; ++mode) {
        Shape shape{7}, updated{500};
        shape.insert(shape.end(), rest.begin(), rest.end());
        updated.insert(updated.end(), rest.begin(), rest.end());
        Array x = random_numbers(dtype, shape, 0, 2),
              updates = random_numbers(dtype, updated, 0, 2);
        Array index = random_indices({500}, 7);
        check({Op::scatter, {&x, &updates, &index}, shape, dtype, {0, mode}}, 0, "scatter of many");
      }
    }
  }
}

void test_faults() {
  Array x = random_array(DType::float32, {5, 6}, true);
  for (const std::int64_t wrong : {std::int64_t{5}, std::int64_t{-6}, INT64_MAX, INT64_MIN}) {
    for (const std::int64_t at : {0, 3, 99}) {
      std::vector<std::int64_t> values(100, -1);
      values[static_cast<std::size_t>(at)] = wrong;
      values[99] = 5;
      Array index = array_of(DType::int64, {100}, values);
      check_fault({Op::take, {&x, &index}, {100, 6}, DType::float32, {0}}, Code::index_out_of_range,
                  static_cast<std::uint64_t>(at));
      Array updates = random_array(DType::float32, {100, 6});
      const Case scatter{Op::scatter, {&x, &updates, &index}, {5, 6}, DType::float32, {0, 1}, {},
                         true};
      const Result r = run_both(scatter);
      CHECK(r.fault.code == Code::index_out_of_range && r.position == at);
      CHECK(r.got.storage == x.storage);  // nothing was written
    }
  }
  // Of two arrays the lowest position counts, whichever array it is in.
  for (const auto& [first, second] : {std::pair{40, 41}, std::pair{41, 40}}) {
    std::vector<std::int64_t> rows(64, 1), columns(64, 1);
    rows[static_cast<std::size_t>(first)] = 5;
    columns[static_cast<std::size_t>(second)] = 6;
    Array a = array_of(DType::int64, {64}, rows), b = array_of(DType::int64, {64}, columns);
    const Case gather{Op::gather, {&x, &a, &b}, {64}, DType::float32, {0}};
    check_fault(gather, Code::index_out_of_range, 40);
    CHECK(run_both(gather).fault.args[1] == (first < second ? 0 : 1));
  }
  Array large = array_of<std::uint64_t>(DType::uint64, {2}, {1, UINT64_MAX});
  check_fault({Op::take, {&x, &large}, {2, 6}, DType::float32, {0}}, Code::index_out_of_range, 1);
  Array none = random_array(DType::float32, {5, 0}),
        four = array_of<std::int32_t>(DType::int32, {2}, {4, 9});
  check_fault({Op::take, {&none, &four}, {2, 0}, DType::float32, {0}}, Code::index_out_of_range, 1);
}

void test_take_along_axis() {
  for (int round = 0; round < 60; ++round) {
    const DType dtype = any_dtype();
    const int ndim = static_cast<int>(pick(1, 4));
    Shape shape = random_shape(ndim, 6), index_shape = shape, result = shape;
    const auto axis = static_cast<std::size_t>(pick(0, ndim - 1));
    if (shape[axis] == 0) shape[axis] = 1;
    index_shape[axis] = result[axis] = pick(0, 7);
    for (std::size_t d = 0; d < shape.size(); ++d) {
      if (d == axis) continue;
      const std::int64_t kind = pick(0, 5);
      if (kind == 0) shape[d] = 1;
      if (kind == 1) index_shape[d] = 1;
    }
    Array x = random_array(dtype, shape), index = random_indices(index_shape, shape[axis]);
    check({Op::take_along_axis, {&x, &index}, result, dtype, {static_cast<std::int64_t>(axis)}}, 0,
          "take_along_axis");
  }
  Array x = random_array(DType::float32, {3, 4});
  Array index = array_of<std::int64_t>(DType::int64, {3, 2}, {0, -4, 3, 1, 4, -5});
  check_fault({Op::take_along_axis, {&x, &index}, {3, 2}, DType::float32, {1}},
              Code::index_out_of_range, 4);
}

Array random_start() {
  const DType dtype = one_of({DType::int8, DType::int16, DType::int32, DType::int64, DType::uint8,
                              DType::uint16, DType::uint32, DType::uint64});
  Array a = cpu::testing::empty(dtype, {});
  dispatch(dtype, [&]<class T>(std::type_identity<T>) {
    if constexpr (std::is_integral_v<T>) {
      const T values[] = {T{0},
                          T{1},
                          static_cast<T>(2),
                          static_cast<T>(3),
                          std::numeric_limits<T>::min(),
                          std::numeric_limits<T>::max()};
      *a.data<T>() = values[pick(0, 5)];
    }
  });
  return a;
}

void test_updates() {
  for (int round = 0; round < 120; ++round) {
    const DType dtype = any_dtype();
    const int ndim = static_cast<int>(pick(0, round % 5 == 0 ? 7 : 4));
    Shape shape = random_shape(ndim, ndim > 4 ? 3 : 8), region = shape;
    if (ndim > 0 && round % 3 == 0) shape.back() = region.back() = 16;
    for (std::int64_t& n : region) n = n == 16 ? n : pick(std::min<std::int64_t>(n, 1), n);
    const bool in_place = pick(0, 1) == 1;
    Array x = random_array(dtype, shape, in_place), update = random_array(dtype, region);
    Case slice{Op::slice_update, {&x, &update}, shape, dtype, {}, {}, in_place};
    std::vector<Array> starts;
    for (int d = 0; d < ndim; ++d) {
      if (pick(0, 3) == 0) continue;
      slice.ints.push_back(d);
      starts.push_back(random_start());
    }
    for (Array& start : starts) slice.inputs.push_back(&start);
    const Result r = check(slice, 0, "slice_update");
    CHECK(!in_place || starts.size() > 4 || r.dispatches <= 1);

    Case strided{Op::strided_update, {&x, &update}, shape, dtype, {}, {}, in_place};
    Shape fewer = region;
    for (std::size_t d = 0; d < shape.size(); ++d) {
      const std::int64_t step = pick(1, 2), n = shape[d];
      fewer[d] = n == 0 ? 0 : pick(0, (n - 1) / step + 1);
      const std::int64_t reach = std::max<std::int64_t>(fewer[d] - 1, 0) * step;
      const std::int64_t start = n == 0 ? 0 : pick(0, n - 1 - reach);
      const bool backwards = pick(0, 2) == 0;
      strided.ints.push_back(backwards ? start + reach : start);
      strided.ints.push_back(backwards ? -step : step);
    }
    Array part = random_array(dtype, fewer);
    strided.inputs[1] = &part;
    CHECK(check(strided, 0, "strided_update").dispatches <= (in_place ? 1 : 2));
  }
}

void test_concatenate_and_pad() {
  for (int round = 0; round < 80; ++round) {
    const DType dtype = any_dtype();
    const int ndim = static_cast<int>(pick(1, 4));
    Shape shape = random_shape(ndim, 9);
    const auto axis = static_cast<std::size_t>(pick(0, ndim - 1));
    std::vector<Array> parts;
    const std::int64_t count = round % 8 == 0 ? 19 : pick(1, 5);
    std::int64_t total = 0;
    for (std::int64_t k = 0; k < count; ++k) {
      shape[axis] = pick(0, 4) * (round % 3 == 0 ? 4 : 1);
      total += shape[axis];
      parts.push_back(random_array(dtype, shape, round % 2 == 0));
    }
    shape[axis] = total;
    Case joined{Op::concatenate, {}, shape, dtype, {static_cast<std::int64_t>(axis)}};
    for (Array& part : parts) joined.inputs.push_back(&part);
    CHECK(check(joined, 0, "concatenate").dispatches <= (count + 7) / 8);

    Array x = random_array(dtype, shape), value = random_array(dtype, {});
    Case padded{Op::pad, {&x, &value}, shape, dtype};
    for (std::int64_t& n : padded.shape) {
      padded.ints.push_back(pick(0, 3));
      padded.ints.push_back(pick(0, 3));
      n += padded.ints.end()[-1] + padded.ints.end()[-2];
    }
    check(padded, 0, "pad");
  }
  // Transposed, in tiles.
  Array x = random_array(DType::float32, {70, 45}, true), y = random_array(DType::float32, {45, 3});
  x.layout = Layout(Shape{45, 70}, Shape{1, 45}, 0);
  check({Op::concatenate, {&x, &y}, {45, 73}, DType::float32, {1}}, 0, "concatenate");
  check({Op::concatenate, {&x}, {45, 70}, DType::float32, {0}}, 0, "concatenate");
}

}  // namespace

int main() {
  test_concatenate_and_pad();
  test_updates();
  test_take_along_axis();
  test_faults();
  test_gather_and_scatter();
  test_scatter_of_many();
}
