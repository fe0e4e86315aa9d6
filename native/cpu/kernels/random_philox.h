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

inline constexpr int philox_width = 16;  // counters at once
inline constexpr int philox_words = 4 * philox_width;

// Lanes of 64 bits that hold 32: a product then needs no widening.
using PhiloxLanes = std::uint64_t __attribute__((vector_size(philox_width * 8)));

NITINOL_INLINE void philox(const PhiloxKey& key, PhiloxLanes& a, PhiloxLanes& b, PhiloxLanes& c,
                           PhiloxLanes& d) noexcept {
  constexpr std::uint64_t low = 0xffffffffu;
  std::uint32_t k0 = key.word[0], k1 = key.word[1];
  for (int round = 0; round < 10; ++round) {
    const PhiloxLanes p = (a & low) * std::uint64_t{0xD2511F53u};
    const PhiloxLanes q = (c & low) * std::uint64_t{0xCD9E8D57u};
    a = (q >> 32) ^ b ^ std::uint64_t{k0};
    b = q & low;
    c = (p >> 32) ^ d ^ std::uint64_t{k1};
    d = p & low;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

// philox_words random words from word 4 * first of the stream on: the counter is (index
// of the four words, offset of the stream). Two words are one integer, the first low.
NITINOL_INLINE void philox_block(const PhiloxKey& key, std::uint64_t offset, std::uint64_t first,
                                 std::uint64_t* words) noexcept {
  PhiloxLanes index;
  for (int i = 0; i < philox_width; ++i) index[i] = first + static_cast<std::uint64_t>(i);
  PhiloxLanes a = index & std::uint64_t{0xffffffffu};
  PhiloxLanes b = index >> 32;
  PhiloxLanes c = PhiloxLanes{} + (offset & 0xffffffffu);
  PhiloxLanes d = PhiloxLanes{} + (offset >> 32);
  philox(key, a, b, c, d);
  const PhiloxLanes ab = a | b << 32;
  const PhiloxLanes cd = c | d << 32;
  for (int i = 0; i < philox_width; ++i) {
    words[2 * i] = ab[i];
    words[2 * i + 1] = cd[i];
  }
}

}  // namespace nitinol::cpu::kernels
