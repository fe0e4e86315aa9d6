// The own elementwise loops against scalar formulas, over dtypes and strides.
#include <cmath>
#include <complex>
#include <cstring>
#include <limits>
#include <vector>

#include "arrays.h"
#include "check.h"
#include "cpu/loops.h"

using namespace nitinol;
using namespace nitinol::cpu;
using namespace nitinol::cpu::testing;

namespace {

// Runs a loop over 1-d arrays of one length.
Fault run_loop(StridedLoop loop, std::vector<Array*> operands, std::int64_t position = 0) {
  CHECK(loop != nullptr);
  std::vector<char*> data;
  std::vector<std::intptr_t> strides;
  for (Array* a : operands) {
    data.push_back(a->view().data);
    strides.push_back(a->layout.stride(0) * static_cast<std::int64_t>(itemsize(a->dtype)));
  }
  const std::intptr_t n = operands.back()->layout.size();
  FaultSlot fault;
  LoopContext context{&fault, position};
  CHECK(loop(&context, data.data(), &n, strides.data(), nullptr) == 0);
  return fault.get();
}

// An element as a complex number, exact for every small value.
complex128 number(Array& a, std::int64_t i) {
  return dispatch(a.dtype, [&]<class T>(std::type_identity<T>) -> complex128 {
    const T v = a.get<T>({i});
    if constexpr (std::is_same_v<T, float16>) {
      return static_cast<double>(to_float(v));
    } else if constexpr (requires { v.real(); }) {
      return {static_cast<double>(v.real()), static_cast<double>(v.imag())};
    } else {
      return static_cast<double>(v);
    }
  });
}

void test_casts_of_small_numbers() {
  for (int from = 0; from < dtype_count; ++from) {
    for (int to = 0; to < dtype_count; ++to) {
      for (int round = 0; round < 8; ++round) {
        const Shape shape{pick(0, 70)};
        Array x = random_array(static_cast<DType>(from), shape, round % 2);
        Array out = random_array(static_cast<DType>(to), shape, round % 4 < 2);
        if (out.layout.size() > 1 && out.layout.stride(0) == 0) continue;
        CHECK(run_loop(find_loop(Op::cast, x.dtype, out.dtype), {&x, &out}).code == Code::none);
        for (std::int64_t i = 0; i < shape[0]; ++i) {
          const complex128 v = number(x, i), got = number(out, i);
          if (out.dtype == DType::bool_) {
            CHECK(got.real() == (v != complex128(0)));
          } else if (is_integer(out.dtype)) {
            const double whole = std::trunc(v.real());
            CHECK(got.real() == whole || (whole < 0 && is_unsigned_integer(out.dtype)));
          } else {
            CHECK(got.real() == v.real());
            CHECK(got.imag() == (is_complex(out.dtype) ? v.imag() : 0));
          }
        }
      }
    }
  }
}

template <class From, class To>
To cast_one(DType from, DType to, From value) {
  Array x = empty(from, {1}), out = empty(to, {1});
  x.data<From>()[0] = value;
  run_loop(find_loop(Op::cast, from, to), {&x, &out});
  return out.data<To>()[0];
}

void test_casts_out_of_range() {
  using L = std::numeric_limits<double>;
  const auto to_i32 = [](double v) {
    return cast_one<double, std::int32_t>(DType::float64, DType::int32, v);
  };
  CHECK(to_i32(2147483647.9) == 2147483647 && to_i32(-2147483648.9) == -2147483647 - 1);
  for (const double v : {2147483648.0, -2147483649.0, L::infinity(), L::quiet_NaN()}) {
    CHECK(to_i32(v) == std::numeric_limits<std::int32_t>::min());
  }
  const auto to_u64 = [](double v) {
    return cast_one<double, std::uint64_t>(DType::float64, DType::uint64, v);
  };
  CHECK(to_u64(0x1p63) == std::uint64_t{1} << 63 && to_u64(-1.0) == ~std::uint64_t{0});
  CHECK((cast_one<float, std::uint8_t>(DType::float32, DType::uint8, 259.5f) == 3));
  CHECK((cast_one<float, std::int64_t>(DType::float32, DType::int64, 1e30f) ==
         std::numeric_limits<std::int64_t>::min()));
  CHECK((cast_one<float, bool>(DType::float32, DType::bool_, std::nanf(""))));
}

// Every half, and every midpoint between neighbours, from float32 and float64.
void test_halves() {
  const auto bits_of = [](float16 h) { return std::bit_cast<std::uint16_t>(h); };
  for (std::uint32_t bits = 0; bits < 0x7c00u; ++bits) {
    const auto h = std::bit_cast<float16>(static_cast<std::uint16_t>(bits));
    const float f = to_float(h);
    const int exponent = static_cast<int>(bits >> 10);
    const double mantissa = (bits & 1023u) + (exponent ? 1024 : 0);
    CHECK(f == std::ldexp(mantissa, (exponent ? exponent : 1) - 25));
    CHECK(bits_of(to_half(f)) == bits && bits_of(to_half(-f)) == (bits | 0x8000u));
    const double next = std::ldexp(mantissa + 1, (exponent ? exponent : 1) - 25);
    const double middle = (static_cast<double>(f) + next) / 2;
    const auto even = static_cast<std::uint16_t>(bits + (bits & 1));
    CHECK(bits_of(to_half(static_cast<float>(middle))) == even);
    CHECK(bits_of(to_half(middle)) == even);
    // A float64 so close to the middle that float32 can't tell.
    CHECK(bits_of(to_half(std::nextafter(middle, 0.0))) == bits);
    CHECK(bits_of(to_half(std::nextafter(middle, 1e9))) == bits + 1);
  }
  CHECK(std::isnan(to_float(to_half(std::nanf("")))));
  CHECK(bits_of(to_half(65520.0f)) == 0x7c00 && bits_of(to_half(65519.9f)) == 0x7bff);
  CHECK(std::isinf(to_float(std::bit_cast<float16>(std::uint16_t{0xfc00}))));
}

void test_where_and_parts() {
  for (int round = 0; round < 300; ++round) {
    const DType dtype = random_dtype();
    const Shape shape{pick(0, 70)};
    Array condition = random_array(DType::bool_, shape), x = random_array(dtype, shape),
          y = random_array(dtype, shape), out = empty(dtype, shape);
    run_loop(find_loop(Op::where, dtype, dtype), {&condition, &x, &y, &out});
    for (std::int64_t i = 0; i < shape[0]; ++i) {
      CHECK(same(out.at({i}), condition.get<bool>({i}) ? x.at({i}) : y.at({i}), dtype));
    }
    const DType part = dtype == DType::complex64    ? DType::float32
                       : dtype == DType::complex128 ? DType::float64
                                                    : dtype;
    Array real = empty(part, shape), imag = empty(part, shape);
    run_loop(find_loop(Op::real, dtype, part), {&x, &real});
    run_loop(find_loop(Op::imag, dtype, part), {&x, &imag});
    for (std::int64_t i = 0; i < shape[0]; ++i) {
      CHECK(number(x, i) == complex128(number(real, i).real(), number(imag, i).real()));
    }
  }
}

void test_integer_power() {
  for (int round = 0; round < 200; ++round) {
    const DType dtypes[] = {DType::int8, DType::uint16, DType::int32, DType::int64, DType::uint64};
    const DType dtype = dtypes[pick(0, 4)];
    const Shape shape{pick(1, 40)};
    Array x = random_array(dtype, shape), y = random_array(dtype, shape), out = empty(dtype, shape);
    const auto check = [&]<class T>(std::type_identity<T>) {
      for (std::size_t i = 0; i < y.storage.size() / sizeof(T); ++i) y.data<T>()[i] %= 9;
      CHECK(run_loop(find_loop(Op::power, dtype, dtype), {&x, &y, &out}).code == Code::none);
      for (std::int64_t i = 0; i < shape[0]; ++i) {
        std::uint64_t expected = 1;
        for (int k = 0; k < static_cast<int>(y.get<T>({i})); ++k) {
          expected *= static_cast<std::uint64_t>(x.get<T>({i}));
        }
        CHECK(out.get<T>({i}) == static_cast<T>(expected));
      }
      if constexpr (std::is_signed_v<T>) {
        Array negative = random_array(dtype, shape, true);
        std::fill_n(negative.data<T>(), shape[0], T{1});
        negative.data<T>()[shape[0] - 1] = -3;
        negative.data<T>()[shape[0] / 2] = -2;
        const Fault fault = run_loop(find_loop(Op::power, dtype, dtype), {&x, &negative, &out});
        CHECK(fault.code == Code::negative_power &&
              fault.args[0] == (shape[0] > 2 ? -2 : fault.args[0]));
      }
    };
    dispatch(dtype, [&]<class T>(std::type_identity<T> type) {
      if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) check(type);
    });
  }
}

