// What clang's address sanitizer calls for each load and store, where a kernel's traffic is
// measured and no address is checked.
#pragma once

#if METAL_MEASURES_TRAFFIC
#define METAL_HOOK extern "C" __attribute__((no_sanitize("address"), visibility("hidden"), used))

METAL_HOOK void __asan_init() {}
METAL_HOOK void __asan_version_mismatch_check_v8() {}
METAL_HOOK void __asan_handle_no_return() {}

#define METAL_TOUCH(bytes)                                                                       \
  METAL_HOOK void __asan_load##bytes(const void* at) { metal_runtime->touch(at, bytes, false); } \
  METAL_HOOK void __asan_store##bytes(const void* at) { metal_runtime->touch(at, bytes, true); }
METAL_TOUCH(1)
METAL_TOUCH(2)
METAL_TOUCH(4)
METAL_TOUCH(8)
METAL_TOUCH(16)
#undef METAL_TOUCH

METAL_HOOK void __asan_loadN(const void* at, unsigned long bytes) {
  metal_runtime->touch(at, bytes, false);
}
METAL_HOOK void __asan_storeN(const void* at, unsigned long bytes) {
  metal_runtime->touch(at, bytes, true);
}
METAL_HOOK void* __asan_memcpy(void* to, const void* from, unsigned long bytes) {
  metal_runtime->touch(from, bytes, false);
  metal_runtime->touch(to, bytes, true);
  return __builtin_memcpy(to, from, bytes);
}
METAL_HOOK void* __asan_memmove(void* to, const void* from, unsigned long bytes) {
  metal_runtime->touch(from, bytes, false);
  metal_runtime->touch(to, bytes, true);
  return __builtin_memmove(to, from, bytes);
}
METAL_HOOK void* __asan_memset(void* to, int value, unsigned long bytes) {
  metal_runtime->touch(to, bytes, true);
  return __builtin_memset(to, value, bytes);
}
#undef METAL_HOOK
#endif
