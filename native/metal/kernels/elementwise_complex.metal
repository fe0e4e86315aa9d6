// Complex numbers as float2 (real, imaginary). Special values as in Annex G of C99, the
// rest as NumPy. Behind elementwise_float.metal and elementwise_special.metal.

// No recovery of infinities, as in NumPy.
inline float2 complex_multiply(float2 a, float2 b) {
  return float2(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x);
}

// Smith, "Algorithm 116: complex division", 1962.
inline float2 complex_divide(float2 a, float2 b) {
  const float x = float_abs(b.x), y = float_abs(b.y);
  if (x >= y) {
    if (x == 0.0f && y == 0.0f) return float2(a.x / x, a.y / x);
    const float ratio = b.y / b.x;
    const float scale = 1.0f / (b.x + b.y * ratio);
    return float2((a.x + a.y * ratio) * scale, (a.y - a.x * ratio) * scale);
  }
  const float ratio = b.x / b.y;
  const float scale = 1.0f / (b.y + b.x * ratio);
  return float2((a.x * ratio + a.y) * scale, (a.y * ratio - a.x) * scale);
}

inline float2 complex_reciprocal(float2 a) {
  if (float_abs(a.y) <= float_abs(a.x)) {
    const float ratio = a.y / a.x, d = a.x + a.y * ratio;
    return float2(1.0f / d, -ratio / d);
  }
  const float ratio = a.x / a.y, d = a.x * ratio + a.y;
  return float2(ratio / d, -1.0f / d);
}

inline float2 complex_sign(float2 a) {
  const float size = float_hypot(a.x, a.y);
  if (float_is_inf(size) && !float_is_inf(a.x) && !float_is_inf(a.y) && !float_is_nan(a.x + a.y)) {
    return complex_divide(a * 0.5f, float2(float_hypot(a.x * 0.5f, a.y * 0.5f), 0.0f));
  }
  if (float_is_inf(size)) {
    if (float_is_inf(a.x) && float_is_inf(a.y)) return float2(NAN, NAN);
    if (float_is_nan(a.x) || float_is_nan(a.y)) return float2(NAN, NAN);
    return float_is_inf(a.x) ? float2(float_sign(a.x), 0.0f) : float2(0.0f, float_sign(a.y));
  }
  return size == 0.0f ? float2(0.0f, 0.0f) : float2(a.x / size, a.y / size);
}

// exp(x) times (cos, sin), also where exp(x) alone overflows.
inline float2 complex_exp(float2 a) {
  if (a.y == 0.0f) return float2(precise::exp(a.x), a.y);
  if (!float_is_finite(a.y)) {
    if (float_is_inf(a.x))
      return a.x > 0.0f ? float2(a.x, NAN) : float2(0.0f, float_copysign(0.0f, a.y));
    return float2(NAN, NAN);
  }
  const float c = precise::cos(a.y), s = precise::sin(a.y);
  if (a.x > 88.0f && float_is_finite(a.x)) {
    const float e = precise::exp(0.5f * a.x);
    return float2(e * c * e, e * s * e);
  }
  const float e = precise::exp(a.x);
  return float2(e * c, e * s);
}

inline float2 complex_expm1(float2 a) {
  const float half_sine = precise::sin(0.5f * a.y);
  return float2(float_expm1(a.x) * precise::cos(a.y) - 2.0f * half_sine * half_sine,
                precise::exp(a.x) * precise::sin(a.y));
}

// The logarithm of the modulus; near 1 by the distance from it.
inline float complex_log_modulus(float x, float y) {
  const float large = max(float_abs(x), float_abs(y)), small = min(float_abs(x), float_abs(y));
  if (large > 0.5f && large < 1.5f && small < 1.0f) {
    return 0.5f * float_log1p(fma(small, small, (large - 1.0f) * (large + 1.0f)));
  }
  if (large > 0x1p126f && float_is_finite(large)) {
    return precise::log(float_hypot(x * 0.25f, y * 0.25f)) + 1.38629436f;
  }
  return precise::log(float_hypot(x, y));
}

inline float2 complex_log(float2 a) {
  return float2(complex_log_modulus(a.x, a.y), precise::atan2(a.y, a.x));
}

inline float2 complex_log1p(float2 a) {
  const float angle = precise::atan2(a.y, a.x + 1.0f);
  if (float_abs(a.x) < 0.5f && float_abs(a.y) < 0.5f) {
    return float2(0.5f * float_log1p(fma(a.y, a.y, a.x * (2.0f + a.x))), angle);
  }
  return float2(complex_log_modulus(a.x + 1.0f, a.y), angle);
}