void test_sigmoid_and_erf() {
  const double specials[] = {HUGE_VAL, -HUGE_VAL, std::nan(""), 0.0, -0.0};
  for (const DType dtype : {DType::float16, DType::float32, DType::float64}) {
    dispatch(dtype, [&]<class T>(std::type_identity<T>) {
      if constexpr (std::is_floating_point_v<T> || std::is_same_v<T, float16>) {
        Array x = empty(dtype, {20005}), out = empty(dtype, {20005});
        const auto put = [&](std::int64_t i, double v) {
          if constexpr (std::is_same_v<T, float16>) {
            x.data<T>()[i] = to_half(v);
          } else {
            x.data<T>()[i] = static_cast<T>(v);
          }
        };
        for (int i = 0; i < 20000; ++i) put(i, (i - 10000) * 0.01);
        for (int i = 0; i < 5; ++i) put(20000 + i, specials[i]);
        const double epsilon = dtype == DType::float16   ? 0x1p-11
                               : dtype == DType::float32 ? 0x1p-24
                                                         : 0x1p-53;
        for (const Op op : {Op::sigmoid, Op::erf}) {
          run_loop(find_loop(op, dtype, dtype), {&x, &out});
          for (std::int64_t i = 0; i < 20005; ++i) {
            const double v = number(x, i).real(), got = number(out, i).real();
            const double exact = op == Op::erf ? std::erf(v) : 1 / (1 + std::exp(-v));
            if (std::isnan(v)) {
              CHECK(std::isnan(got));
            } else {
              const double tiny = dtype == DType::float16 ? 0x1p-24 : 1e-37;
              CHECK(std::abs(got - exact) <= 5 * epsilon * std::abs(exact) + tiny);
            }
          }
        }
      }
    });
  }
}

