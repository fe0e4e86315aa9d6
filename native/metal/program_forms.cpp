// The forms of the operations, by kind of dtype: one table.
#include "metal/program_forms.h"

#include <array>
#include <bit>
#include <cstddef>

#include "metal/program_text.h"

namespace nitinol::metal {
namespace {

enum Kind : unsigned {
  boolean = 1,
  unsigned_integer = 2,
  signed_integer = 4,
  floating = 8,  // float; float16 is computed in it and rounded once
  complex = 16,
  integer = unsigned_integer | signed_integer,
};
constexpr int kind_count = 5;

constexpr unsigned with_special = floats | special;
constexpr unsigned with_complex = floats | special | complexes;

struct Row {
  Op op;
  unsigned kinds;
  Form form;
};

// What isn't here has no meaning.
constexpr Row rows[] = {
    {Op::add, boolean, {"$a || $b"}},
    {Op::add, integer, {"$T($W($a) + $W($b))"}},
    {Op::add, floating | complex, {"$a + $b"}},
    {Op::subtract, integer, {"$T($W($a) - $W($b))"}},
    {Op::subtract, floating | complex, {"$a - $b"}},
    {Op::multiply, boolean, {"$a && $b"}},
    {Op::multiply, integer, {"$T($W($a) * $W($b))"}},
    {Op::multiply, floating, {"$a * $b"}},
    {Op::multiply, complex, {"complex_multiply($a, $b)", with_complex}},
    {Op::divide, floating, {"$a / $b"}},
    {Op::divide, complex, {"complex_divide($a, $b)", with_complex}},
    {Op::floor_divide, integer, {"integer_floor_divide<$T, $W>($a, $b)", integers}},
    {Op::floor_divide, floating, {"float_floor_divide($a, $b)", floats}},
    {Op::remainder, integer, {"integer_remainder<$T, $W>($a, $b)", integers}},
    {Op::remainder, floating, {"float_remainder($a, $b)", floats}},
    {Op::power, integer, {"integer_power<$T, $W>($a, $b)", integers}},
    {Op::power, floating, {"float_power($a, $b)", floats}},
    {Op::power, complex, {"complex_power($a, $b)", with_complex}},
    {Op::negative, integer, {"$T($W(0) - $W($a))"}},
    {Op::negative, floating | complex, {"-$a"}},
    {Op::abs, boolean | unsigned_integer, {"$a"}},
    {Op::abs, signed_integer, {"integer_abs<$T, $W>($a)", integers}},
    {Op::abs, floating, {"float_abs($a)", floats}},
    {Op::abs, complex, {"float_hypot($a.x, $a.y)", with_special}},
    {Op::sign, integer, {"integer_sign<$T>($a)", integers}},
    {Op::sign, floating, {"float_sign($a)", floats}},
    {Op::sign, complex, {"complex_sign($a)", with_complex}},
    {Op::square, integer, {"$T($W($a) * $W($a))"}},
    {Op::square, floating, {"$a * $a"}},
    {Op::square, complex, {"complex_multiply($a, $a)", with_complex}},
    {Op::sqrt, floating, {"precise::sqrt($a)"}},
    {Op::sqrt, complex, {"complex_sqrt($a)", with_complex}},
    {Op::reciprocal, floating, {"1.0f / $a"}},
    {Op::reciprocal, complex, {"complex_reciprocal($a)", with_complex}},
    {Op::exp, floating, {"precise::exp($a)"}},
    {Op::exp, complex, {"complex_exp($a)", with_complex}},
    {Op::expm1, floating, {"float_expm1($a)", with_special}},
    {Op::expm1, complex, {"complex_expm1($a)", with_complex}},
    {Op::log, floating, {"precise::log($a)"}},
    {Op::log, complex, {"complex_log($a)", with_complex}},
    {Op::log1p, floating, {"float_log1p($a)", with_special}},
    {Op::log1p, complex, {"complex_log1p($a)", with_complex}},
    {Op::log2, floating, {"precise::log2($a)"}},
    {Op::log2, complex, {"complex_log($a) * 1.44269504f", with_complex}},
    {Op::log10, floating, {"precise::log10($a)"}},
    {Op::log10, complex, {"complex_log($a) * 0.434294482f", with_complex}},
    {Op::sin, floating, {"precise::sin($a)"}},
    {Op::sin, complex, {"complex_sin($a)", with_complex}},
    {Op::cos, floating, {"precise::cos($a)"}},
    {Op::cos, complex, {"complex_cos($a)", with_complex}},
    {Op::tan, floating, {"precise::tan($a)"}},
    {Op::tan, complex, {"complex_tan($a)", with_complex}},
    {Op::asin, floating, {"precise::asin($a)"}},
    {Op::asin, complex, {"complex_asin($a)", with_complex}},
    {Op::acos, floating, {"precise::acos($a)"}},
    {Op::acos, complex, {"complex_acos($a)", with_complex}},
    {Op::atan, floating, {"precise::atan($a)"}},
    {Op::atan, complex, {"complex_atan($a)", with_complex}},
    {Op::sinh, floating, {"float_sinh($a)", with_special}},
    {Op::sinh, complex, {"complex_sinh($a)", with_complex}},
    {Op::cosh, floating, {"float_cosh($a)", with_special}},
    {Op::cosh, complex, {"complex_cosh($a)", with_complex}},
    {Op::tanh, floating, {"float_tanh($a)", with_special}},
    {Op::tanh, complex, {"complex_tanh($a)", with_complex}},
    {Op::asinh, floating, {"float_asinh($a)", with_special}},
    {Op::asinh, complex, {"complex_asinh($a)", with_complex}},
    {Op::acosh, floating, {"float_acosh($a)", with_special}},
    {Op::acosh, complex, {"complex_acosh($a)", with_complex}},
    {Op::atanh, floating, {"float_atanh($a)", with_special}},
    {Op::atanh, complex, {"complex_atanh($a)", with_complex}},
    {Op::atan2, floating, {"precise::atan2($a, $b)"}},
    {Op::hypot, floating, {"float_hypot($a, $b)", with_special}},
    {Op::copysign, floating, {"float_copysign($a, $b)", floats}},
    {Op::nextafter, floating, {"float_nextafter($a, $b)", floats}},
    {Op::logaddexp, floating, {"float_logaddexp($a, $b)", with_special}},
    {Op::maximum, boolean, {"$a || $b"}},
    {Op::maximum, integer, {"$a >= $b ? $a : $b"}},
    {Op::maximum, floating, {"float_maximum($a, $b)", floats}},
    {Op::minimum, boolean, {"$a && $b"}},
    {Op::minimum, integer, {"$a <= $b ? $a : $b"}},
    {Op::minimum, floating, {"float_minimum($a, $b)", floats}},
    {Op::floor, boolean | integer, {"$a"}},
    {Op::floor, floating, {"floor($a)"}},
    {Op::ceil, boolean | integer, {"$a"}},
    {Op::ceil, floating, {"ceil($a)"}},
    {Op::trunc, boolean | integer, {"$a"}},
    {Op::trunc, floating, {"trunc($a)"}},
    {Op::round, boolean | integer, {"$a"}},
    {Op::round, floating | complex, {"rint($a)"}},
    {Op::isnan, boolean | integer, {"false"}},
    {Op::isnan, floating, {"float_is_nan($a)", floats}},
    {Op::isnan, complex, {"float_is_nan($a.x) || float_is_nan($a.y)", floats}},
    {Op::isinf, boolean | integer, {"false"}},
    {Op::isinf, floating, {"float_is_inf($a)", floats}},
    {Op::isinf, complex, {"float_is_inf($a.x) || float_is_inf($a.y)", floats}},
    {Op::isfinite, boolean | integer, {"true"}},
    {Op::isfinite, floating, {"float_is_finite($a)", floats}},
    {Op::isfinite, complex, {"float_is_finite($a.x) && float_is_finite($a.y)", floats}},
    {Op::signbit, floating, {"float_signbit($a)", floats}},
    {Op::equal, boolean | integer | floating, {"$a == $b"}},
    {Op::equal, complex, {"$a.x == $b.x && $a.y == $b.y"}},
    {Op::not_equal, boolean | integer | floating, {"$a != $b"}},
    {Op::not_equal, complex, {"$a.x != $b.x || $a.y != $b.y"}},
    {Op::less, boolean | integer | floating, {"$a < $b"}},
    {Op::less_equal, boolean | integer | floating, {"$a <= $b"}},
    {Op::greater, boolean | integer | floating, {"$a > $b"}},
    {Op::greater_equal, boolean | integer | floating, {"$a >= $b"}},
    {Op::logical_and, boolean, {"$a && $b"}},
    {Op::logical_and, integer, {"$a != $T(0) && $b != $T(0)"}},
    {Op::logical_and, floating | complex, {"truth($a) && truth($b)", casts}},
    {Op::logical_or, boolean, {"$a || $b"}},
    {Op::logical_or, integer, {"$a != $T(0) || $b != $T(0)"}},
    {Op::logical_or, floating | complex, {"truth($a) || truth($b)", casts}},
    {Op::logical_xor, boolean, {"$a != $b"}},
    {Op::logical_xor, integer, {"($a != $T(0)) != ($b != $T(0))"}},
    {Op::logical_xor, floating | complex, {"truth($a) != truth($b)", casts}},
    {Op::logical_not, boolean, {"!$a"}},
    {Op::logical_not, integer, {"$a == $T(0)"}},
    {Op::logical_not, floating | complex, {"!truth($a)", casts}},
    {Op::bitwise_and, boolean, {"$a && $b"}},
    {Op::bitwise_and, integer, {"$T($a & $b)"}},
    {Op::bitwise_or, boolean, {"$a || $b"}},
    {Op::bitwise_or, integer, {"$T($a | $b)"}},
    {Op::bitwise_xor, boolean, {"$a != $b"}},
    {Op::bitwise_xor, integer, {"$T($a ^ $b)"}},
    {Op::bitwise_invert, boolean, {"!$a"}},
    {Op::bitwise_invert, integer, {"$T(~$a)"}},
    {Op::bitwise_left_shift, integer, {"integer_left_shift<$T, $W, $B>($a, $b)", integers}},
    {Op::bitwise_right_shift, integer, {"integer_right_shift<$T, $W, $B>($a, $b)", integers}},
    {Op::conj, boolean | integer | floating, {"$a"}},
    {Op::conj, complex, {"float2($a.x, -$a.y)"}},
    {Op::real, boolean | integer | floating, {"$a"}},
    {Op::real, complex, {"$a.x"}},
    {Op::imag, boolean, {"false"}},
    {Op::imag, integer, {"$T(0)"}},
    {Op::imag, floating, {"0.0f"}},
    {Op::imag, complex, {"$a.y"}},
    {Op::sigmoid, floating, {"float_sigmoid($a)", with_special}},
    {Op::erf, floating, {"float_erf($a)", with_special}},
};

using Forms = std::array<std::array<Form, kind_count>, op_count>;

// Evaluated at compile time alone, where throwing is a compile error.
consteval Forms by_op_and_kind() {
  Forms forms{};
  for (const Row& row : rows) {
    for (int kind = 0; kind < kind_count; ++kind) {
      if ((row.kinds >> kind & 1) == 0) continue;
      Form& form = forms[static_cast<std::size_t>(row.op)][static_cast<std::size_t>(kind)];
      if (!form.text.empty()) throw "an operation has two forms for a kind";
      form = row.form;
    }
  }
  return forms;
}
constexpr Forms forms = by_op_and_kind();

Kind kind_of(DType dtype) noexcept {
  if (dtype == DType::bool_) return boolean;
  if (is_complex(dtype)) return complex;
  if (!is_integer(dtype)) return floating;
  return is_signed_integer(dtype) ? signed_integer : unsigned_integer;
}

}  // namespace

Form form_of(Op op, DType dtype) noexcept {
  return forms[static_cast<std::size_t>(op)][std::countr_zero<unsigned>(kind_of(dtype))];
}

}  // namespace nitinol::metal
