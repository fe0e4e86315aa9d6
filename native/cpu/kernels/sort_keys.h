// Keys: unsigned integers whose order is the order of the elements they stand for.
// Zeros of either sign have one key, and so have all NaNs, the largest of all in
// both directions; equal keys are equal elements, so a stable sort of keys is a stable
// sort of elements.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "nitinol/dtype.h"

namespace nitinol::cpu::kernels {

template <std::size_t size>
using UnsignedOf = std::conditional_t<
    size == 1, std::uint8_t,
    std::conditional_t<size == 2, std::uint16_t,
                       std::conditional_t<size == 4, std::uint32_t, std::uint64_t>>>;

template <class T>
struct SortKey {
  using Key = UnsignedOf<sizeof(T)>;
  static constexpr bool floating = std::is_floating_point_v<T> || std::is_same_v<T, float16>;
  static constexpr int bits = 8 * sizeof(T);
  static constexpr Key sign = std::is_signed_v<T> || floating ? Key(Key(1) << (bits - 1)) : Key(0);
  // Bits of infinity: larger magnitudes are NaN.
  static constexpr Key infinity = sizeof(T) == 2   ? Key(0x7c00)
                                  : sizeof(T) == 4 ? Key(0x7f800000)
                                                   : Key(0x7ff0000000000000);
  static constexpr Key nan_key = static_cast<Key>(~Key(0));

  // `flip` is 0 or, for descending order, all ones.
  static Key from(Key raw, Key flip) noexcept {
    if constexpr (floating) {
      const Key absolute = raw & static_cast<Key>(~sign);
      raw = absolute == 0 ? Key(0) : raw;
      const Key mask = static_cast<Key>(raw & sign ? ~Key(0) : sign);
      const auto key = static_cast<Key>(raw ^ mask ^ flip);
      return absolute > infinity ? nan_key : key;
    } else {
      return static_cast<Key>(raw ^ sign ^ flip);
    }
  }
  // The element of a key: for zero the positive one, for NaN the quiet one.
  static Key to(Key key, Key flip) noexcept {
    if constexpr (floating) {
      if (key == nan_key) return infinity | static_cast<Key>(infinity >> 1 & ~infinity);
      key ^= flip;
      return static_cast<Key>(key ^ (key & sign ? sign : static_cast<Key>(~Key(0))));
    } else {
      return static_cast<Key>(key ^ sign ^ flip);
    }
  }
};

template <>
struct SortKey<bool> : SortKey<std::uint8_t> {};

}  // namespace nitinol::cpu::kernels
