// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011):
// ten rounds turn a 128-bit counter and a 64-bit key into 128 random bits.
#pragma once

#include <cstdint>

#include "cpu/kernels/iterate.h"

namespace nitinol::cpu::kernels {

struct PhiloxKey {
  std::uint32_t word[2];
  explicit PhiloxKey(std::uint64_t seed) noexcept
      : word{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)} {}
};

// `width` counters at once, in the form of four rows that hold one word of each.
template <int width>
NITINOL_INLINE void philox(const PhiloxKey& key, std::uint32_t (&x)[4][width]) noexcept {
  std::uint32_t k0 = key.word[0], k1 = key.word[1];
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < width; ++i) {
      const std::uint64_t a = std::uint64_t{0xD2511F53u} * x[0][i];
      const std::uint64_t b = std::uint64_t{0xCD9E8D57u} * x[2][i];
      x[0][i] = static_cast<std::uint32_t>(b >> 32) ^ x[1][i] ^ k0;
      x[1][i] = static_cast<std::uint32_t>(b);
      x[2][i] = static_cast<std::uint32_t>(a >> 32) ^ x[3][i] ^ k1;
      x[3][i] = static_cast<std::uint32_t>(a);
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

inline constexpr int philox_width = 16;
inline constexpr int philox_words = 4 * philox_width;

// Random words 4 * first .. of the stream: the counter is (index of the four words,
// offset of the stream).
NITINOL_INLINE void philox_block(const PhiloxKey& key, std::uint64_t offset, std::uint64_t first,
                                 std::uint32_t* words) noexcept {
  std::uint32_t x[4][philox_width];
  for (int i = 0; i < philox_width; ++i) {
    const std::uint64_t index = first + static_cast<std::uint64_t>(i);
    x[0][i] = static_cast<std::uint32_t>(index);
    x[1][i] = static_cast<std::uint32_t>(index >> 32);
    x[2][i] = static_cast<std::uint32_t>(offset);
    x[3][i] = static_cast<std::uint32_t>(offset >> 32);
  }
  philox(key, x);
  for (int i = 0; i < philox_width; ++i) {
    for (int w = 0; w < 4; ++w) words[4 * i + w] = x[w][i];
  }
}

}  // namespace nitinol::cpu::kernels
