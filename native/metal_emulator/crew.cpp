// Runs a threadgroup: fibers, barriers, and exchanges within simdgroups.
#include "crew.h"

#include <cstdlib>
#include <mutex>
#include <new>
#include <string>
#include <vector>

#include "execute.h"

#if METAL_EMULATOR_TSAN
#include <sanitizer/tsan_interface.h>
#endif

namespace metal_emulator {
namespace {

inline void release(void* token) {
#if METAL_EMULATOR_TSAN
  __tsan_release(token);
#else
  (void)token;
#endif
}

inline void acquire(void* token) {
#if METAL_EMULATOR_TSAN
  __tsan_acquire(token);
#else
  (void)token;
#endif
}

// In moves that no interceptor sees.
METAL_EMULATOR_UNSEEN inline void copy(char* to, const void* from, std::uint32_t bytes) {
  switch (bytes) {
    case 2:
      __builtin_memcpy(to, from, 2);
      return;
    case 4:
      __builtin_memcpy(to, from, 4);
      return;
    case 8:
      __builtin_memcpy(to, from, 8);
      return;
    case 16:
      __builtin_memcpy(to, from, 16);
      return;
    default:
      for (std::uint32_t i = 0; i < bytes; ++i) {
        static_cast<volatile char*>(to)[i] = static_cast<const char*>(from)[i];
      }
  }
}

// A crew outlives its host thread, and waits here for the next one: what a sanitizer
// remembers of a fiber's stack would outlive the stack.
struct IdleCrews {
  std::mutex mutex;
  std::vector<Crew*> crews;

  static IdleCrews& instance() {
    static IdleCrews* const idle = new IdleCrews;
    return *idle;
  }
};

class Borrowed {
 public:
  Borrowed() {
    IdleCrews& idle = IdleCrews::instance();
    const std::lock_guard lock(idle.mutex);
    if (idle.crews.empty()) {
      crew_ = new Crew;
    } else {
      crew_ = idle.crews.back();
      idle.crews.pop_back();
    }
  }
  ~Borrowed() {
    IdleCrews& idle = IdleCrews::instance();
    const std::lock_guard lock(idle.mutex);
    idle.crews.push_back(crew_);
  }
  Borrowed(const Borrowed&) = delete;
  Borrowed& operator=(const Borrowed&) = delete;

  Crew& crew() { return *crew_; }

