// Random bits, uniform and normal floats, integers in a range. All work in blocks of
// philox_words random words, each made from its position, so threads change nothing.
#include "cpu/kernels/random.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "cpu/kernels/random_philox.h"

namespace nitinol::cpu::kernels {
namespace {

// Fills the output: element e of a block comes from words [e * words, (e + 1) * words)
// by block(words, elements), which makes philox_words / words elements.
template <class T, int words, class Block>
void fill(const Launch& launch, Block block) noexcept {
  constexpr std::int64_t per_block = philox_words / words;
  T* out = launch.output.as<T>();
  const std::int64_t size = launch.output.layout->size();
  const auto seed = static_cast<std::uint64_t>(launch.params.ints[0]);
  const auto offset = static_cast<std::uint64_t>(launch.params.ints[1]);
  const PhiloxKey key(seed);
  parallel_for(ceil_div(size, per_block), items_per_grain(4 * per_block),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t b = begin; b < end; ++b) {
                   const std::int64_t first = b * per_block;
                   const std::uint64_t counter = static_cast<std::uint64_t>(b) * philox_width;
                   if (first + per_block <= size) {
                     block(key, offset, counter, out + first);
                   } else {
                     T rest[per_block];
                     block(key, offset, counter, rest);
                     std::copy_n(rest, size - first, out + first);
                   }
                 }
               });
}

constexpr int pairs = philox_words / 2;  // of 32-bit words

// The multiple of 2^-24 or 2^-53 in [0, 1) that the leading bits name.
NITINOL_INLINE float unit_float(std::uint32_t bits) noexcept {
  return static_cast<float>(static_cast<std::int32_t>(bits >> 8)) * 0x1p-24f;
}
NITINOL_INLINE double unit_double(std::uint64_t bits) noexcept {
  return static_cast<double>(static_cast<std::int64_t>(bits >> 11)) * 0x1p-53;
}

// [low, high): `below` is the largest number under high. Rounding may reach either end.
template <class T>
struct Interval {
  T low, high, below;
  Interval(double first, double last) noexcept
      : low(static_cast<T>(first)),
        high(static_cast<T>(last)),
        below(low < high ? std::nextafter(high, low) : low) {}
  NITINOL_INLINE T at(T u) const noexcept {
    T v = low * (1 - u) + high * u;  // high - low could overflow
    v = v < low ? low : v;
    return v < below ? v : below;
  }
};

NITINOL_CLONES void uniform_floats(const PhiloxKey& key, std::uint64_t offset,
                                   std::uint64_t counter, const Interval<float>& interval,
                                   float* out) noexcept {
  std::uint64_t words[pairs];
  philox_block(key, offset, counter, words);
  std::uint32_t bits[philox_words];
  std::memcpy(bits, words, sizeof bits);
  for (int i = 0; i < philox_words; ++i) out[i] = interval.at(unit_float(bits[i]));
}

NITINOL_CLONES void uniform_doubles(const PhiloxKey& key, std::uint64_t offset,
                                    std::uint64_t counter, const Interval<double>& interval,
                                    double* out) noexcept {
  std::uint64_t words[pairs];
  philox_block(key, offset, counter, words);
  for (int i = 0; i < pairs; ++i) out[i] = interval.at(unit_double(words[i]));
}

// log(x) of x in (0, 1], by the series of atanh around the nearest power of two.
NITINOL_INLINE double log_unit(double x) noexcept {
  const auto bits = std::bit_cast<std::uint64_t>(x);
  // Mantissa in [sqrt(1/2), sqrt(2)).
  const std::uint64_t shifted = bits - 0x3fe6a09e667f3bcdu;
  const auto exponent = static_cast<std::int32_t>(static_cast<std::int64_t>(shifted) >> 52);
  const double m = std::bit_cast<double>(
      bits - (static_cast<std::uint64_t>(static_cast<std::int64_t>(exponent)) << 52));
  const double s = (m - 1) / (m + 1);
  const double q = s * s;
  double p = 1.0 / 21;
  p = p * q + 1.0 / 19;
  p = p * q + 1.0 / 17;
  p = p * q + 1.0 / 15;
  p = p * q + 1.0 / 13;
  p = p * q + 1.0 / 11;
  p = p * q + 1.0 / 9;
  p = p * q + 1.0 / 7;
  p = p * q + 1.0 / 5;
  p = p * q + 1.0 / 3;
  return exponent * 0.69314718055994530942 + 2 * (s + s * q * p);
}

