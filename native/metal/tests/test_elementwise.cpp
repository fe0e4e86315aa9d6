// Elementwise operations of floats, integers and bools on Metal against the same computed in
// double, or in 128 bits.
#include <functional>
#include <limits>

#include "program_run.h"

using namespace nitinol;
using namespace nitinol::metal::testing;
using nitinol::cpu::testing::generator;
using nitinol::cpu::testing::pick;

namespace {

// Numbers of every size and sign, and the special ones.
std::vector<double> interesting() {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  std::vector<double> v{0.0,      -0.0,      1.0,          -1.0,  0.5,       -0.5,     2.0,
                        infinity, -infinity, std::nan(""), 1e-30, -1e-30,    3e38,     -3e38,
                        88.5,     -88.5,     90,           89.2,  0.999999,  1.000001, 65504,
                        10.5,     1e10,      7.0,          -7.0,  16777216.0};
  for (int i = 0; i < 1500; ++i) {
    const double u = static_cast<double>(pick(-1000000, 1000000)) * 1e-6;
    v.push_back(i % 3 == 0   ? u
                : i % 3 == 1 ? u * 20
                             : std::ldexp(u, static_cast<int>(pick(-40, 40))));
  }
  return v;
}

struct Unary {
  Op op;
  std::function<double(double)> reference;
  double ulps;
};

// A float64 result is the float one rounded once; the allowed error counts units in its
// last place.
bool within(double expected, double got, DType dtype, double ulps) {
  const bool half = dtype == DType::float16;
  const double largest = half ? 65504.0 : std::numeric_limits<float>::max();
  const double unit = half ? 0x1p-11 : 0x1p-24;  // half of the last place of 1
  if (std::isnan(expected) || std::isnan(got)) return std::isnan(expected) && std::isnan(got);
  if (expected == got) return true;
  if (std::fabs(expected) > largest * (1 - 4 * unit)) {
    return std::signbit(expected) == std::signbit(got) &&
           std::fabs(got) >= largest * (1 - 16 * unit);
  }
  const double smallest = half ? 0x1p-14 : 0x1p-126;
  const double size = std::fmax(std::fabs(expected), smallest);
  return std::fabs(expected - got) <= (2 * ulps + 1) * unit * size;
}

void test_unary_floats() {
  const auto sign = [](double x) { return x > 0 ? 1.0 : x < 0 ? -1.0 : x == 0 ? 0.0 : x; };
  const std::vector<Unary> table = {
      {Op::negative, [](double x) { return -x; }, 0},
      {Op::abs, [](double x) { return std::fabs(x); }, 0},
      {Op::sign, sign, 0},
      {Op::square, [](double x) { return x * x; }, 0},
      {Op::sqrt, [](double x) { return std::sqrt(x); }, 0},
      {Op::reciprocal, [](double x) { return 1 / x; }, 0},
      {Op::exp, [](double x) { return std::exp(x); }, 1},
      {Op::expm1, [](double x) { return std::expm1(x); }, 3},
      {Op::log, [](double x) { return std::log(x); }, 1},
      {Op::log1p, [](double x) { return std::log1p(x); }, 3},
      {Op::log2, [](double x) { return std::log2(x); }, 1},
      {Op::log10, [](double x) { return std::log10(x); }, 1},
      {Op::sin, [](double x) { return std::sin(x); }, 1},
      {Op::cos, [](double x) { return std::cos(x); }, 1},
      {Op::tan, [](double x) { return std::tan(x); }, 1},
      {Op::asin, [](double x) { return std::asin(x); }, 1},
      {Op::acos, [](double x) { return std::acos(x); }, 1},
      {Op::atan, [](double x) { return std::atan(x); }, 1},
      {Op::sinh, [](double x) { return std::sinh(x); }, 4},
      {Op::cosh, [](double x) { return std::cosh(x); }, 4},
      {Op::tanh, [](double x) { return std::tanh(x); }, 4},
      {Op::asinh, [](double x) { return std::asinh(x); }, 4},
      {Op::acosh, [](double x) { return std::acosh(x); }, 4},
      {Op::atanh, [](double x) { return std::atanh(x); }, 4},
      {Op::floor, [](double x) { return std::floor(x); }, 0},
      {Op::ceil, [](double x) { return std::ceil(x); }, 0},
      {Op::trunc, [](double x) { return std::trunc(x); }, 0},
      {Op::round, [](double x) { return std::nearbyint(x); }, 0},
      {Op::sigmoid, [](double x) { return 1 / (1 + std::exp(-x)); }, 3},
      {Op::erf, [](double x) { return std::erf(x); }, 2},
      {Op::conj, [](double x) { return x; }, 0},
      {Op::real, [](double x) { return x; }, 0},
      {Op::imag, [](double) { return 0.0; }, 0},
  };
  for (const DType dtype : {DType::float32, DType::float16}) {
    const std::vector<double> values = interesting();
    Array x = cpu::testing::empty(dtype, {static_cast<std::int64_t>(values.size())});
    for (std::size_t i = 0; i < values.size(); ++i) set(x, i, values[i]);
    for (const Unary& unary : table) {
      Target out(dtype, x.shape());
      CHECK(run_op(unary.op, dtype, dtype, {&x}, out).failure.code == Code::none);
      for (std::size_t i = 0; i < values.size(); ++i) {
        const double expected = unary.reference(element(x, i)), got = element(out.array, i);
        if (within(expected, got, dtype, unary.ulps)) continue;
        std::fprintf(stderr, "%s of %s %.9g: %.9g, should be %.9g\n", info(unary.op).name,
                     name(dtype), element(x, i), got, expected);
        std::abort();
      }
      CHECK(out.margin_intact());
    }
    const std::vector<std::pair<Op, std::function<bool(double)>>> tests = {
        {Op::isnan, [](double v) { return std::isnan(v); }},
        {Op::isinf, [](double v) { return std::isinf(v); }},
        {Op::isfinite, [](double v) { return std::isfinite(v); }},
        {Op::signbit, [](double v) { return std::signbit(v); }},
        {Op::logical_not, [](double v) { return v == 0; }},
    };
    for (const auto& [op, reference] : tests) {
      Target out(DType::bool_, x.shape());
      run_op(op, dtype, DType::bool_, {&x}, out);
      for (std::size_t i = 0; i < values.size(); ++i) {
        CHECK(out.array.data<bool>()[i] == reference(element(x, i)));
      }
    }
  }
}

// The remainder of Python's division, computed without rounding.
double python_remainder(double a, double b) {
  if (b == 0 || std::isinf(a) || std::isnan(a) || std::isnan(b)) return std::nan("");
  double r = std::fmod(a, b);
  if (r != 0) return (b < 0) != (r < 0) ? r + b : r;
  return std::copysign(0.0, b);
}

double python_quotient(double a, double b) {
  if (b == 0) return a / b;
  if (std::isinf(a) || std::isnan(a) || std::isnan(b)) return std::nan("");
  if (std::isinf(b))
    return a == 0               ? std::copysign(0.0, a / b)
           : (a < 0) != (b < 0) ? -1.0
                                : std::copysign(0.0, a / b);
  return std::floor((a - python_remainder(a, b)) / b + 0.5);
}

void test_binary_floats() {
  struct Binary {
    Op op;
    std::function<double(double, double)> reference;
    double ulps;
  };
  const auto nan_or = [](double a, double b, double v) {
    return std::isnan(a) || std::isnan(b) ? std::nan("") : v;
  };
  const std::vector<Binary> table = {
      {Op::add, [](double a, double b) { return a + b; }, 0},
      {Op::subtract, [](double a, double b) { return a - b; }, 0},
      {Op::multiply, [](double a, double b) { return a * b; }, 0},
      {Op::divide, [](double a, double b) { return a / b; }, 0},
      {Op::power, [](double a, double b) { return std::pow(a, b); }, 1},
      {Op::remainder, python_remainder, 1},
      {Op::atan2, [](double a, double b) { return std::atan2(a, b); }, 1},
      {Op::hypot, [](double a, double b) { return std::hypot(a, b); }, 1},
      {Op::copysign, [](double a, double b) { return std::copysign(a, b); }, 0},
      {Op::maximum, [&](double a, double b) { return nan_or(a, b, a > b ? a : b); }, 0},
      {Op::minimum, [&](double a, double b) { return nan_or(a, b, a < b ? a : b); }, 0},
      {Op::logaddexp,
       [&](double a, double b) {
         if (a == b) return a + std::log(2.0);
         return nan_or(a, b, std::fmax(a, b) + std::log1p(std::exp(-std::fabs(a - b))));
       },
       40},  // cancels where the result is near zero
  };
  for (const DType dtype : {DType::float32, DType::float16}) {
    const std::vector<double> values = interesting();
    const std::int64_t n = 4000;
    Array x = cpu::testing::empty(dtype, {n}), y = cpu::testing::empty(dtype, {n});
    for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
      const auto any = [&] {
        return values[static_cast<std::size_t>(pick(0, pick(0, 1) ? 25 : 1500))];
      };
      set(x, i, any());
      set(y, i, any());
    }
    for (const Binary& binary : table) {
      Target out(dtype, {n});
      CHECK(run_op(binary.op, dtype, dtype, {&x, &y}, out).failure.code == Code::none);
      for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
        const double a = element(x, i), b = element(y, i);
        const double expected = binary.reference(a, b), got = element(out.array, i);
        if (within(expected, got, dtype, binary.ulps)) continue;
        // A remainder near the divisor: rounding makes one of the other.
        if (binary.op == Op::remainder && within(b, got, dtype, 2)) continue;
        if (binary.op == Op::logaddexp && std::fabs(expected - got) < 1e-6 * std::fabs(a)) continue;
        std::fprintf(stderr, "%s of %s %.9g %.9g: %.9g, should be %.9g\n", info(binary.op).name,
                     name(dtype), a, b, got, expected);
        std::abort();
      }
    }
    // The next number, by counting bits.
    Target next(dtype, {n}), quotient(dtype, {n});
    run_op(Op::nextafter, dtype, dtype, {&x, &y}, next);
    run_op(Op::floor_divide, dtype, dtype, {&x, &y}, quotient);
    for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
      const double a = element(x, i), b = element(y, i), got = element(next.array, i);
      if (std::isnan(a) || std::isnan(b)) {
        CHECK(std::isnan(got));
      } else if (a == b) {
        CHECK(got == b);
      } else if (dtype == DType::float32) {
        CHECK(got ==
              static_cast<double>(std::nextafter(static_cast<float>(a), static_cast<float>(b))));
      } else {
        CHECK(got != a && (got > a) == (b > a));
        // Nothing lies between.
        const double middle = cpu::to_float(cpu::to_half((a + got) / 2));
        CHECK(std::isinf(a) || std::isinf(got) || middle == a || middle == got);
      }
      const double expected = python_quotient(a, b), q = element(quotient.array, i);
      if (!within(expected, q, dtype, 2) &&
          !(std::fabs(expected) > 1e4 && std::fabs(q / expected - 1) < 1e-3)) {
        std::fprintf(stderr, "%s %.9g // %.9g: %.9g, should be %.9g\n", name(dtype), a, b, q,
                     expected);
        std::abort();
      }
    }
    const std::vector<std::pair<Op, std::function<bool(double, double)>>> tests = {
        {Op::equal, [](double a, double b) { return a == b; }},
        {Op::not_equal, [](double a, double b) { return a != b; }},
        {Op::less, [](double a, double b) { return a < b; }},
        {Op::less_equal, [](double a, double b) { return a <= b; }},
        {Op::greater, [](double a, double b) { return a > b; }},
        {Op::greater_equal, [](double a, double b) { return a >= b; }},
        {Op::logical_and, [](double a, double b) { return a != 0 && b != 0; }},
        {Op::logical_or, [](double a, double b) { return a != 0 || b != 0; }},
        {Op::logical_xor, [](double a, double b) { return (a != 0) != (b != 0); }},
    };
    for (const auto& [op, reference] : tests) {
      Target out(DType::bool_, {n});
      run_op(op, dtype, DType::bool_, {&x, &y}, out);
      for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
        CHECK(out.array.data<bool>()[i] == reference(element(x, i), element(y, i)));
      }
    }
  }
}