 private:
  Crew* crew_;
};

}  // namespace

Crew& Crew::mine() {
  thread_local Borrowed borrowed;
  return borrowed.crew();
}

Crew::Crew()
    : memory_(static_cast<char*>(std::aligned_alloc(256, memory_bytes))),
      threads_(new Thread[max_threads_per_threadgroup]),
      simdgroups_(new Simdgroup[max_threads_per_threadgroup / simd_width]()) {
  if (memory_ == nullptr) throw std::bad_alloc();
}

void Crew::reserve(std::uint32_t count) {
  for (; reserved_ < count; ++reserved_) {
    Thread& thread = threads_[reserved_];
    thread.index = reserved_;
    thread.fiber = new Fiber(&Crew::body, &thread);
  }
}

METAL_EMULATOR_UNSEEN void Crew::body(void* argument) {
  Thread& thread = *static_cast<Thread*>(argument);
  Crew& crew = *thread.crew;
  acquire(&crew.begin_token_);
  crew.kernel_->thread(*crew.group_, thread.x, thread.y, thread.z);
  release(&crew.end_token_);
  thread.state = State::ended;
}

METAL_EMULATOR_UNSEEN void Crew::run(const metal_abi::Kernel& kernel,
                                     const metal_abi::Group& group) {
  const std::uint32_t* const size = group.threads_per_threadgroup;
  count_ = size[0] * size[1] * size[2];
  reserve(count_);
  kernel_ = &kernel;
  group_ = &group;
  std::uint32_t index = 0;
  for (std::uint32_t z = 0; z < size[2]; ++z) {
    for (std::uint32_t y = 0; y < size[1]; ++y) {
      for (std::uint32_t x = 0; x < size[0]; ++x) {
        Thread& thread = threads_[index++];
        thread.crew = this;
        thread.x = x;
        thread.y = y;
        thread.z = z;
        thread.state = State::ready;
      }
    }
  }
  release(&begin_token_);
  do {
    for (std::uint32_t simdgroup = 0; simdgroup * simd_width < count_; ++simdgroup) {
      run_simdgroup(simdgroup);
    }
  } while (finish_barrier());
  acquire(&end_token_);
}

// Until every lane has ended or waits for other simdgroups.
METAL_EMULATOR_UNSEEN void Crew::run_simdgroup(std::uint32_t simdgroup) {
  const std::uint32_t begin = simdgroup * simd_width;
  const std::uint32_t end = begin + simd_width < count_ ? begin + simd_width : count_;
  for (;;) {
    bool waits = false;
    for (std::uint32_t i = begin; i < end; ++i) {
      Thread& thread = threads_[i];
      if (thread.state == State::ready) {
        current_ = &thread;
        thread.fiber->resume();
      }
      waits |= thread.state == State::at_exchange || thread.state == State::at_simd_barrier;
    }
    if (!waits) return;
    finish_exchange(simdgroup);
  }
}

// All lanes that are in the simdgroup's function go on together; the others (which have
// ended, or wait at a barrier) are inactive.
METAL_EMULATOR_UNSEEN void Crew::finish_exchange(std::uint32_t simdgroup) {
  const std::uint32_t begin = simdgroup * simd_width;
  const std::uint32_t end = begin + simd_width < count_ ? begin + simd_width : count_;
  const Thread* first = nullptr;
  const Thread* absent = nullptr;
  std::uint32_t active = 0;
  for (std::uint32_t i = begin; i < end; ++i) {
    Thread& thread = threads_[i];
    if (thread.state == State::at_exchange || thread.state == State::at_simd_barrier) {
      if (first == nullptr) first = &thread;
      if (thread.state != first->state || thread.line != first->line) diverged(*first, thread);
      active |= 1u << (i - begin);
    } else {
      absent = &thread;
    }
  }
  const bool needs_all =
      first->state == State::at_simd_barrier || first->required == metal_abi::Lane::all;
  if (needs_all && absent != nullptr) diverged(*first, *absent);
  if (first->required == metal_abi::Lane::all && end - begin < simd_width) {
    misuse(kernel_->name, "a function of simdgroup matrices (line " + std::to_string(first->line) +
                              ") runs in a simdgroup of less than 32 threads");
  }
  Simdgroup& group = simdgroups_[simdgroup];
  group.active = active;
  group.turn ^= 1;
  for (std::uint32_t i = begin; i < end; ++i) {
    if (active >> (i - begin) & 1) threads_[i].state = State::ready;
  }
}

// Whether there is more to run.
METAL_EMULATOR_UNSEEN bool Crew::finish_barrier() {
  const Thread& first = threads_[0];
  for (std::uint32_t i = 1; i < count_; ++i) {
    const Thread& thread = threads_[i];
    if (thread.state != first.state) diverged(first, thread);
    if (thread.state == State::at_barrier && thread.line != first.line) diverged(first, thread);
  }
  if (first.state == State::ended) return false;
  for (std::uint32_t i = 0; i < count_; ++i) threads_[i].state = State::ready;
  barrier_turn_ ^= 1;
  return true;
}

METAL_EMULATOR_UNSEEN void Crew::wait(State state, std::uint32_t line) {
  Thread& thread = *current_;
  thread.state = state;
  thread.line = line;
  thread.fiber->suspend();
}

// A token for each of two turns: a thread that has gone on to the next barrier must not
// seem to have been waited for by those that still leave this one.
METAL_EMULATOR_UNSEEN void Crew::barrier(bool orders_memory, std::uint32_t line) {
  char* const token = &barrier_tokens_[barrier_turn_];
  if (orders_memory) release(token);
  wait(State::at_barrier, line);
  if (orders_memory) acquire(token);
}

METAL_EMULATOR_UNSEEN void Crew::simd_barrier(bool orders_memory, std::uint32_t line) {
  Simdgroup& group = simdgroups_[current_->index / simd_width];
  char* const token = &group.tokens[group.turn];
  current_->required = metal_abi::Lane::any;
  if (orders_memory) release(token);
  wait(State::at_simd_barrier, line);
  if (orders_memory) acquire(token);
}

// Values lie in one of two sets of slots: a lane that has gone on writes the other one, and
// can't come back to this one before every lane has left it.
METAL_EMULATOR_UNSEEN metal_abi::Lanes Crew::exchange(const void* value, std::uint32_t bytes,
                                                      metal_abi::Lane required,
                                                      std::uint32_t line) {
  const std::uint32_t lane = current_->index % simd_width;
  Simdgroup& group = simdgroups_[current_->index / simd_width];
  char* const slots = group.slots[group.turn];
  copy(slots + lane * metal_abi::slot_bytes, value, bytes);
  current_->required = required;
  wait(State::at_exchange, line);
  return {slots, group.active, lane};
}

METAL_EMULATOR_UNSEEN std::uint32_t Crew::lane() const { return current_->index % simd_width; }

void Crew::diverged(const Thread& a, const Thread& b) const {
  const auto describe = [](const Thread& thread) {
    const std::string who = "thread " + std::to_string(thread.index) + " ";
    switch (thread.state) {
      case State::at_barrier:
        return who + "waits at the threadgroup_barrier of line " + std::to_string(thread.line);
      case State::at_simd_barrier:
        return who + "waits at the simdgroup_barrier of line " + std::to_string(thread.line);
      case State::at_exchange:
        return who + "waits in the simdgroup function of line " + std::to_string(thread.line);
      default:
        return who + "has ended";
    }
  };
  misuse(kernel_->name, "its threads diverge: " + describe(a) + ", " + describe(b));
}

}  // namespace metal_emulator
