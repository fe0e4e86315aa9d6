// Metal's constants, numeric_limits and type traits.
#pragma once

namespace metal {

#define INFINITY (__builtin_inff())
#define HUGE_VALF (__builtin_inff())
#define NAN (__builtin_nanf(""))
#define MAXFLOAT 0x1.fffffep127f
#define M_E_F 2.71828182845904523536028747135266250f
#define M_LOG2E_F 1.44269504088896340735992468100189214f
#define M_LOG10E_F 0.434294481903251827651128918916605082f
#define M_LN2_F 0.693147180559945309417232121458176568f
#define M_LN10_F 2.30258509299404568401799145468436421f
#define M_PI_F 3.14159265358979323846264338327950288f
#define M_PI_2_F 1.57079632679489661923132169163975144f
#define M_PI_4_F 0.785398163397448309615660845819875721f
#define M_1_PI_F 0.318309886183790671537767526745028724f
#define M_2_PI_F 0.636619772367581343075535053490057448f
#define M_2_SQRTPI_F 1.12837916709551257389615890312154517f
#define M_SQRT2_F 1.41421356237309504880168872420969808f
#define M_SQRT1_2_F 0.707106781186547524400844362104849039f
#define FLT_MAX 0x1.fffffep127f
#define FLT_MIN 0x1p-126f
#define FLT_EPSILON 0x1p-23f
#define HALF_MAX 65504.0f16
#define HALF_MIN 0x1p-14f16
#define HALF_EPSILON 0x1p-10f16
#define CHAR_BIT 8
#define CHAR_MAX 127
#define CHAR_MIN (-128)
#define UCHAR_MAX 255
#define SHRT_MAX 32767
#define SHRT_MIN (-32768)
#define USHRT_MAX 65535
#define INT_MAX 2147483647
#define INT_MIN (-2147483647 - 1)
#define UINT_MAX 4294967295u
#define LONG_MAX 9223372036854775807L
#define LONG_MIN (-9223372036854775807L - 1)
#define ULONG_MAX 18446744073709551615uL

template <class T>
struct numeric_limits {
  static constexpr bool is_signed = T(-1) < T(0);
  static constexpr int digits = int(sizeof(T) * 8) - is_signed;
  static constexpr T min() { return is_signed ? T(T(1) << (sizeof(T) * 8 - 1)) : T(0); }
  static constexpr T max() { return T(~min()); }
  static constexpr T lowest() { return min(); }
};
template <>
struct numeric_limits<bool> {
  static constexpr bool is_signed = false;
  static constexpr int digits = 1;
  static constexpr bool min() { return false; }
  static constexpr bool max() { return true; }
  static constexpr bool lowest() { return false; }
};
template <>
struct numeric_limits<float> {
  static constexpr bool is_signed = true;
  static constexpr int digits = 24;
  static constexpr float min() { return FLT_MIN; }
  static constexpr float max() { return FLT_MAX; }
  static constexpr float lowest() { return -FLT_MAX; }
  static constexpr float epsilon() { return FLT_EPSILON; }
  static constexpr float infinity() { return INFINITY; }
  static constexpr float quiet_NaN() { return NAN; }
  static constexpr float denorm_min() { return 0x1p-149f; }
};
template <>
struct numeric_limits<half> {
  static constexpr bool is_signed = true;
  static constexpr int digits = 11;
  static constexpr half min() { return HALF_MIN; }
  static constexpr half max() { return HALF_MAX; }
  static constexpr half lowest() { return -HALF_MAX; }
  static constexpr half epsilon() { return HALF_EPSILON; }
  static constexpr half infinity() { return half(INFINITY); }
  static constexpr half quiet_NaN() { return half(NAN); }
  static constexpr half denorm_min() { return 0x1p-24f16; }
};

template <class A, class B>
inline constexpr bool is_same_v = detail::same<A, B>;
template <class T>
inline constexpr bool is_floating_point_v = detail::same<T, float> || detail::same<T, half>;
template <class T>
inline constexpr bool is_integral_v =
    !is_floating_point_v<T> && detail::vector_traits<T>::size == 1;
template <class T>
inline constexpr bool is_signed_v = T(-1) < T(0);

}  // namespace metal
