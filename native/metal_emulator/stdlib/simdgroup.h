// Barriers, functions of a simdgroup, and its 8 by 8 matrices.
#pragma once

static const metal_abi::Runtime* metal_runtime;

namespace metal {

enum class mem_flags : uint {
  mem_none = 0,
  mem_device = 1,
  mem_threadgroup = 2,
  mem_texture = 4,
  mem_threadgroup_imageblock = 8,
};
inline mem_flags operator|(mem_flags a, mem_flags b) { return mem_flags(uint(a) | uint(b)); }

inline void threadgroup_barrier(mem_flags flags, uint line = __builtin_LINE()) {
  metal_runtime->barrier(flags != mem_flags::mem_none, line);
}
inline void simdgroup_barrier(mem_flags flags, uint line = __builtin_LINE()) {
  metal_runtime->simd_barrier(flags != mem_flags::mem_none, line);
}

namespace detail {

// Slots belong to the executor, whose exchange is the lanes' only order: nothing for
// ThreadSanitizer to look at.
template <class T>
#if __has_feature(thread_sanitizer)
__attribute__((noinline, no_sanitize("thread")))
#else
__attribute__((always_inline))
#endif
inline T peek(const metal_abi::Lanes& lanes, uint lane) {
  return *reinterpret_cast<const T*>(lanes.slots + lane * metal_abi::slot_bytes);
}

template <class T>
inline metal_abi::Lanes publish(const T& value, uint line,
                                metal_abi::Lane required = metal_abi::Lane::any) {
  static_assert(sizeof(T) <= metal_abi::slot_bytes);
  return metal_runtime->exchange(&value, sizeof(T), required, line);
}

template <class T>
constexpr void check_simd_value() {
  using element = typename vector_traits<T>::element;
  static_assert(!same<element, bool> && sizeof(element) <= 4,
                "simdgroup functions take no bool and no 64-bit integers");
}

inline bool is_active(const metal_abi::Lanes& lanes, uint lane) {
  return lane < 32 && ((lanes.active >> lane) & 1);
}

// Halves the lanes again and again, as hardware does, so that rounding resembles it.
template <class T, class F>
inline T reduce(F f, T value, uint line) {
  check_simd_value<T>();
  const metal_abi::Lanes lanes = publish(value, line);
  T values[32];
  int count = 0;
  for (uint lane = 0; lane < 32; ++lane) {
    if (is_active(lanes, lane)) values[count++] = peek<T>(lanes, lane);
  }
  while (count > 1) {
    const int half_count = (count + 1) / 2;
    for (int i = 0; i + half_count < count; ++i) values[i] = f(values[i], values[i + half_count]);
    count = half_count;
  }
  return values[0];
}

// Of the active lanes before the caller, the caller included if `inclusive`.
template <class T, class F>
inline T scan(F f, T value, T neutral, bool inclusive, uint line) {
  check_simd_value<T>();
  const metal_abi::Lanes lanes = publish(value, line);
  T result = neutral;
  for (uint lane = 0; lane < lanes.lane; ++lane) {
    if (is_active(lanes, lane)) result = f(result, peek<T>(lanes, lane));
  }
  return inclusive ? f(result, value) : result;
}

// The value of another lane; of a lane that takes no part it is undefined, and here poison.
template <class T>
inline T from_lane(T value, uint lane, uint line) {
  check_simd_value<T>();
  const metal_abi::Lanes lanes = publish(value, line);
  if (is_active(lanes, lane)) return peek<T>(lanes, lane);
  T poison;
  __builtin_memset(&poison, 0xff, sizeof(T));
  return poison;
}

}  // namespace detail

#define METAL_REDUCTION(name, type, expression)                                   \
  template <class T>                                                              \
  inline T name(T value, uint line = __builtin_LINE()) {                          \
    return detail::reduce([](T a, T b) -> T { return expression; }, value, line); \
  }
METAL_REDUCTION(simd_sum, T, a + b)
METAL_REDUCTION(simd_product, T, a* b)
METAL_REDUCTION(simd_min, T, metal::min(a, b))
METAL_REDUCTION(simd_max, T, metal::max(a, b))
METAL_REDUCTION(simd_and, T, a& b)
METAL_REDUCTION(simd_or, T, a | b)
METAL_REDUCTION(simd_xor, T, a ^ b)
#undef METAL_REDUCTION

template <class T>
inline T simd_prefix_inclusive_sum(T value, uint line = __builtin_LINE()) {
  return detail::scan([](T a, T b) -> T { return a + b; }, value, T(0), true, line);
}
template <class T>
inline T simd_prefix_exclusive_sum(T value, uint line = __builtin_LINE()) {
  return detail::scan([](T a, T b) -> T { return a + b; }, value, T(0), false, line);
}
template <class T>
inline T simd_prefix_inclusive_product(T value, uint line = __builtin_LINE()) {
  return detail::scan([](T a, T b) -> T { return a * b; }, value, T(1), true, line);
}
template <class T>
inline T simd_prefix_exclusive_product(T value, uint line = __builtin_LINE()) {
  return detail::scan([](T a, T b) -> T { return a * b; }, value, T(1), false, line);
}

template <class T>
inline T simd_broadcast(T value, ushort lane, uint line = __builtin_LINE()) {
  return detail::from_lane(value, lane, line);
}
template <class T>
inline T simd_broadcast_first(T value, uint line = __builtin_LINE()) {
  detail::check_simd_value<T>();
  const metal_abi::Lanes lanes = detail::publish(value, line);
  return detail::peek<T>(lanes, __builtin_ctz(lanes.active));
}
template <class T>
inline T simd_shuffle(T value, ushort lane, uint line = __builtin_LINE()) {
  return detail::from_lane(value, lane, line);
}
template <class T>
inline T simd_shuffle_xor(T value, ushort mask, uint line = __builtin_LINE()) {
  return detail::from_lane(value, metal_runtime->lane() ^ mask, line);
}
// Lanes for which there is no source keep their own value.
template <class T>
inline T simd_shuffle_down(T value, ushort delta, uint line = __builtin_LINE()) {
  const uint source = metal_runtime->lane() + delta;
  return detail::from_lane(value, source < 32 ? source : metal_runtime->lane(), line);
}
template <class T>
inline T simd_shuffle_up(T value, ushort delta, uint line = __builtin_LINE()) {
  const uint lane = metal_runtime->lane();
  return detail::from_lane(value, lane >= delta ? lane - delta : lane, line);
}
template <class T>
inline T simd_shuffle_rotate_down(T value, ushort delta, uint line = __builtin_LINE()) {
  return detail::from_lane(value, (metal_runtime->lane() + delta) % 32, line);
}
template <class T>
inline T simd_shuffle_rotate_up(T value, ushort delta, uint line = __builtin_LINE()) {
  return detail::from_lane(value, (metal_runtime->lane() + 32 - delta % 32) % 32, line);
}

struct simd_vote {
  using vote_t = ulong;
  ulong bits;
  explicit operator vote_t() const { return bits; }
  bool any() const { return bits != 0; }
};
inline simd_vote simd_ballot(bool value, uint line = __builtin_LINE()) {
  const metal_abi::Lanes lanes = detail::publish(value, line);
  ulong bits = 0;
  for (uint lane = 0; lane < 32; ++lane) {
    if (detail::is_active(lanes, lane) && detail::peek<bool>(lanes, lane)) bits |= 1ul << lane;
  }
  return {bits};
}
inline simd_vote simd_active_threads_mask(uint line = __builtin_LINE()) {
  return {detail::publish(true, line).active};
}
inline bool simd_any(bool value, uint line = __builtin_LINE()) {
  return simd_ballot(value, line).bits != 0;
}
inline bool simd_all(bool value, uint line = __builtin_LINE()) {
  return simd_ballot(!value, line).bits == 0;
}
inline bool simd_is_first(uint line = __builtin_LINE()) {
  const metal_abi::Lanes lanes = detail::publish(true, line);
  return uint(__builtin_ctz(lanes.active)) == lanes.lane;
}

// Each lane holds two neighbours of one row, laid out over the lanes as Apple's GPUs do.
template <class T, int Columns, int Rows>
struct simdgroup_matrix {
  static_assert(Columns == 8 && Rows == 8, "simdgroup matrices are 8 by 8");
  vec<T, 2> elements;
  simdgroup_matrix() = default;
  explicit simdgroup_matrix(T diagonal) {
    const uint row = own_row(), column = own_column();
    elements =
        make_vector<T, 2>(row == column ? diagonal : T(0), row == column + 1 ? diagonal : T(0));
  }
  vec<T, 2>& thread_elements() { return elements; }
  const vec<T, 2>& thread_elements() const { return elements; }
  static uint own_row() {
    const uint lane = metal_runtime->lane();
    return ((lane / 4) & 4) + (lane / 2) % 4;
  }
  static uint own_column() {
    const uint lane = metal_runtime->lane();
    return ((lane / 4) & 2) * 2 + (lane % 2) * 2;
  }
  static uint lane_of(uint row, uint column) {  // of column and its odd neighbour
    return (row & 4) * 4 + (column & 4) * 2 + (row & 3) * 2 + ((column & 2) >> 1);
  }
};
using simdgroup_float8x8 = simdgroup_matrix<float, 8, 8>;
using simdgroup_half8x8 = simdgroup_matrix<half, 8, 8>;

template <class T, int C, int R>
inline simdgroup_matrix<T, C, R> make_filled_simdgroup_matrix(T value) {
  simdgroup_matrix<T, C, R> result;
  result.elements = vec<T, 2>(value);
  return result;
}

// P is T in an address space.
template <class T, class P>
inline void simdgroup_load(simdgroup_matrix<T, 8, 8>& matrix, P* source, ulong elements_per_row = 8,
                           vec<ulong, 2> origin = 0, bool transpose = false,
                           uint line = __builtin_LINE()) {
  static_assert(sizeof(P) == sizeof(T), "a matrix and its memory have one type");
  detail::publish(true, line, metal_abi::Lane::all);
  const ulong row = matrix.own_row(), column = matrix.own_column();
  for (ulong i = 0; i < 2; ++i) {
    const ulong r = origin.y + (transpose ? column + i : row);
    const ulong c = origin.x + (transpose ? row : column + i);
    matrix.elements[i] = source[r * elements_per_row + c];
  }
}
template <class T, class P>
inline void simdgroup_store(simdgroup_matrix<T, 8, 8> matrix, P* target, ulong elements_per_row = 8,
                            vec<ulong, 2> origin = 0, bool transpose = false,
                            uint line = __builtin_LINE()) {
  static_assert(sizeof(P) == sizeof(T), "a matrix and its memory have one type");
  detail::publish(true, line, metal_abi::Lane::all);
  const ulong row = matrix.own_row(), column = matrix.own_column();
  for (ulong i = 0; i < 2; ++i) {
    const ulong r = origin.y + (transpose ? column + i : row);
    const ulong c = origin.x + (transpose ? row : column + i);
    target[r * elements_per_row + c] = matrix.elements[i];
  }
}

// d = a b + c. Products and sums are in the accumulator's type.
template <class T, class A, class B, class C>
inline void simdgroup_multiply_accumulate(simdgroup_matrix<T, 8, 8>& d, simdgroup_matrix<A, 8, 8> a,
                                          simdgroup_matrix<B, 8, 8> b, simdgroup_matrix<C, 8, 8> c,
                                          uint line = __builtin_LINE()) {
  struct Pair {
    vec<A, 2> a;
    vec<B, 2> b;
  };
  const metal_abi::Lanes lanes =
      detail::publish(Pair{a.elements, b.elements}, line, metal_abi::Lane::all);
  const uint row = d.own_row(), column = d.own_column();
  vec<T, 2> sum = __builtin_convertvector(c.elements, vec<T, 2>);
  for (uint k = 0; k < 8; k += 2) {
    const vec<A, 2> left = detail::peek<Pair>(lanes, d.lane_of(row, k)).a;
    const vec<B, 2> top = detail::peek<Pair>(lanes, d.lane_of(k, column)).b;
    const vec<B, 2> bottom = detail::peek<Pair>(lanes, d.lane_of(k + 1, column)).b;
    sum += vec<T, 2>(T(left.x)) * __builtin_convertvector(top, vec<T, 2>);
    sum += vec<T, 2>(T(left.y)) * __builtin_convertvector(bottom, vec<T, 2>);
  }
  d.elements = sum;
}
template <class T, class A, class B>
inline void simdgroup_multiply(simdgroup_matrix<T, 8, 8>& d, simdgroup_matrix<A, 8, 8> a,
                               simdgroup_matrix<B, 8, 8> b, uint line = __builtin_LINE()) {
  simdgroup_matrix<T, 8, 8> zero;
  zero.elements = 0;
  simdgroup_multiply_accumulate(d, a, b, zero, line);
}

}  // namespace metal