// Cosine and sine of `turns` in [0, 1) whole turns: Taylor series in an eighth of a
// turn around the nearest quarter, which is exact to find.
NITINOL_INLINE void cos_sin_turns(double turns, double& cosine, double& sine) noexcept {
  const auto quarter = static_cast<std::int32_t>(turns * 4 + 0.5);
  const double a = (turns - quarter * 0.25) * 6.283185307179586476925;
  const double q = a * a;
  double s = 1.0 / 355687428096000;
  s = s * q - 1.0 / 1307674368000;
  s = s * q + 1.0 / 6227020800;
  s = s * q - 1.0 / 39916800;
  s = s * q + 1.0 / 362880;
  s = s * q - 1.0 / 5040;
  s = s * q + 1.0 / 120;
  s = s * q - 1.0 / 6;
  s = a + a * q * s;
  double c = 1.0 / 20922789888000;
  c = c * q - 1.0 / 87178291200;
  c = c * q + 1.0 / 479001600;
  c = c * q - 1.0 / 3628800;
  c = c * q + 1.0 / 40320;
  c = c * q - 1.0 / 720;
  c = c * q + 1.0 / 24;
  c = c * q - 0.5;
  c = 1 + q * c;
  const bool odd = quarter & 1;
  const double x = odd ? s : c, y = odd ? c : s;
  cosine = ((quarter + 1) & 2) ? -x : x;
  sine = (quarter & 2) ? -y : y;
}

// Box-Muller: two uniform numbers make two independent normal ones, elements 2i and 2i+1.
// The own series keep the bits the same on every machine.
template <class T>
NITINOL_INLINE void normals(const double* radius, const double* turns, int pairs, double mean,
                            double deviation, T* out) noexcept {
  for (int i = 0; i < pairs; ++i) {
    const double r = std::sqrt(-2 * log_unit(radius[i])) * deviation;
    double c, s;
    cos_sin_turns(turns[i], c, s);
    out[2 * i] = static_cast<T>(mean + r * c);
    out[2 * i + 1] = static_cast<T>(mean + r * s);
  }
}

NITINOL_CLONES void normal_floats(const PhiloxKey& key, std::uint64_t offset, std::uint64_t counter,
                                  double mean, double deviation, float* out) noexcept {
  std::uint64_t words[pairs];
  philox_block(key, offset, counter, words);
  double radius[pairs], turns[pairs];
  for (int i = 0; i < pairs; ++i) {
    radius[i] = static_cast<double>(static_cast<std::int64_t>((words[i] & 0xffffffffu) + 1)) *
                0x1p-32;  // (0, 1]
    turns[i] = static_cast<double>(static_cast<std::int64_t>(words[i] >> 32)) * 0x1p-32;
  }
  normals(radius, turns, pairs, mean, deviation, out);
}

NITINOL_CLONES void normal_doubles(const PhiloxKey& key, std::uint64_t offset,
                                   std::uint64_t counter, double mean, double deviation,
                                   double* out) noexcept {
  std::uint64_t words[pairs];
  philox_block(key, offset, counter, words);
  double radius[pairs / 2], turns[pairs / 2];
  for (int i = 0; i < pairs / 2; ++i) {
    radius[i] = unit_double(words[2 * i]) + 0x1p-53;  // (0, 1]
    turns[i] = unit_double(words[2 * i + 1]);
  }
  normals(radius, turns, pairs / 2, mean, deviation, out);
}

NITINOL_CLONES void bits64(const PhiloxKey& key, std::uint64_t offset, std::uint64_t counter,
                           std::uint64_t* out) noexcept {
  philox_block(key, offset, counter, out);
}

void bits32(const PhiloxKey& key, std::uint64_t offset, std::uint64_t counter,
            std::uint32_t* out) noexcept {
  std::uint64_t words[pairs];
  bits64(key, offset, counter, words);
  std::memcpy(out, words, sizeof words);
}