// Integers in 128 bits, then cut.
template <class T>
void test_integers_of(DType dtype) {
  using Wide = __int128;
  constexpr int bits = 8 * sizeof(T);
  const auto floor_of = [](Wide a, Wide b) -> Wide {
    if (b == 0) return 0;
    const Wide q = a / b;
    return a % b != 0 && (a % b < 0) != (b < 0) ? q - 1 : q;
  };
  const std::vector<std::pair<Op, std::function<Wide(Wide, Wide)>>> table = {
      {Op::add, [](Wide a, Wide b) { return a + b; }},
      {Op::subtract, [](Wide a, Wide b) { return a - b; }},
      {Op::multiply,
       [](Wide a, Wide b) {
         return static_cast<Wide>(static_cast<unsigned __int128>(a) *
                                  static_cast<unsigned __int128>(b));
       }},
      {Op::floor_divide, floor_of},
      {Op::remainder, [&](Wide a, Wide b) { return b == 0 ? 0 : a - floor_of(a, b) * b; }},
      {Op::maximum, [](Wide a, Wide b) { return a > b ? a : b; }},
      {Op::minimum, [](Wide a, Wide b) { return a < b ? a : b; }},
      {Op::bitwise_and, [](Wide a, Wide b) { return a & b; }},
      {Op::bitwise_or, [](Wide a, Wide b) { return a | b; }},
      {Op::bitwise_xor, [](Wide a, Wide b) { return a ^ b; }},
      {Op::bitwise_left_shift,
       [](Wide a, Wide b) {
         return b < 0 || b >= bits ? 0 : static_cast<Wide>(static_cast<unsigned __int128>(a) << b);
       }},
      {Op::bitwise_right_shift,
       [](Wide a, Wide b) { return b < 0 || b >= bits ? (a < 0 ? -1 : 0) : a >> b; }},
      {Op::negative, [](Wide a, Wide) { return -a; }},
      {Op::abs, [](Wide a, Wide) { return a < 0 ? -a : a; }},
      {Op::sign, [](Wide a, Wide) { return a > 0   ? 1
                                           : a < 0 ? -1
                                                   : 0; }},
      {Op::square,
       [](Wide a, Wide) {
         return static_cast<Wide>(static_cast<unsigned __int128>(a) *
                                  static_cast<unsigned __int128>(a));
       }},
      {Op::bitwise_invert, [](Wide a, Wide) { return ~a; }},
      {Op::floor, [](Wide a, Wide) { return a; }},
      {Op::imag, [](Wide, Wide) { return 0; }},
  };
  const std::vector<std::pair<Op, std::function<bool(Wide, Wide)>>> tests = {
      {Op::equal, [](Wide a, Wide b) { return a == b; }},
      {Op::less, [](Wide a, Wide b) { return a < b; }},
      {Op::greater_equal, [](Wide a, Wide b) { return a >= b; }},
      {Op::logical_and, [](Wide a, Wide b) { return a != 0 && b != 0; }},
      {Op::logical_xor, [](Wide a, Wide b) { return (a != 0) != (b != 0); }},
      {Op::logical_not, [](Wide a, Wide) { return a == 0; }},
      {Op::isnan, [](Wide, Wide) { return false; }},
      {Op::isfinite, [](Wide, Wide) { return true; }},
  };
  const std::int64_t n = 700;
  Array x = cpu::testing::empty(dtype, {n}), y = cpu::testing::empty(dtype, {n});
  for (std::int64_t i = 0; i < n; ++i) {
    const auto any = [&]() -> T {
      const std::uint64_t v = generator() >> pick(0, 63);
      switch (pick(0, 3)) {
        case 0:
          return static_cast<T>(pick(-3, bits + 3));
        case 1:
          return pick(0, 1) ? std::numeric_limits<T>::min() : std::numeric_limits<T>::max();
        default:
          return static_cast<T>(pick(0, 1) ? v : ~v);
      }
    };
    x.data<T>()[i] = any();
    y.data<T>()[i] = any();
  }
  const auto arity = [](Op op) { return info(op).arity; };
  for (const auto& [op, reference] : table) {
    Target out(dtype, {n});
    std::vector<Array*> inputs{&x, &y};
    inputs.resize(arity(op));
    CHECK(run_op(op, dtype, dtype, inputs, out).failure.code == Code::none);
    for (std::int64_t i = 0; i < n; ++i) {
      const T a = x.data<T>()[i], b = y.data<T>()[i];
      const T expected = static_cast<T>(reference(a, b)), got = out.array.data<T>()[i];
      if (expected == got) continue;
      std::fprintf(stderr, "%s of %s %lld %lld: %lld\n", info(op).name, name(dtype),
                   static_cast<long long>(a), static_cast<long long>(b),
                   static_cast<long long>(got));
      std::abort();
    }
  }
  for (const auto& [op, reference] : tests) {
    Target out(DType::bool_, {n});
    std::vector<Array*> inputs{&x, &y};
    inputs.resize(arity(op));
    run_op(op, dtype, DType::bool_, inputs, out);
    for (std::int64_t i = 0; i < n; ++i) {
      CHECK(out.array.data<bool>()[i] == reference(x.data<T>()[i], y.data<T>()[i]));
    }
  }
}

