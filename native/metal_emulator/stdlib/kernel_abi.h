// What a compiled kernel library and the executor know of each other. It is part of the
// kernels' precompiled header, so it includes nothing.
#pragma once

namespace metal_abi {

using u32 = unsigned int;
using u64 = unsigned long;

// One threadgroup of a dispatch.
struct Group {
  void* const* buffers;                // by index
  void* const* threadgroup_arguments;  // by index
  char* memory;                        // of the threadgroup variables that the kernel declares
  u32 position[3];                     // of this threadgroup in the grid
  u32 threads_per_threadgroup[3];
  u32 threadgroups_per_grid[3];
};

// `threadgroup` is a keyword of Metal's.
enum class Argument : int { buffer, threadgroup_memory };

// A function of a library. Either `group` runs all threads of a threadgroup, one after
// another, or `thread` runs one of them, in a fiber of its own.
struct alignas(64) Kernel {
  const char* name;
  void (*group)(const Group& group);
  void (*thread)(const Group& group, u32 x, u32 y, u32 z);
  u64 threadgroup_bytes;
  u32 max_threads;       // 0: no limit of its own
  const int* arguments;  // pairs of an Argument and an index
  int argument_count;
};

inline constexpr u32 slot_bytes = 32;

// What the lanes of a simdgroup have published: `slots` has slot_bytes for each lane.
struct Lanes {
  const char* slots;
  u32 active;  // a bit for each lane that took part
  u32 lane;    // the caller
};

enum class Lane : u32 { any, all };

struct Runtime {
  // Waits for every thread of the threadgroup. `line` identifies the call.
  void (*barrier)(bool orders_memory, u32 line);
  // Waits for every thread of the simdgroup.
  void (*simd_barrier)(bool orders_memory, u32 line);
  // Publishes `bytes` <= slot_bytes at `value` to the simdgroup's other active lanes and
  // waits for theirs. What it returns is valid until the caller's next exchange. With
  // Lane::all every lane of a full simdgroup has to take part.
  Lanes (*exchange)(const void* value, u32 bytes, Lane required, u32 line);
  u32 (*lane)();
  // Of kernels whose traffic is measured: a load or a store.
  void (*touch)(const void* at, u64 bytes, bool writes);
};

// The one symbol of a library.
struct Library {
  const Runtime** runtime;
  const Kernel* first;
  const Kernel* last;
};

}  // namespace metal_abi
