// Sorting a short row by counting, for each element, those that come before it: more
// comparisons than other methods make, but vectors of them and no branch.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "cpu/kernels/iterate.h"
#include "cpu/kernels/sort_keys.h"

namespace nitinol::cpu::kernels {

template <class T>
inline constexpr std::int64_t longest_ranked = sizeof(T) == 8 ? 64 : 128;

// Narrow keys count in 32 bits. Signed, for vectors compare those sooner.
template <class Key>
using RankKey = std::conditional_t<sizeof(Key) == 8, std::int64_t, std::int32_t>;

template <class Key>
RankKey<Key> rank_key(Key key) noexcept {
  using R = RankKey<Key>;
  if constexpr (sizeof(Key) < 4) {
    return key;
  } else {
    return static_cast<R>(key ^ Key(1) << (8 * sizeof(Key) - 1));
  }
}

// ranks[i]: the place of keys[i]; of equal ones the first comes first. The arrays have
// room for whole vectors; what lies behind n is compared and never read.
template <class R>
NITINOL_CLONES void rank_keys(const R* keys, int n, R* ranks) noexcept {
  constexpr int width = 32 / sizeof(R);
  typedef R V __attribute__((vector_size(32)));  // a comparison gives -1 for true
  V lane;
  for (int i = 0; i < width; ++i) lane[i] = static_cast<R>(i);
  for (int first = 0; first < n; first += 2 * width) {
    V a, b, rank_a = {}, rank_b = {};
    std::memcpy(&a, keys + first, sizeof a);
    std::memcpy(&b, keys + first + width, sizeof b);
    const V at_a = lane + static_cast<R>(first), at_b = at_a + static_cast<R>(width);
    for (int j = 0; j < n; ++j) {
      const V key = V{} + keys[j], at = V{} + static_cast<R>(j);
      rank_a += (key < a) | ((key == a) & (at < at_a));
      rank_b += (key < b) | ((key == b) & (at < at_b));
    }
    rank_a = -rank_a;
    rank_b = -rank_b;
    std::memcpy(ranks + first, &rank_a, sizeof a);
    std::memcpy(ranks + first + width, &rank_b, sizeof b);
  }
}

// Calls put(place, index, key) for each element of a row of at most longest_ranked.
template <class T, class Put>
void sort_by_ranks(const char* row, std::int64_t stride, std::int64_t n,
                   typename SortKey<T>::Key flip, Put put) noexcept {
  using Key = typename SortKey<T>::Key;
  using R = RankKey<Key>;
  static_assert(longest_ranked<T> % 16 == 0);
  R keys[longest_ranked<T>] = {}, ranks[longest_ranked<T>];
  Key original[longest_ranked<T>];
  for (std::int64_t i = 0; i < n; ++i) {
    original[i] = *reinterpret_cast<const Key*>(row + i * stride);
    keys[i] = rank_key(SortKey<T>::from(original[i], flip));
  }
  rank_keys(keys, static_cast<int>(n), ranks);
  for (std::int64_t i = 0; i < n; ++i) put(ranks[i], i, original[i]);
}

}  // namespace nitinol::cpu::kernels
