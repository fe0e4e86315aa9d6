// Floats to integers as C gives them on x86-64, where a value outside the range has one
// too: cut to int for types up to int, to long for uint and long, what doesn't fit and NaN
// becoming the smallest number; then the low bits are kept.

inline int float_to_int(float v) {
  return v >= -2147483648.0f && v < 2147483648.0f ? int(v) : int(0x80000000u);
}

inline long float_to_long(float v) {
  return v >= -9223372036854775808.0f && v < 9223372036854775808.0f ? long(v)
                                                                    : long(0x8000000000000000ul);
}

// Takes numbers from 2^63 on as well.
inline ulong float_to_ulong(float v) {
  const float middle = 9223372036854775808.0f;
  const bool upper = v >= middle;
  const ulong low = ulong(float_to_long(upper ? v - middle : v));
  return low ^ (upper ? 0x8000000000000000ul : 0ul);
}

// Whether a number isn't zero, by its bits: comparisons may take subnormals for zero.
inline bool truth(float v) { return (as_type<uint>(v) & 0x7fffffffu) != 0; }
inline bool truth(half v) { return (as_type<ushort>(v) & 0x7fff) != 0; }
inline bool truth(float2 v) { return truth(v.x) || truth(v.y); }
