// Metal's atomics: relaxed ones on 32 bits, in device and threadgroup memory.
#pragma once

namespace metal {

enum memory_order { memory_order_relaxed = __ATOMIC_RELAXED };

template <class T>
struct atomic {
  static_assert(sizeof(T) <= 4, "atomics have 32 bits");
  T value;
};
using atomic_int = atomic<int>;
using atomic_uint = atomic<uint>;
using atomic_bool = atomic<bool>;
using atomic_float = atomic<float>;

namespace detail {
// Of an atomic in any address space.
template <class T>
struct atomic_traits;
template <class T>
struct atomic_traits<device atomic<T>> {
  using type = T;
};
template <class T>
struct atomic_traits<volatile device atomic<T>> {
  using type = T;
};
#if METAL_CHECKS_ADDRESS_SPACES
template <class T>
struct atomic_traits<threadgroup atomic<T>> {
  using type = T;
};
template <class T>
struct atomic_traits<volatile threadgroup atomic<T>> {
  using type = T;
};
#endif
template <class P>
using atomic_value = typename atomic_traits<P>::type;
// What clang's functions take: a pointer of no address space.
template <class P>
inline auto address(P* object) {
  return (volatile atomic_value<P>*)&object->value;
}
}  // namespace detail

template <class P>
inline void atomic_store_explicit(P* object, detail::atomic_value<P> x, memory_order) {
  __atomic_store(detail::address(object), &x, __ATOMIC_RELAXED);
}
template <class P>
inline detail::atomic_value<P> atomic_load_explicit(const P* object, memory_order) {
  detail::atomic_value<P> result;
  __atomic_load((const volatile detail::atomic_value<P>*)&object->value, &result, __ATOMIC_RELAXED);
  return result;
}
template <class P>
inline detail::atomic_value<P> atomic_exchange_explicit(P* object, detail::atomic_value<P> x,
                                                        memory_order) {
  detail::atomic_value<P> result;
  __atomic_exchange(detail::address(object), &x, &result, __ATOMIC_RELAXED);
  return result;
}
template <class P>
inline bool atomic_compare_exchange_weak_explicit(P* object, detail::atomic_value<P>* expected,
                                                  detail::atomic_value<P> desired, memory_order,
                                                  memory_order) {
  return __atomic_compare_exchange(detail::address(object), expected, &desired, true,
                                   __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

#define METAL_FETCH(name, builtin)                                                          \
  template <class P>                                                                        \
  inline detail::atomic_value<P> name(P* object, detail::atomic_value<P> x, memory_order) { \
    return builtin(detail::address(object), x, __ATOMIC_RELAXED);                           \
  }
METAL_FETCH(atomic_fetch_and_explicit, __atomic_fetch_and)
METAL_FETCH(atomic_fetch_or_explicit, __atomic_fetch_or)
METAL_FETCH(atomic_fetch_xor_explicit, __atomic_fetch_xor)
METAL_FETCH(atomic_fetch_min_explicit, __atomic_fetch_min)
METAL_FETCH(atomic_fetch_max_explicit, __atomic_fetch_max)
METAL_FETCH(atomic_fetch_add_explicit, __atomic_fetch_add)
METAL_FETCH(atomic_fetch_sub_explicit, __atomic_fetch_sub)
#undef METAL_FETCH

}  // namespace metal
