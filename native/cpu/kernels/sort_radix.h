// A stable least-significant-digit radix sort of records, serial or on all threads.
#pragma once

#include <algorithm>
#include <cstring>
#include <utility>

#include "cpu/kernels/iterate.h"

namespace nitinol::cpu::kernels {

// A record gives its sort key; `low` is the first bit of it that counts.
inline std::uint64_t key_of(std::uint64_t r) noexcept { return r; }
inline std::uint32_t key_of(std::uint32_t r) noexcept { return r; }
inline std::uint16_t key_of(std::uint16_t r) noexcept { return r; }
inline std::uint8_t key_of(std::uint8_t r) noexcept { return r; }

// A wide key and the position of its element.
struct KeyedIndex {
  std::uint64_t key;
  std::uint64_t index;
  friend bool operator<(const KeyedIndex& a, const KeyedIndex& b) noexcept {
    return a.key != b.key ? a.key < b.key : a.index < b.index;
  }
};
inline std::uint64_t key_of(const KeyedIndex& r) noexcept { return r.key; }

inline constexpr int max_digit_bits = 11;
inline constexpr int max_parts = 16;  // threads of one sort

// Moves `n` records from `from` to `to`, each to where `next` of its digit points.
template <class Record>
void scatter_records(const Record* from, Record* to, std::int64_t n, int shift, unsigned mask,
                     std::uint64_t* next) noexcept {
  for (std::int64_t i = 0; i < n; ++i) {
    const Record r = from[i];
    to[next[static_cast<unsigned>(key_of(r) >> shift) & mask]++] = r;
  }
}

template <class Record>
void count_digits(const Record* from, std::int64_t n, int shift, unsigned mask,
                  std::uint64_t* count) noexcept {
  std::fill_n(count, mask + 1, 0);
  for (std::int64_t i = 0; i < n; ++i)
    ++count[static_cast<unsigned>(key_of(from[i]) >> shift) & mask];
}

// Sorts by the bits [low, low + bits) of the keys; returns where the result lies: `a`
// or `b`, which both hold n records. Records of equal keys keep their order, so few
// elements may be sorted by any stable method or, where records are all different or
// equal ones can't be told apart, by any method at all; that is what callers guarantee.
template <class Record>
Record* radix_sort(Record* a, Record* b, std::int64_t n, int low, int bits) noexcept {
  if (bits == 0) return a;
  if (n <= 64) {
    std::sort(a, a + n);
    return a;
  }
  const int widest = n < 32768 ? 8 : max_digit_bits;
  const int passes = (bits + widest - 1) / widest;
  const int digit = (bits + passes - 1) / passes;
  const int parts =
      static_cast<int>(std::clamp<std::int64_t>(n / 65536, 1, std::min(concurrency(), max_parts)));
  const std::int64_t part = ceil_div(n, parts);
  const Scratch scratch(sizeof(std::uint64_t) * static_cast<std::size_t>(parts) << digit);
  if (!scratch) return nullptr;
  auto* counts = scratch.as<std::uint64_t>();
  for (int pass = 0; pass < passes; ++pass) {
    const int shift = low + pass * digit;
    const int width = std::min(digit, bits - pass * digit);
    const unsigned mask = (1u << width) - 1;
    const auto size = static_cast<std::int64_t>(mask) + 1;
    const auto each_part = [&](auto&& body) {
      const auto range = [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t p = begin; p < end; ++p) {
          body(counts + p * size, p * part, std::min(part, n - p * part));
        }
      };
      parallel_for(parts, 1, range);
    };
    each_part([&](std::uint64_t* count, std::int64_t first, std::int64_t length) {
      count_digits(a + first, length, shift, mask, count);
    });
    // Start of each digit of each part: digits in order, inside a digit the parts.
    std::uint64_t start = 0;
    bool sorted = false;
    for (std::int64_t d = 0; d < size; ++d) {
      const std::uint64_t before = start;
      for (int p = 0; p < parts; ++p) start += std::exchange(counts[p * size + d], start);
      if (start - before == static_cast<std::uint64_t>(n)) sorted = true;
    }
    if (sorted) continue;  // one digit only
    each_part([&](std::uint64_t* next, std::int64_t first, std::int64_t length) {
      scatter_records(a + first, b, length, shift, mask, next);
    });
    std::swap(a, b);
  }
  return a;
}

}  // namespace nitinol::cpu::kernels
