// What the translator's text calls: arguments of kernels, threadgroup variables, the list
// of a library's kernels.
#pragma once

// With ThreadSanitizer threads are fibers even where none waits, so that it tells them apart.
#if __has_feature(thread_sanitizer)
#define METAL_ALWAYS_FIBERS 1
#else
#define METAL_ALWAYS_FIBERS 0
#endif

namespace metal_entry {

using metal::uint;
using metal::ulong;
using metal_abi::Group;

struct pointer {
  void* value;
  template <class T>
  operator T*() const {
    return (T*)value;  // into any address space
  }
};
struct reference {
  void* value;
  template <class T>
  operator T&() const {
    return *(T*)value;
  }
};

// A position or a size: Metal lets a kernel take one, two or three components, of 16 or 32 bits.
struct triple {
  uint x, y, z;
  template <class T>
  operator T() const {
    if constexpr (metal::detail::vector_traits<T>::size == 1) {
      return T(x);
    } else {
      using element = typename metal::detail::vector_traits<T>::element;
      T result = element(x);
      result.y = element(y);
      if constexpr (metal::detail::vector_traits<T>::size == 3) result.z = element(z);
      return result;
    }
  }
};

struct Position {
  const Group& group;
  uint x, y, z;

  triple thread_position_in_threadgroup() const { return {x, y, z}; }
  triple thread_position_in_grid() const {
    return {group.position[0] * group.threads_per_threadgroup[0] + x,
            group.position[1] * group.threads_per_threadgroup[1] + y,
            group.position[2] * group.threads_per_threadgroup[2] + z};
  }
  triple threadgroup_position_in_grid() const {
    return {group.position[0], group.position[1], group.position[2]};
  }
  triple threads_per_threadgroup() const {
    return {group.threads_per_threadgroup[0], group.threads_per_threadgroup[1],
            group.threads_per_threadgroup[2]};
  }
  triple dispatch_threads_per_threadgroup() const { return threads_per_threadgroup(); }
  triple threadgroups_per_grid() const {
    return {group.threadgroups_per_grid[0], group.threadgroups_per_grid[1],
            group.threadgroups_per_grid[2]};
  }
  triple threads_per_grid() const {
    const triple groups = threadgroups_per_grid(), threads = threads_per_threadgroup();
    return {groups.x * threads.x, groups.y * threads.y, groups.z * threads.z};
  }
  uint thread_index_in_threadgroup() const {
    return x + group.threads_per_threadgroup[0] * (y + group.threads_per_threadgroup[1] * z);
  }
  uint thread_index_in_simdgroup() const { return thread_index_in_threadgroup() % 32; }
  uint simdgroup_index_in_threadgroup() const { return thread_index_in_threadgroup() / 32; }
  uint simdgroups_per_threadgroup() const {
    const triple threads = threads_per_threadgroup();
    return (threads.x * threads.y * threads.z + 31) / 32;
  }
  uint threads_per_simdgroup() const { return 32; }
  uint thread_execution_width() const { return 32; }
};

constexpr ulong align_up(ulong offset, ulong alignment) {
  return (offset + alignment - 1) / alignment * alignment;
}

// Tells the text behind a kernel's body how much threadgroup memory the body declares.
template <class Tag, ulong bytes>
struct threadgroup_bytes {
  friend constexpr ulong size_of_threadgroup(Tag) { return bytes; }
};

}  // namespace metal_entry

// The linker puts these around the kernels' section.
extern "C" {
extern const metal_abi::Kernel __start_metal_kernels __attribute__((weak, visibility("hidden")));
extern const metal_abi::Kernel __stop_metal_kernels __attribute__((weak, visibility("hidden")));
}

// What the host looks up.
extern "C" __attribute__((visibility("default"), used)) const metal_abi::Library metal_library = {
    &metal_runtime, &__start_metal_kernels, &__stop_metal_kernels};
