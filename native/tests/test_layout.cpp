// Tests of layouts, element types and the table of operations.
#include <cstring>
#include <limits>
#include <stdexcept>
#include <vector>

#include "check.h"
#include "nitinol/dtype.h"
#include "nitinol/graph.h"
#include "nitinol/layout.h"
#include "nitinol/op.h"

using namespace nitinol;

namespace {

using Shape = std::vector<std::int64_t>;

Layout ramp(int ndim) {
  Shape shape, strides;
  for (int i = 0; i < ndim; ++i) {
    shape.push_back(i + 2);
    strides.push_back(100 * i - 7);
  }
  return Layout(shape, strides, ndim);
}

void check_ramp(const Layout& layout, int ndim) {
  CHECK(layout.ndim() == ndim && layout.offset() == ndim);
  std::int64_t size = 1;
  for (int i = 0; i < ndim; ++i) {
    CHECK(layout.shape(i) == i + 2 && layout.stride(i) == 100 * i - 7);
    CHECK(layout.shape()[static_cast<std::size_t>(i)] == i + 2);
    CHECK(layout.strides()[static_cast<std::size_t>(i)] == 100 * i - 7);
    size *= i + 2;
  }
  CHECK(layout.size() == size);
}

// Few axes lie in the object, many on the heap: every way from one to the other.
void test_copies() {
  for (int from : {0, 1, 4, 5, 10}) {
    for (int to : {0, 1, 3, 4, 5, 9, 12}) {
      const Layout source = ramp(from);
      Layout target = ramp(to);
      target = source;
      check_ramp(target, from);
      check_ramp(source, from);
      target = ramp(to);
      check_ramp(target, to);
      const Layout copy(target);
      Layout moved(std::move(target));
      check_ramp(copy, to);
      check_ramp(moved, to);
      target = std::move(moved);  // a moved-from one may be assigned to
      check_ramp(target, to);
      const Layout& same = target;
      target = same;
      check_ramp(target, to);
    }
  }
  check_ramp(ramp(12), 12);
}

void test_contiguous() {
  const Layout scalar{Shape{}};
  CHECK(scalar.ndim() == 0 && scalar.size() == 1 && scalar.contiguous());
  CHECK(Layout().size() == 1 && Layout().contiguous());
  const Layout rows(Shape{2, 3, 4});
  CHECK(rows.contiguous() && rows.stride(0) == 12 && rows.stride(1) == 4 && rows.stride(2) == 1);
  CHECK(Layout(Shape{2, 3}, Shape{3, 1}, 5).contiguous());
  CHECK(!Layout(Shape{2, 3}, Shape{1, 2}, 0).contiguous());
  CHECK(!Layout(Shape{3}, Shape{-1}, 2).contiguous());
  CHECK(!Layout(Shape{3}, Shape{0}, 0).contiguous());
  CHECK(Layout(Shape{1, 3}, Shape{77, 1}, 0).contiguous());  // an axis of one never moves
  CHECK(Layout(Shape{0, 3}, Shape{5, 7}, 0).contiguous());
  CHECK(rows.same_shape(Layout(Shape{2, 3, 4}, Shape{0, 0, 0}, 0)));
  CHECK(!rows.same_shape(Layout(Shape{2, 3})) && !rows.same_shape(Layout(Shape{2, 4, 3})));
}

void test_sizes() {
  constexpr std::int64_t big = std::int64_t{1} << 40;
  CHECK(Layout(Shape{0, big, big}).size() == 0);
  CHECK(Layout(Shape{big, big, 0}).size() == 0);
  CHECK(Layout(Shape{big, 0, big, big}, Shape{1, 1, 1, 1}, 0).size() == 0);
  CHECK(checked_layout(Shape{big, 1 << 20}, DType::float32).size() == std::int64_t{1} << 60);
  CHECK(checked_layout(Shape{big, big, 0}, DType::float32).size() == 0);
  for (const Shape& shape : {Shape{big, big}, Shape{std::numeric_limits<std::int64_t>::max()}}) {
    bool thrown = false;
    try {
      checked_layout(shape, DType::float64);
    } catch (const std::invalid_argument&) {
      thrown = true;
    }
    CHECK(thrown);
  }
}

void test_dtypes() {
  for (int i = 0; i < dtype_count; ++i) {
    const auto t = static_cast<DType>(i);
    dispatch(t, [&](auto identity) {
      using T = typename decltype(identity)::type;
      CHECK(sizeof(T) == itemsize(t));
      return 0;
    });
    CHECK(is_integer(t) == (is_signed_integer(t) || is_unsigned_integer(t)));
    CHECK((t == DType::bool_) + is_integer(t) + is_real_floating(t) + is_complex(t) == 1);
    CHECK(name(t)[0] != '\0');
  }
}

void test_ops() {
  for (int i = 0; i < op_count; ++i) {
    const auto op = static_cast<Op>(i);
    CHECK(op_from_name(info(op).name) == op);
    CHECK(!info(op).elementwise || (info(op).arity >= 1 && info(op).arity <= 3));
    CHECK(info(op).ufunc == nullptr || info(op).elementwise);
  }
  CHECK(op_from_name("no such operation") == Op::count_);
  CHECK(std::strcmp(info(Op::add).ufunc, "add") == 0);
}

}  // namespace

int main() {
  test_copies();
  test_contiguous();
  test_sizes();
  test_dtypes();
  test_ops();
}