void test_division_with_floor() {
  const float inf = HUGE_VALF;
  const struct {
    float a, b, quotient, remainder;
  } cases[] = {{7, 2, 3, 1},
               {-7, 2, -4, 1},
               {7, -2, -4, -1},
               {-7, -2, 3, -1},
               {6, 3, 2, 0},
               {1, inf, 0, 1},
               {-1, inf, -1, inf},
               {0.1f, 0.1f, 1, 0},
               {1e30f, 3, std::floor(1e30f / 3), std::fmod(1e30f, 3.0f)}};
  for (const auto& c : cases) {
    Array a = empty(DType::float32, {1}), b = a, out = a;
    a.data<float>()[0] = c.a;
    b.data<float>()[0] = c.b;
    run_loop(find_loop(Op::floor_divide, a.dtype, a.dtype), {&a, &b, &out});
    CHECK(out.data<float>()[0] == c.quotient);
    run_loop(find_loop(Op::remainder, a.dtype, a.dtype), {&a, &b, &out});
    CHECK(out.data<float>()[0] == c.remainder);
  }
  // The fast way finds the remainder that fmod does.
  Array a = empty(DType::float32, {20000}), b = a, out = a;
  for (int i = 0; i < 20000; ++i) {
    a.data<float>()[i] =
        std::ldexp(static_cast<float>(pick(0, 1 << 24)), static_cast<int>(pick(-20, 20)));
    b.data<float>()[i] =
        std::ldexp(static_cast<float>(pick(1, 1 << 24)), static_cast<int>(pick(-20, 20)));
  }
  run_loop(find_loop(Op::remainder, a.dtype, a.dtype), {&a, &b, &out});
  for (int i = 0; i < 20000; ++i) {
    CHECK(out.data<float>()[i] == std::fmod(a.data<float>()[i], b.data<float>()[i]));
  }
}

void test_half_arithmetic() {
  for (const Op op : {Op::add, Op::subtract, Op::multiply, Op::divide}) {
    for (int round = 0; round < 40; ++round) {
      const Shape shape{pick(1, 70)};
      Array x = random_array(DType::float16, shape), y = random_array(DType::float16, shape),
            out = empty(DType::float16, shape);
      run_loop(find_loop(op, DType::float16, DType::float16), {&x, &y, &out});
      for (std::int64_t i = 0; i < shape[0]; ++i) {
        const float a = to_float(x.get<float16>({i})), b = to_float(y.get<float16>({i}));
        const float16 expected = to_half(op == Op::add        ? a + b
                                         : op == Op::subtract ? a - b
                                         : op == Op::multiply ? a * b
                                                              : a / b);
        if (a == 0 && b == 0) continue;  // 0 / 0: any NaN
        CHECK(same(&expected, out.at({i}), DType::float16));
      }
    }
  }
}

}  // namespace

int main() {
  test_casts_of_small_numbers();
  test_casts_out_of_range();
  test_halves();
  test_where_and_parts();
  test_integer_power();
  test_sigmoid_and_erf();
  test_division_with_floor();
  test_half_arithmetic();
  CHECK(find_loop(Op::sin, DType::float32, DType::float32) == nullptr);
}