inline float2 complex_sqrt(float2 a) {
  if (a.x == 0.0f && a.y == 0.0f) return float2(0.0f, a.y);
  if (float_is_inf(a.y)) return float2(INFINITY, a.y);
  if (float_is_nan(a.x)) return float2(NAN, NAN);
  if (float_is_inf(a.x)) {
    return a.x < 0.0f ? float2(float_abs(a.y - a.y), float_copysign(a.x, a.y))
                      : float2(a.x, float_copysign(a.y - a.y, a.y));
  }
  float scale = 1.0f;
  const float large = max(float_abs(a.x), float_abs(a.y));
  if (large > 0x1p125f) {
    a *= 0x1p-4f;
    scale = 0x1p2f;
  } else if (large < 0x1p-100f) {
    a *= 0x1p40f;
    scale = 0x1p-20f;
  }
  const float t = precise::sqrt(0.5f * (float_abs(a.x) + float_hypot(a.x, a.y)));
  const float other = a.y / (2.0f * t);
  return scale *
         (a.x >= 0.0f ? float2(t, other) : float2(float_abs(other), float_copysign(t, a.y)));
}

// sinh and cosh of a.x times cosine and sine of a.y, both as (of sinh, of cosh).
inline float2 complex_sinh(float2 a) {
  if (a.y == 0.0f) return float2(float_sinh(a.x), a.y);
  if (!float_is_finite(a.y)) {
    if (a.x == 0.0f) return float2(a.x, NAN);
    return float_is_inf(a.x) ? float2(a.x, NAN) : float2(NAN, NAN);
  }
  const float c = precise::cos(a.y), s = precise::sin(a.y);
  if (a.x == 0.0f) return float2(float_copysign(0.0f, a.x * c), s);
  if (float_abs(a.x) > 88.0f && float_is_finite(a.x)) {
    const float e = precise::exp(0.5f * float_abs(a.x));
    return float2(float_copysign(0.5f, a.x) * e * c * e, 0.5f * e * s * e);
  }
  return float2(float_sinh(a.x) * c, float_cosh(a.x) * s);
}

inline float2 complex_cosh(float2 a) {
  if (a.y == 0.0f) {
    return float2(float_cosh(a.x),
                  float_is_nan(a.x) ? a.y : float_copysign(0.0f, a.x) * float_copysign(1.0f, a.y));
  }
  if (!float_is_finite(a.y)) {
    if (a.x == 0.0f) return float2(NAN, 0.0f);
    return float_is_inf(a.x) ? float2(INFINITY, NAN) : float2(NAN, NAN);
  }
  const float c = precise::cos(a.y), s = precise::sin(a.y);
  if (float_abs(a.x) > 88.0f && float_is_finite(a.x)) {
    const float e = precise::exp(0.5f * float_abs(a.x));
    return float2(0.5f * e * c * e, float_copysign(0.5f, a.x) * e * s * e);
  }
  return float2(float_cosh(a.x) * c, float_sinh(a.x) * s);
}

// Kahan, "Branch cuts for complex elementary functions", 1987; so are the inverse ones.
inline float2 complex_tanh(float2 a) {
  if (float_is_nan(a.x)) return float2(NAN, a.y == 0.0f ? a.y : NAN);
  if (float_is_inf(a.x)) {
    const float sign = float_is_finite(a.y) ? precise::sin(a.y) * precise::cos(a.y) : a.y;
    return float2(float_copysign(1.0f, a.x), float_copysign(0.0f, sign));
  }
  if (!float_is_finite(a.y)) return float2(a.x == 0.0f ? a.x : NAN, NAN);
  if (float_abs(a.x) > 11.0f) {
    const float e = precise::exp(-float_abs(a.x));
    return float2(float_copysign(1.0f, a.x), 4.0f * precise::sin(a.y) * precise::cos(a.y) * e * e);
  }
  const float t = precise::tan(a.y), beta = 1.0f + t * t;
  const float s = float_sinh(a.x), rho = precise::sqrt(1.0f + s * s);
  const float d = 1.0f + beta * s * s;
  return float2(beta * rho * s / d, t / d);
}

// Where a part is infinite, or both are large enough for 1 not to matter.
inline float2 complex_acos(float2 a) {
  if (float_is_inf(a.x) || float_is_inf(a.y)) {
    const float angle = float_is_nan(a.x) || float_is_nan(a.y)
                            ? NAN
                            : float_abs(precise::atan2(float_is_inf(a.y) ? 1.0f : 0.0f,
                                                       float_is_inf(a.x) ? float_sign(a.x) : 0.0f));
    return float2(angle, -float_copysign(INFINITY, a.y));
  }
  if (float_is_nan(a.x) || float_is_nan(a.y)) return float2(a.x == 0.0f ? 1.57079633f : NAN, NAN);
  if (max(float_abs(a.x), float_abs(a.y)) > 0x1p40f) {
    return float2(float_abs(precise::atan2(a.y, a.x)),
                  -float_copysign(complex_log_modulus(a.x, a.y) + 0.693147181f, a.y));
  }
  const float2 below = complex_sqrt(float2(1.0f - a.x, -a.y));
  const float2 above = complex_sqrt(float2(1.0f + a.x, a.y));
  return float2(2.0f * precise::atan2(below.x, above.x),
                float_asinh(above.x * below.y - above.y * below.x));
}