// The high half of a 64 by 64 bit product.
NITINOL_INLINE std::uint64_t multiply_high(std::uint64_t a, std::uint64_t b) noexcept {
  return static_cast<std::uint64_t>(static_cast<unsigned __int128>(a) * b >> 64);
}

}  // namespace

void random_bits(const Launch& launch) noexcept {
  if (itemsize(launch.output.dtype) == 4) {
    fill<std::uint32_t, 1>(launch, bits32);
  } else if (itemsize(launch.output.dtype) == 8) {
    fill<std::uint64_t, 2>(launch, bits64);
  } else {
    refuse(launch);
  }
}

void random_uniform(const Launch& launch) noexcept {
  const double low = launch.params.floats[0], high = launch.params.floats[1];
  if (launch.output.dtype == DType::float32) {
    const Interval<float> interval(low, high);
    fill<float, 1>(
        launch, [&](const PhiloxKey& key, std::uint64_t offset, std::uint64_t counter, float* out) {
          uniform_floats(key, offset, counter, interval, out);
        });
  } else if (launch.output.dtype == DType::float64) {
    const Interval<double> interval(low, high);
    fill<double, 2>(launch,
                    [&](const PhiloxKey& key, std::uint64_t offset, std::uint64_t counter,
                        double* out) { uniform_doubles(key, offset, counter, interval, out); });
  } else {
    refuse(launch);
  }
}

void random_normal(const Launch& launch) noexcept {
  const double mean = launch.params.floats[0], deviation = launch.params.floats[1];
  if (launch.output.dtype == DType::float32) {
    fill<float, 1>(
        launch, [&](const PhiloxKey& key, std::uint64_t offset, std::uint64_t counter, float* out) {
          normal_floats(key, offset, counter, mean, deviation, out);
        });
  } else if (launch.output.dtype == DType::float64) {
    fill<double, 2>(
        launch, [&](const PhiloxKey& key, std::uint64_t offset, std::uint64_t counter,
                    double* out) { normal_doubles(key, offset, counter, mean, deviation, out); });
  } else {
    refuse(launch);
  }
}

// Lemire's multiplication without rejection, so that every element takes as many words:
// 64 bits for fewer than 2^32 values, 128 for more. The probability of a value is off
// by less than 2^-32 of itself, and by less than 2^-64 with 128 bits.
void random_integers(const Launch& launch) noexcept {
  const auto low = static_cast<std::uint64_t>(launch.params.ints[2]);
  const std::uint64_t range = static_cast<std::uint64_t>(launch.params.ints[3]) - low;
  if (!is_integer(launch.output.dtype) || launch.params.ints[3] <= launch.params.ints[2]) {
    return refuse(launch);
  }
  // Only the low bytes of low + value count, so the width of the output is enough.
  const auto run = [&]<class T>(std::type_identity<T>) {
    if (range < std::uint64_t{1} << 32) {
      fill<T, 2>(launch,
                 [&](const PhiloxKey& key, std::uint64_t offset, std::uint64_t counter, T* out) {
                   std::uint64_t bits[pairs];
                   bits64(key, offset, counter, bits);
                   for (int i = 0; i < pairs; ++i) {
                     out[i] = static_cast<T>(low + multiply_high(bits[i], range));
                   }
                 });
    } else {
      fill<T, 4>(launch, [&](const PhiloxKey& key, std::uint64_t offset, std::uint64_t counter,
                             T* out) {
        std::uint64_t bits[pairs];
        bits64(key, offset, counter, bits);
        for (int i = 0; i < pairs / 2; ++i) {
          const unsigned __int128 upper = static_cast<unsigned __int128>(bits[2 * i + 1]) * range +
                                          multiply_high(bits[2 * i], range);
          out[i] = static_cast<T>(low + static_cast<std::uint64_t>(upper >> 64));
        }
      });
    }
  };
  switch (itemsize(launch.output.dtype)) {
    case 1:
      return run(std::type_identity<std::uint8_t>{});
    case 2:
      return run(std::type_identity<std::uint16_t>{});
    case 4:
      return run(std::type_identity<std::uint32_t>{});
    default:
      return run(std::type_identity<std::uint64_t>{});
  }
}

}  // namespace nitinol::cpu::kernels
