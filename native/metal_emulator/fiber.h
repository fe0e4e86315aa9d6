// Fibers: threads of a GPU's threadgroup, which one host thread runs by turns.
#pragma once

#include <cstddef>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define METAL_EMULATOR_TSAN 1
#endif
#if __has_feature(address_sanitizer)
#define METAL_EMULATOR_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__) && !defined(METAL_EMULATOR_TSAN)
#define METAL_EMULATOR_TSAN 1
#endif
#if defined(__SANITIZE_ADDRESS__) && !defined(METAL_EMULATOR_ASAN)
#define METAL_EMULATOR_ASAN 1
#endif
#ifndef METAL_EMULATOR_TSAN
#define METAL_EMULATOR_TSAN 0
#endif
#ifndef METAL_EMULATOR_ASAN
#define METAL_EMULATOR_ASAN 0
#endif

// The executor orders fibers itself, by switching; ThreadSanitizer, which can't know that
// a switch orders, is told of barriers only and must not look at the executor's own data.
#if METAL_EMULATOR_TSAN
#define METAL_EMULATOR_UNSEEN __attribute__((no_sanitize("thread")))
#else
#define METAL_EMULATOR_UNSEEN
#endif

namespace metal_emulator {

// A stack with a loop on it that runs `body` each time it is resumed after having ended.
class Fiber {
 public:
  // `body(argument)` may call suspend().
  Fiber(void (*body)(void*), void* argument);
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;
  // Fibers live on: see Crew.
  ~Fiber() = delete;

  // From a host thread: runs the fiber until it suspends itself or its body has ended.
  void resume();
  // From within the fiber: back to whoever resumed it.
  void suspend();

 private:
  friend void enter_fiber(Fiber* fiber);
  void* own_stack_ = nullptr;  // stack pointers of those that don't run now
  void* host_stack_ = nullptr;
  void (*body_)(void*);
  void* argument_;
  char* memory_ = nullptr;
#if METAL_EMULATOR_TSAN
  void* own_tsan_ = nullptr;
  void* host_tsan_ = nullptr;
#endif
#if METAL_EMULATOR_ASAN
  void* own_fake_stack_ = nullptr;
  void* host_fake_stack_ = nullptr;
  const void* host_bottom_ = nullptr;
  std::size_t host_size_ = 0;
#endif
};

}  // namespace metal_emulator
