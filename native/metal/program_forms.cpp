// The forms of the operations, by kind of dtype.
#include "metal/program_forms.h"

#include "metal/program_text.h"

namespace nitinol::metal {
namespace {

constexpr unsigned with_special = floats | special;
constexpr unsigned with_complex = floats | special | complexes;

// Comparisons are the same for all that can be compared.
Form comparison(Op op) noexcept {
  switch (op) {
    case Op::equal:
      return {"$a == $b"};
    case Op::not_equal:
      return {"$a != $b"};
    case Op::less:
      return {"$a < $b"};
    case Op::less_equal:
      return {"$a <= $b"};
    case Op::greater:
      return {"$a > $b"};
    case Op::greater_equal:
      return {"$a >= $b"};
    default:
      return {};
  }
}

Form form_of_bool(Op op) noexcept {
  switch (op) {
    case Op::add:
    case Op::maximum:
    case Op::bitwise_or:
    case Op::logical_or:
      return {"$a || $b"};
    case Op::multiply:
    case Op::minimum:
    case Op::bitwise_and:
    case Op::logical_and:
      return {"$a && $b"};
    case Op::bitwise_xor:
    case Op::logical_xor:
      return {"$a != $b"};
    case Op::bitwise_invert:
    case Op::logical_not:
      return {"!$a"};
    case Op::abs:
    case Op::floor:
    case Op::ceil:
    case Op::trunc:
    case Op::round:
    case Op::conj:
    case Op::real:
      return {"$a"};
    case Op::imag:
    case Op::isnan:
    case Op::isinf:
      return {"false"};
    case Op::isfinite:
      return {"true"};
    default:
      return comparison(op);
  }
}

Form form_of_integer(Op op, bool is_signed) noexcept {
  switch (op) {
    case Op::add:
      return {"$T($W($a) + $W($b))"};
    case Op::subtract:
      return {"$T($W($a) - $W($b))"};
    case Op::multiply:
      return {"$T($W($a) * $W($b))"};
    case Op::square:
      return {"$T($W($a) * $W($a))"};
    case Op::floor_divide:
      return {"integer_floor_divide<$T, $W>($a, $b)", integers};
    case Op::remainder:
      return {"integer_remainder<$T, $W>($a, $b)", integers};
    case Op::power:
      return {"integer_power<$T, $W>($a, $b)", integers};
    case Op::negative:
      return {"$T($W(0) - $W($a))"};
    case Op::abs:
      if (is_signed) return {"integer_abs<$T, $W>($a)", integers};
      return {"$a"};
    case Op::sign:
      return {"integer_sign<$T>($a)", integers};
    case Op::maximum:
      return {"$a >= $b ? $a : $b"};
    case Op::minimum:
      return {"$a <= $b ? $a : $b"};
    case Op::floor:
    case Op::ceil:
    case Op::trunc:
    case Op::round:
    case Op::conj:
    case Op::real:
      return {"$a"};
    case Op::imag:
      return {"$T(0)"};
    case Op::isnan:
    case Op::isinf:
      return {"false"};
    case Op::isfinite:
      return {"true"};
    case Op::logical_and:
      return {"$a != $T(0) && $b != $T(0)"};
    case Op::logical_or:
      return {"$a != $T(0) || $b != $T(0)"};
    case Op::logical_xor:
      return {"($a != $T(0)) != ($b != $T(0))"};
    case Op::logical_not:
      return {"$a == $T(0)"};
    case Op::bitwise_and:
      return {"$T($a & $b)"};
    case Op::bitwise_or:
      return {"$T($a | $b)"};
    case Op::bitwise_xor:
      return {"$T($a ^ $b)"};
    case Op::bitwise_invert:
      return {"$T(~$a)"};
    case Op::bitwise_left_shift:
      return {"integer_left_shift<$T, $W, $B>($a, $b)", integers};
    case Op::bitwise_right_shift:
      return {"integer_right_shift<$T, $W, $B>($a, $b)", integers};
    default:
      return comparison(op);
  }
}

// Of float; float16 is computed in it and rounded once.
Form form_of_float(Op op) noexcept {
  switch (op) {
    case Op::add:
      return {"$a + $b"};
    case Op::subtract:
      return {"$a - $b"};
    case Op::multiply:
      return {"$a * $b"};
    case Op::divide:
      return {"$a / $b"};
    case Op::square:
      return {"$a * $a"};
    case Op::reciprocal:
      return {"1.0f / $a"};
    case Op::negative:
      return {"-$a"};
    case Op::floor_divide:
      return {"float_floor_divide($a, $b)", floats};
    case Op::remainder:
      return {"float_remainder($a, $b)", floats};
    case Op::power:
      return {"float_power($a, $b)", floats};
    case Op::abs:
      return {"float_abs($a)", floats};
    case Op::sign:
      return {"float_sign($a)", floats};
    case Op::sqrt:
      return {"precise::sqrt($a)"};
    case Op::exp:
      return {"precise::exp($a)"};
    case Op::expm1:
      return {"float_expm1($a)", with_special};
    case Op::log:
      return {"precise::log($a)"};
    case Op::log1p:
      return {"float_log1p($a)", with_special};
    case Op::log2:
      return {"precise::log2($a)"};
    case Op::log10:
      return {"precise::log10($a)"};
    case Op::sin:
      return {"precise::sin($a)"};
    case Op::cos:
      return {"precise::cos($a)"};
    case Op::tan:
      return {"precise::tan($a)"};
    case Op::asin:
      return {"precise::asin($a)"};
    case Op::acos:
      return {"precise::acos($a)"};
    case Op::atan:
      return {"precise::atan($a)"};
    case Op::sinh:
      return {"float_sinh($a)", with_special};
    case Op::cosh:
      return {"float_cosh($a)", with_special};
    case Op::tanh:
      return {"float_tanh($a)", with_special};
    case Op::asinh:
      return {"float_asinh($a)", with_special};
    case Op::acosh:
      return {"float_acosh($a)", with_special};
    case Op::atanh:
      return {"float_atanh($a)", with_special};
    case Op::atan2:
      return {"precise::atan2($a, $b)"};
    case Op::hypot:
      return {"float_hypot($a, $b)", with_special};
    case Op::copysign:
      return {"float_copysign($a, $b)", floats};
    case Op::nextafter:
      return {"float_nextafter($a, $b)", floats};
    case Op::logaddexp:
      return {"float_logaddexp($a, $b)", with_special};
    case Op::sigmoid:
      return {"float_sigmoid($a)", with_special};
    case Op::erf:
      return {"float_erf($a)", with_special};
    case Op::maximum:
      return {"float_maximum($a, $b)", floats};
    case Op::minimum:
      return {"float_minimum($a, $b)", floats};
    case Op::floor:
      return {"floor($a)"};
    case Op::ceil:
      return {"ceil($a)"};
    case Op::trunc:
      return {"trunc($a)"};
    case Op::round:
      return {"rint($a)"};
    case Op::isnan:
      return {"float_is_nan($a)", floats};
    case Op::isinf:
      return {"float_is_inf($a)", floats};
    case Op::isfinite:
      return {"float_is_finite($a)", floats};
    case Op::signbit:
      return {"float_signbit($a)", floats};
    case Op::logical_and:
      return {"truth($a) && truth($b)", casts};
    case Op::logical_or:
      return {"truth($a) || truth($b)", casts};
    case Op::logical_xor:
      return {"truth($a) != truth($b)", casts};
    case Op::logical_not:
      return {"!truth($a)", casts};
    case Op::conj:
    case Op::real:
      return {"$a"};
    case Op::imag:
      return {"0.0f"};
    default:
      return comparison(op);
  }
}

Form form_of_complex(Op op) noexcept {
  switch (op) {
    case Op::add:
      return {"$a + $b"};
    case Op::subtract:
      return {"$a - $b"};
    case Op::negative:
      return {"-$a"};
    case Op::multiply:
      return {"complex_multiply($a, $b)", with_complex};
    case Op::square:
      return {"complex_multiply($a, $a)", with_complex};
    case Op::divide:
      return {"complex_divide($a, $b)", with_complex};
    case Op::reciprocal:
      return {"complex_reciprocal($a)", with_complex};
    case Op::power:
      return {"complex_power($a, $b)", with_complex};
    case Op::abs:
      return {"float_hypot($a.x, $a.y)", with_special};
    case Op::sign:
      return {"complex_sign($a)", with_complex};
    case Op::sqrt:
      return {"complex_sqrt($a)", with_complex};
    case Op::exp:
      return {"complex_exp($a)", with_complex};
    case Op::expm1:
      return {"complex_expm1($a)", with_complex};
    case Op::log:
      return {"complex_log($a)", with_complex};
    case Op::log1p:
      return {"complex_log1p($a)", with_complex};
    case Op::log2:
      return {"complex_log($a) * 1.44269504f", with_complex};
    case Op::log10:
      return {"complex_log($a) * 0.434294482f", with_complex};
    case Op::sin:
      return {"complex_sin($a)", with_complex};
    case Op::cos:
      return {"complex_cos($a)", with_complex};
    case Op::tan:
      return {"complex_tan($a)", with_complex};
    case Op::asin:
      return {"complex_asin($a)", with_complex};
    case Op::acos:
      return {"complex_acos($a)", with_complex};
    case Op::atan:
      return {"complex_atan($a)", with_complex};
    case Op::sinh:
      return {"complex_sinh($a)", with_complex};
    case Op::cosh:
      return {"complex_cosh($a)", with_complex};
    case Op::tanh:
      return {"complex_tanh($a)", with_complex};
    case Op::asinh:
      return {"complex_asinh($a)", with_complex};
    case Op::acosh:
      return {"complex_acosh($a)", with_complex};
    case Op::atanh:
      return {"complex_atanh($a)", with_complex};
    case Op::round:
      return {"rint($a)"};
    case Op::conj:
      return {"float2($a.x, -$a.y)"};
    case Op::real:
      return {"$a.x"};
    case Op::imag:
      return {"$a.y"};
    case Op::isnan:
      return {"float_is_nan($a.x) || float_is_nan($a.y)", floats};
    case Op::isinf:
      return {"float_is_inf($a.x) || float_is_inf($a.y)", floats};
    case Op::isfinite:
      return {"float_is_finite($a.x) && float_is_finite($a.y)", floats};
    case Op::equal:
      return {"$a.x == $b.x && $a.y == $b.y"};
    case Op::not_equal:
      return {"$a.x != $b.x || $a.y != $b.y"};
    default:
      // Truth is asked as of floats; the rest has no meaning.
      if (op == Op::logical_and || op == Op::logical_or || op == Op::logical_xor ||
          op == Op::logical_not) {
        return form_of_float(op);
      }
      return {};
  }
}

}  // namespace

Form form_of(Op op, DType dtype) noexcept {
  if (dtype == DType::bool_) return form_of_bool(op);
  if (is_integer(dtype)) return form_of_integer(op, is_signed_integer(dtype));
  return is_complex(dtype) ? form_of_complex(op) : form_of_float(op);
}

}  // namespace nitinol::metal
