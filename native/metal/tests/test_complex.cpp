// Elementwise operations of complex numbers on Metal against the same computed in double, and
// their special values against those of the C library.
#include <complex>
#include <functional>
#include <limits>

#include "program_run.h"

using namespace nitinol;
using namespace nitinol::metal::testing;
using nitinol::cpu::testing::pick;

namespace {

using Complex = std::complex<double>;

// Of complex numbers: within some units of the larger part; where a reference part cancels,
// of the modulus.
void test_complex() {
  struct Function {
    Op op;
    std::function<Complex(Complex, Complex)> reference;
    double tolerance;
  };
  const std::vector<Function> table = {
      {Op::add, [](Complex a, Complex b) { return a + b; }, 1e-7},
      {Op::subtract, [](Complex a, Complex b) { return a - b; }, 1e-7},
      {Op::multiply, [](Complex a, Complex b) { return a * b; }, 3e-7},
      {Op::divide, [](Complex a, Complex b) { return a / b; }, 5e-7},
      {Op::power, [](Complex a, Complex b) { return std::pow(a, b); }, 5e-6},
      {Op::square, [](Complex a, Complex) { return a * a; }, 3e-7},
      {Op::reciprocal, [](Complex a, Complex) { return 1.0 / a; }, 5e-7},
      {Op::negative, [](Complex a, Complex) { return -a; }, 0},
      {Op::sign, [](Complex a, Complex) { return a / std::abs(a); }, 3e-7},
      {Op::sqrt, [](Complex a, Complex) { return std::sqrt(a); }, 5e-7},
      {Op::exp, [](Complex a, Complex) { return std::exp(a); }, 5e-7},
      {Op::expm1, [](Complex a, Complex) { return std::exp(a) - 1.0; }, 1e-6},
      {Op::log, [](Complex a, Complex) { return std::log(a); }, 5e-7},
      {Op::log1p, [](Complex a, Complex) { return std::log(1.0 + a); }, 1e-6},
      {Op::log2, [](Complex a, Complex) { return std::log(a) / std::log(2.0); }, 5e-7},
      {Op::log10, [](Complex a, Complex) { return std::log(a) / std::log(10.0); }, 5e-7},
      {Op::sin, [](Complex a, Complex) { return std::sin(a); }, 1e-6},
      {Op::cos, [](Complex a, Complex) { return std::cos(a); }, 1e-6},
      {Op::tan, [](Complex a, Complex) { return std::tan(a); }, 2e-6},
      {Op::asin, [](Complex a, Complex) { return std::asin(a); }, 1e-6},
      {Op::acos, [](Complex a, Complex) { return std::acos(a); }, 1e-6},
      {Op::atan, [](Complex a, Complex) { return std::atan(a); }, 1e-6},
      {Op::sinh, [](Complex a, Complex) { return std::sinh(a); }, 1e-6},
      {Op::cosh, [](Complex a, Complex) { return std::cosh(a); }, 1e-6},
      {Op::tanh, [](Complex a, Complex) { return std::tanh(a); }, 2e-6},
      {Op::asinh, [](Complex a, Complex) { return std::asinh(a); }, 1e-6},
      {Op::acosh, [](Complex a, Complex) { return std::acosh(a); }, 1e-6},
      {Op::atanh, [](Complex a, Complex) { return std::atanh(a); }, 1e-6},
      {Op::conj, [](Complex a, Complex) { return std::conj(a); }, 0},
  };
  const std::int64_t n = 1500;
  Array x = cpu::testing::empty(DType::complex64, {n}), y = x;
  for (std::int64_t i = 0; i < n; ++i) {
    const auto part = [&](double scale) {
      return static_cast<float>(scale * static_cast<double>(pick(-1000000, 1000000)) * 1e-6);
    };
    const double scale = i % 3 == 0 ? 1.5 : i % 3 == 1 ? 6 : 1e-3;
    x.data<complex64>()[i] = {part(scale), part(scale)};
    y.data<complex64>()[i] =
        i % 5 == 0 ? complex64(static_cast<float>(pick(-5, 5)), 0) : complex64(part(3), part(3));
    if (i % 7 == 0) x.data<complex64>()[i] = {part(3), 0.0f};
    if (i % 11 == 0) x.data<complex64>()[i] = {part(3), -0.0f};
  }
  for (const Function& f : table) {
    Target out(DType::complex64, {n});
    std::vector<Array*> inputs{&x, &y};
    inputs.resize(info(f.op).arity);
    CHECK(run_op(f.op, DType::complex64, DType::complex64, inputs, out).failure.code == Code::none);
    for (std::int64_t i = 0; i < n; ++i) {
      const Complex a = x.data<complex64>()[i], b = y.data<complex64>()[i];
      const Complex expected = f.reference(a, b), got = out.array.data<complex64>()[i];
      const double size = std::abs(expected);
      if (!std::isfinite(size)) continue;
      const double error = std::abs(expected - got);
      if (error <= f.tolerance * size + 1e-30) continue;
      std::fprintf(stderr, "%s of %.9g%+.9gj, %.9g%+.9gj: %.9g%+.9gj, should be %.9g%+.9gj (%g)\n",
                   info(f.op).name, a.real(), a.imag(), b.real(), b.imag(), got.real(), got.imag(),
                   expected.real(), expected.imag(), error / size);
      std::abort();
    }
  }
  Target size(DType::float32, {n}), real(DType::float32, {n}), imaginary(DType::float32, {n});
  run_op(Op::abs, DType::complex64, DType::float32, {&x}, size);
  run_op(Op::real, DType::complex64, DType::float32, {&x}, real);
  run_op(Op::imag, DType::complex64, DType::float32, {&x}, imaginary);
  for (std::int64_t i = 0; i < n; ++i) {
    const complex64 a = x.data<complex64>()[i];
    CHECK(near(std::abs(Complex(a)), static_cast<double>(size.array.data<float>()[i]), {2e-7, 0}));
    CHECK(real.array.data<float>()[i] == a.real() && imaginary.array.data<float>()[i] == a.imag());
  }
}

// The special values of C99's Annex G, as the C library has them.
void test_special_complex() {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  const float parts[] = {0.0f, -0.0f, 1.0f, -2.0f, infinity, -infinity, std::nanf("")};
  Array x = cpu::testing::empty(DType::complex64, {49});
  for (int i = 0; i < 49; ++i) x.data<complex64>()[i] = {parts[i / 7], parts[i % 7]};
  const std::vector<std::pair<Op, std::function<complex64(complex64)>>> table = {
      {Op::exp, [](complex64 a) { return std::exp(a); }},
      {Op::log, [](complex64 a) { return std::log(a); }},
      {Op::sqrt, [](complex64 a) { return std::sqrt(a); }},
      {Op::sinh, [](complex64 a) { return std::sinh(a); }},
      {Op::cosh, [](complex64 a) { return std::cosh(a); }},
      {Op::tanh, [](complex64 a) { return std::tanh(a); }},
      {Op::asinh, [](complex64 a) { return std::asinh(a); }},
      {Op::acosh, [](complex64 a) { return std::acosh(a); }},
      {Op::acos, [](complex64 a) { return std::acos(a); }},
      {Op::atanh, [](complex64 a) { return std::atanh(a); }},
  };
  bool fine = true;
  for (const auto& [op, reference] : table) {
    Target out(DType::complex64, {49});
    run_op(op, DType::complex64, DType::complex64, {&x}, out);
    for (int i = 0; i < 49; ++i) {
      const complex64 a = x.data<complex64>()[i], got = out.array.data<complex64>()[i];
      const complex64 expected = reference(a);
      // The sign of a zero or infinity beside a NaN is free, and so is NaN where both may be.
      const auto same = [](float e, float g, bool loose) {
        if (std::isnan(e) || std::isnan(g)) return std::isnan(e) && std::isnan(g);
        if (loose && (std::isinf(e) || e == 0)) return std::fabs(e) == std::fabs(g);
        return std::signbit(e) == std::signbit(g) &&
               (e == g || std::fabs(e - g) <= 1e-6f * std::fabs(e));
      };
      const bool loose = std::isnan(expected.real()) || std::isnan(expected.imag()) ||
                         std::isnan(a.real()) || std::isnan(a.imag());
      if (same(expected.real(), got.real(), loose) && same(expected.imag(), got.imag(), loose)) {
        continue;
      }
      fine = false;
      std::fprintf(stderr, "%s of %g%+gj: %g%+gj, should be %g%+gj\n", info(op).name,
                   static_cast<double>(a.real()), static_cast<double>(a.imag()),
                   static_cast<double>(got.real()), static_cast<double>(got.imag()),
                   static_cast<double>(expected.real()), static_cast<double>(expected.imag()));
    }
  }
  CHECK(fine);
}

}  // namespace

int main(int count, char** names) {
  run_tests(count, names,
            {
                {"complex", test_complex},
                {"special_complex", test_special_complex},
            });
}