void test_integers() {
  for (const DType dtype : dtypes) {
    if (!is_integer(dtype)) continue;
    dispatch(dtype, [&]<class T>(std::type_identity<T>) {
      if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) test_integers_of<T>(dtype);
    });
  }
}

void test_bools() {
  Array x = cpu::testing::empty(DType::bool_, {4}), y = x;
  for (int i = 0; i < 4; ++i) {
    x.storage[static_cast<std::size_t>(i)] = static_cast<char>(i & 1);
    y.storage[static_cast<std::size_t>(i)] = static_cast<char>(i >> 1);
  }
  const std::vector<std::pair<Op, std::function<bool(bool, bool)>>> table = {
      {Op::add, [](bool a, bool b) { return a || b; }},
      {Op::multiply, [](bool a, bool b) { return a && b; }},
      {Op::maximum, [](bool a, bool b) { return a || b; }},
      {Op::minimum, [](bool a, bool b) { return a && b; }},
      {Op::bitwise_xor, [](bool a, bool b) { return a != b; }},
      {Op::bitwise_invert, [](bool a, bool) { return !a; }},
      {Op::logical_not, [](bool a, bool) { return !a; }},
      {Op::less, [](bool a, bool b) { return !a && b; }},
      {Op::greater_equal, [](bool a, bool b) { return a || !b; }},
      {Op::abs, [](bool a, bool) { return a; }},
      {Op::isnan, [](bool, bool) { return false; }},
  };
  for (const auto& [op, reference] : table) {
    Target out(DType::bool_, {4});
    std::vector<Array*> inputs{&x, &y};
    inputs.resize(info(op).arity);
    CHECK(run_op(op, DType::bool_, DType::bool_, inputs, out).failure.code == Code::none);
    for (int i = 0; i < 4; ++i) {
      CHECK(out.array.storage[static_cast<std::size_t>(i)] == (reference(i & 1, i >> 1) ? 1 : 0));
    }
  }
}

}  // namespace

int main(int count, char** names) {
  run_tests(count, names,
            {
                {"unary_floats", test_unary_floats},
                {"binary_floats", test_binary_floats},
                {"integers", test_integers},
                {"bools", test_bools},
            });
}
