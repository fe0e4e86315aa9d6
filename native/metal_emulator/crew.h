// The fibers of one host thread, which are the threads of the threadgroup it runs.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "compiler.h"
#include "fiber.h"
#include "stdlib/kernel_abi.h"

namespace metal_emulator {

class Crew {
 public:
  // The calling host thread's.
  static Crew& mine();

  Crew();
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  // Memory for the threadgroup variables and arguments of a group, and gaps between them.
  static constexpr std::size_t memory_bytes = 2 * max_threadgroup_bytes;
  char* memory() { return memory_; }

  // Runs every thread of the group, in fibers.
  void run(const metal_abi::Kernel& kernel, const metal_abi::Group& group);

  // Called by the kernel, in a fiber.
  void barrier(bool orders_memory, std::uint32_t line);
  void simd_barrier(bool orders_memory, std::uint32_t line);
  metal_abi::Lanes exchange(const void* value, std::uint32_t bytes, metal_abi::Lane required,
                            std::uint32_t line);
  std::uint32_t lane() const;

 private:
  enum class State : std::uint8_t { ready, at_barrier, at_simd_barrier, at_exchange, ended };

  struct Thread {
    Crew* crew = nullptr;
    Fiber* fiber = nullptr;
    std::uint32_t index = 0;
    std::uint32_t x = 0, y = 0, z = 0;
    State state = State::ended;
    metal_abi::Lane required = metal_abi::Lane::any;
    std::uint32_t line = 0;
  };

  struct Simdgroup {
    alignas(64) char slots[2][simd_width * metal_abi::slot_bytes];
    int turn;              // the slots that the next exchange writes
    std::uint32_t active;  // lanes of the last exchange
    char tokens[2];        // for ThreadSanitizer
  };

  static void body(void* thread);
  void reserve(std::uint32_t count);
  void run_simdgroup(std::uint32_t simdgroup);
  void finish_exchange(std::uint32_t simdgroup);
  bool finish_barrier();
  void wait(State state, std::uint32_t line);
  [[noreturn]] void diverged(const Thread& a, const Thread& b) const;

  char* memory_;
  Thread* threads_;
  Simdgroup* simdgroups_;
  std::uint32_t reserved_ = 0;
  std::uint32_t count_ = 0;
  Thread* current_ = nullptr;
  const metal_abi::Kernel* kernel_ = nullptr;
  const metal_abi::Group* group_ = nullptr;
  int barrier_turn_ = 0;
  char barrier_tokens_[2] = {};
  char begin_token_ = 0;
  char end_token_ = 0;
};

}  // namespace metal_emulator