inline float2 complex_asin(float2 a) {
  if (float_is_inf(a.x) || float_is_inf(a.y)) {
    const float angle =
        float_is_nan(a.x) || float_is_nan(a.y)
            ? NAN
            : precise::atan2(float_is_inf(a.x) ? 1.0f : 0.0f, float_is_inf(a.y) ? 1.0f : 0.0f);
    return float2(float_copysign(angle, a.x), float_copysign(INFINITY, a.y));
  }
  if (float_is_nan(a.x) || float_is_nan(a.y)) {
    return float2(a.x == 0.0f ? a.x : NAN, NAN);
  }
  if (max(float_abs(a.x), float_abs(a.y)) > 0x1p40f) {
    return float2(float_copysign(precise::atan2(float_abs(a.x), float_abs(a.y)), a.x),
                  float_copysign(complex_log_modulus(a.x, a.y) + 0.693147181f, a.y));
  }
  const float2 below = complex_sqrt(float2(1.0f - a.x, -a.y));
  const float2 above = complex_sqrt(float2(1.0f + a.x, a.y));
  return float2(precise::atan2(a.x, below.x * above.x - below.y * above.y),
                float_asinh(below.x * above.y - below.y * above.x));
}

inline float2 complex_acosh(float2 a) {
  const float2 w = complex_acos(a);
  return float2(float_abs(w.y), float_is_nan(w.x) ? w.x : float_copysign(w.x, a.y));
}

inline float2 complex_atanh(float2 a) {
  const float x = float_abs(a.x);
  if (float_is_inf(a.y)) return float2(float_copysign(0.0f, a.x), float_copysign(1.57079633f, a.y));
  if (float_is_inf(a.x)) {
    return float2(float_copysign(0.0f, a.x),
                  float_is_nan(a.y) ? NAN : float_copysign(1.57079633f, a.y));
  }
  if (float_is_nan(a.x) || float_is_nan(a.y)) return float2(a.x == 0.0f ? a.x : NAN, NAN);
  if (max(x, float_abs(a.y)) > 0x1p30f) {
    const float2 inverse = complex_reciprocal(a);
    return float2(float_copysign(inverse.x, a.x), float_copysign(1.57079633f, a.y));
  }
  const float away = 1.0f - x;
  const float real = 0.25f * float_log1p(4.0f * x / fma(away, away, a.y * a.y));
  const float imaginary = 0.5f * precise::atan2(2.0f * a.y, away * (1.0f + x) - a.y * a.y);
  return float2(float_copysign(real, a.x), imaginary);
}

// sin z = -i sinh(iz) and so on: functions of iz, turned back.
inline float2 complex_times_i(float2 a) { return float2(-a.y, a.x); }
inline float2 complex_over_i(float2 a) { return float2(a.y, -a.x); }
inline float2 complex_sin(float2 a) { return complex_over_i(complex_sinh(complex_times_i(a))); }
inline float2 complex_cos(float2 a) { return complex_cosh(complex_times_i(a)); }
inline float2 complex_tan(float2 a) { return complex_over_i(complex_tanh(complex_times_i(a))); }
inline float2 complex_asinh(float2 a) { return complex_over_i(complex_asin(complex_times_i(a))); }
inline float2 complex_atan(float2 a) { return complex_over_i(complex_atanh(complex_times_i(a))); }

// Small integer exponents by multiplication, as NumPy.
inline float2 complex_power(float2 a, float2 b) {
  if (b.x == 0.0f && b.y == 0.0f) return float2(1.0f, 0.0f);
  if (a.x == 0.0f && a.y == 0.0f) {
    return b.x > 0.0f ? float2(0.0f, 0.0f) : float2(NAN, NAN);
  }
  if (b.y == 0.0f && b.x == rint(b.x) && float_abs(b.x) < 100.0f) {
    float2 result = a, factor = a;
    bool started = false;
    for (int left = abs(int(b.x)); left != 0; left >>= 1) {
      if (left & 1) {
        result = started ? complex_multiply(result, factor) : factor;
        started = true;
      }
      factor = complex_multiply(factor, factor);
    }
    return b.x < 0.0f ? complex_divide(float2(1.0f, 0.0f), result) : result;
  }
  return complex_exp(complex_multiply(b, complex_log(a)));
}
