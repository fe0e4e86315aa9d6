// Integer arithmetic as NumPy does it: it wraps, division rounds down, division by zero
// gives zero. W is an unsigned type as wide as T, but at least uint, so that what is
// computed in it neither overflows nor is promoted to a signed type.

template <typename T, typename W>
inline T integer_negative(T a) {
  return T(W(0) - W(a));
}

template <typename T, typename W>
inline T integer_abs(T a) {
  return a < T(0) ? T(W(0) - W(a)) : a;
}

template <typename T>
inline T integer_sign(T a) {
  return T(int(a > T(0)) - int(a < T(0)));
}

// The quotient cut towards zero; of the smallest number by -1 it wraps.
template <typename T, typename W>
inline T integer_quotient(T a, T b) {
  return T(-1) < T(0) && b == T(-1) ? T(W(0) - W(a)) : T(a / b);
}

template <typename T, typename W>
inline T integer_floor_divide(T a, T b) {
  if (b == T(0)) return T(0);
  const T quotient = integer_quotient<T, W>(a, b);
  const T rest = T(W(a) - W(quotient) * W(b));
  return rest != T(0) && (rest < T(0)) != (b < T(0)) ? T(W(quotient) - W(1)) : quotient;
}

template <typename T, typename W>
inline T integer_remainder(T a, T b) {
  if (b == T(0)) return T(0);
  const T rest = T(W(a) - W(integer_quotient<T, W>(a, b)) * W(b));
  return rest != T(0) && (rest < T(0)) != (b < T(0)) ? T(W(rest) + W(b)) : rest;
}

// Of exponents >= 0.
template <typename T, typename W>
inline T integer_power(T base, T exponent) {
  W result = 1, factor = W(base);
  for (W left = W(exponent); left != 0; left >>= 1) {
    if (left & 1) result *= factor;
    factor *= factor;
  }
  return T(result);
}

// BITS: of T. Shifts that are negative or too far leave nothing, or the sign.
template <typename T, typename W, int BITS>
inline T integer_left_shift(T a, T b) {
  return b >= T(0) && W(b) < W(BITS) ? T(W(a) << W(b)) : T(0);
}

template <typename T, typename W, int BITS>
inline T integer_right_shift(T a, T b) {
  if (b >= T(0) && W(b) < W(BITS)) return T(a >> b);
  return a < T(0) ? T(-1) : T(0);
}
