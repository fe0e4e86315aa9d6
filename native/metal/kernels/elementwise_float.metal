// Functions of floats that MSL lacks, or whose results for small, large or special
// arguments it leaves open. Within 4 units in the last place; what MSL's precise
// functions lose comes on top.

inline bool float_is_nan(float v) { return (as_type<uint>(v) & 0x7fffffffu) > 0x7f800000u; }
inline bool float_is_inf(float v) { return (as_type<uint>(v) & 0x7fffffffu) == 0x7f800000u; }
inline bool float_is_finite(float v) { return (as_type<uint>(v) & 0x7f800000u) != 0x7f800000u; }
inline bool float_signbit(float v) { return (as_type<uint>(v) >> 31) != 0; }
inline float float_abs(float v) { return as_type<float>(as_type<uint>(v) & 0x7fffffffu); }
inline float float_copysign(float a, float b) {
  return as_type<float>((as_type<uint>(a) & 0x7fffffffu) | (as_type<uint>(b) & 0x80000000u));
}

inline float float_sign(float v) {
  return v > 0.0f ? 1.0f : v < 0.0f ? -1.0f : v == 0.0f ? 0.0f : v;
}
// NaN if either is.
inline float float_maximum(float a, float b) { return a >= b || float_is_nan(a) ? a : b; }
inline float float_minimum(float a, float b) { return a <= b || float_is_nan(a) ? a : b; }

// The bits of a number, in the order of the numbers.
inline float float_nextafter(float a, float b) {
  if (float_is_nan(a) || float_is_nan(b)) return NAN;
  if (a == b) return b;
  uint bits = as_type<uint>(a);
  if ((bits & 0x7fffffffu) == 0) return as_type<float>((as_type<uint>(b) & 0x80000000u) | 1u);
  bits += (a < b) == float_signbit(a) ? uint(-1) : 1u;
  return as_type<float>(bits);
}
inline half half_nextafter(half a, half b) {
  if (float_is_nan(float(a)) || float_is_nan(float(b))) return half(NAN);
  if (a == b) return b;
  ushort bits = as_type<ushort>(a);
  if ((bits & 0x7fff) == 0) return as_type<half>(ushort((as_type<ushort>(b) & 0x8000) | 1));
  bits += (a < b) == ((bits & 0x8000) != 0) ? ushort(-1) : ushort(1);
  return as_type<half>(bits);
}

// a times 2^n, for normal a and results. (ldexp is exact, but not fast everywhere.)
inline float float_scale(float a, int n) {
  const int first = n / 2;
  return a * as_type<float>(uint(first + 127) << 23) * as_type<float>(uint(n - first + 127) << 23);
}

// The exact remainder of a by b, b not zero, with the sign of a. A quotient below 2^23 is
// right or one too large after rounding; larger ones are taken off bit by bit.
inline float float_fmod(float a, float b) {
  const float x = float_abs(a), y = float_abs(b);
  if (!(x < INFINITY) || float_is_nan(y)) return NAN;
  if (x < y) return a;
  if (x < y * 8388608.0f) {
    const float whole = trunc(x / y);
    float rest = fma(-whole, y, x);
    if (rest < 0.0f) rest += y;
    return float_copysign(rest, a);
  }
  int exponent = int(as_type<uint>(x) >> 23);
  uint m = as_type<uint>(x) & 0x7fffffu;
  if (exponent == 0) {
    exponent = 1;
  } else {
    m |= 0x800000u;
  }
  int last = int(as_type<uint>(y) >> 23);
  uint divisor = as_type<uint>(y) & 0x7fffffu;
  if (last == 0) {
    last = 1;
  } else {
    divisor |= 0x800000u;
  }
  m %= divisor;
  for (; exponent > last && m != 0; --exponent) m = (m << 1) % divisor;
  if (m == 0) return float_copysign(0.0f, a);
  exponent = last;
  while (m < 0x800000u && exponent > 1) {
    m <<= 1;
    --exponent;
  }
  const uint bits = m < 0x800000u ? m : (m & 0x7fffffu) | (uint(exponent) << 23);
  return float_copysign(as_type<float>(bits), a);
}

// As Python divides: (quotient, remainder); the remainder has the sign of b.
inline float2 float_divide_floor(float a, float b) {
  if (b == 0.0f) return float2(a / b, NAN);
  float rest = float_fmod(a, b);
  float quotient = (a - rest) / b;
  if (rest != 0.0f) {
    if ((b < 0.0f) != (rest < 0.0f)) {
      rest += b;
      quotient -= 1.0f;
    }
  } else {
    rest = float_copysign(0.0f, b);
  }
  if (quotient != 0.0f) {
    const float below = floor(quotient);
    quotient = quotient - below > 0.5f ? below + 1.0f : below;
  } else {
    quotient = float_copysign(0.0f, a / b);
  }
  return float2(quotient, rest);
}
inline float float_floor_divide(float a, float b) { return float_divide_floor(a, b).x; }
inline float float_remainder(float a, float b) { return float_divide_floor(a, b).y; }

inline float float_power(float a, float b) {
  if (a == 1.0f || b == 0.0f) return 1.0f;
  return precise::pow(a, b);
}
