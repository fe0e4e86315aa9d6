// Exponentials, logarithms, hyperbolic functions and the error function of floats, in
// forms that keep their digits for small arguments and don't overflow before their
// results do. Behind elementwise_float.metal.

// The larger side twice 2^64 or the smaller under 2^-64 would overflow or vanish squared.
inline float float_hypot(float a, float b) {
  const float x = float_abs(a), y = float_abs(b);
  if (float_is_inf(x) || float_is_inf(y)) return INFINITY;
  const float large = max(x, y), small = min(x, y);
  if (float_is_nan(x) || float_is_nan(y)) return NAN;
  if (large > 0x1p63f) {
    const float u = large * 0x1p-64f, v = small * 0x1p-64f;
    return precise::sqrt(fma(u, u, v * v)) * 0x1p64f;
  }
  if (large < 0x1p-50f) {
    const float u = large * 0x1p90f, v = small * 0x1p90f;
    return precise::sqrt(fma(u, u, v * v)) * 0x1p-90f;
  }
  return precise::sqrt(fma(large, large, small * small));
}

// exp(x) - 1 = 2^k (exp(r) - 1) + (2^k - 1) with |r| <= log(2) / 2 and the Taylor series of
// exp(r) - 1, whose ninth term is under half a unit in the last place.
inline float float_expm1(float x) {
  if (float_is_nan(x)) return x;
  if (x > 89.0f) return INFINITY;
  if (x < -18.0f) return -1.0f;
  const float k = rint(x * 1.44269504f);
  float r = fma(k, -0.693145752f, x);
  r = fma(k, -1.42860677e-6f, r);
  float p = 2.48015873e-5f;
  p = fma(p, r, 1.98412698e-4f);
  p = fma(p, r, 1.38888889e-3f);
  p = fma(p, r, 8.33333333e-3f);
  p = fma(p, r, 4.16666667e-2f);
  p = fma(p, r, 1.66666667e-1f);
  p = fma(p, r, 0.5f);
  p = fma(p, r * r, r);
  if (k == 0.0f) return (as_type<uint>(x) & 0x7fffffffu) < 0x33000000u ? x : p;
  // Half of it first: 2^128 is no float.
  const float power = as_type<float>(uint(int(k) - 1 + 127) << 23);
  return 2.0f * fma(power, p, power - 0.5f);
}

// Kahan: log(1 + x) as log(u) x / (u - 1) with u the rounded 1 + x, whose error both
// factors share.
inline float float_log1p(float x) {
  if (x > 0x1p24f) return precise::log(x);
  const float u = 1.0f + x;
  if (u == 1.0f) return x;
  return precise::log(u) * (x / (u - 1.0f));
}

inline float float_logaddexp(float a, float b) {
  if (a == b) return a + 0.693147181f;
  const float d = a - b;
  if (d > 0.0f) return a + float_log1p(precise::exp(-d));
  if (d <= 0.0f) return b + float_log1p(precise::exp(d));
  return d;
}

inline float float_sinh(float x) {
  const float a = float_abs(x);
  if (a > 88.0f) {
    const float e = precise::exp(0.5f * a);
    return float_copysign(0.5f * e * e, x);
  }
  const float t = float_expm1(a);
  return float_is_nan(x) ? x : float_copysign(0.5f * (t + t / (t + 1.0f)), x);
}

inline float float_cosh(float x) {
  const float a = float_abs(x);
  if (a > 88.0f) {
    const float e = precise::exp(0.5f * a);
    return 0.5f * e * e;
  }
  const float e = precise::exp(a);
  return fma(0.5f, e, 0.5f / e);
}

inline float float_tanh(float x) {
  const float a = float_abs(x);
  if (float_is_nan(x)) return x;
  if (a > 10.0f) return float_copysign(1.0f, x);
  const float t = float_expm1(2.0f * a);
  return float_copysign(t / (t + 2.0f), x);
}

// The inverse ones by log1p, as in fdlibm (Sun Microsystems, 1993).
inline float float_asinh(float x) {
  const float a = float_abs(x);
  if (!float_is_finite(x)) return x;
  const float square = a * a;
  const float y = a > 0x1p28f ? precise::log(a) + 0.693147181f
                              : float_log1p(a + square / (1.0f + precise::sqrt(1.0f + square)));
  return float_copysign(y, x);
}

inline float float_acosh(float x) {
  if (x < 1.0f) return NAN;
  if (x > 0x1p28f) return precise::log(x) + 0.693147181f;
  const float t = x - 1.0f;
  return float_log1p(t + precise::sqrt(fma(t, t, 2.0f * t)));
}

inline float float_atanh(float x) {
  const float a = float_abs(x);
  if (a > 1.0f) return NAN;
  return float_copysign(0.5f * float_log1p(2.0f * a / (1.0f - a)), x);
}

// Either side of zero by the exponential that can't overflow.
inline float float_sigmoid(float x) {
  const float e = precise::exp(-float_abs(x));
  return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

// The fits of the CPU's erf: of erf(x) / x in x^2 below 1, of -log(1 - erf(x)) in x above,
// and 1 from 4 on.
inline float float_erf(float x) {
  const float magnitude = float_abs(x);
  if (magnitude < 1.0f) {
    const float s = x * x;
    float p = 7.88249711e-5f;
    p = fma(p, s, -8.01885499e-4f);
    p = fma(p, s, 5.18931194e-3f);
    p = fma(p, s, -2.68543288e-2f);
    p = fma(p, s, 1.12835975e-1f);
    p = fma(p, s, -3.76126269e-1f);
    return fma(x, fma(p, s, 0.128379167f), x);
  }
  if (float_is_nan(x)) return x;
  const float t = min(magnitude, 4.0f);
  float q = 6.58285767e-8f;
  q = fma(q, t, -3.09520458e-6f);
  q = fma(q, t, 6.00687950e-5f);
  q = fma(q, t, -6.73337544e-4f);
  q = fma(q, t, 5.02104474e-3f);
  q = fma(q, t, -2.69994971e-2f);
  q = fma(q, t, 1.10907417e-1f);
  q = fma(q, t, 6.31088868e-1f);
  q = fma(q, t, 1.13060447f);
  q = fma(q, t, -4.00500492e-4f);
  return float_copysign(1.0f - precise::exp(-q), x);
}
