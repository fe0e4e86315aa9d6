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

template <class T>
inline void atomic_store_explicit(volatile atomic<T>* object, typename detail::identity<T>::type x,
                                  memory_order) {
  __atomic_store(&object->value, &x, __ATOMIC_RELAXED);
}
template <class T>
inline T atomic_load_explicit(const volatile atomic<T>* object, memory_order) {
  T result;
  __atomic_load(&object->value, &result, __ATOMIC_RELAXED);
  return result;
}
template <class T>
inline T atomic_exchange_explicit(volatile atomic<T>* object, typename detail::identity<T>::type x,
                                  memory_order) {
  T result;
  __atomic_exchange(&object->value, &x, &result, __ATOMIC_RELAXED);
  return result;
}
template <class T>
inline bool atomic_compare_exchange_weak_explicit(volatile atomic<T>* object, T* expected,
                                                  typename detail::identity<T>::type desired,
                                                  memory_order, memory_order) {
  return __atomic_compare_exchange(&object->value, expected, &desired, true, __ATOMIC_RELAXED,
                                   __ATOMIC_RELAXED);
}

#define METAL_FETCH(name, builtin)                                                                \
  template <class T>                                                                              \
  inline T name(volatile atomic<T>* object, typename detail::identity<T>::type x, memory_order) { \
    return builtin(&object->value, x, __ATOMIC_RELAXED);                                          \
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
