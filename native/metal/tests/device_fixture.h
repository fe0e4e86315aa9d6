// What the tests of the Metal device share: the devices, waiting, failing on purpose, and the check
// that everything comes back.
#pragma once

#include <chrono>
#include <cstdio>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "check.h"
#include "cpu/device.h"
#include "evaluations.h"
#include "metal/start.h"
#include "metal_emulator/seams.h"

namespace nitinol::metal::testing {

namespace emulator = metal_emulator;

using nitinol::testing::second;
using nitinol::testing::wait;

inline Device& device() {
  static Device* const found = metal::system_device();
  CHECK(found);
  return *found;
}
inline Device& host() { return cpu::CpuDevice::shared(); }

// Every failure shows.
inline void mend_nothing() {
  RecoveryPolicy policy;
  policy.victim_retries = 0;
  policy.out_of_memory_retry = policy.internal_retry = policy.split_interactivity = false;
  device().health.set_policy(policy);
}

// What the driver says, and what becomes of it.
struct Ending {
  std::int64_t code;
  std::int64_t raw;  // 0: none
  Code meaning;
};
// Those that may pass by themselves come first.
inline constexpr std::size_t transient_endings = 4;
inline constexpr Ending endings[] = {
    {1, 0, Code::internal},
    {1, 5, Code::innocent_victim},
    {1, 14, Code::impacting_interactivity},
    {8, 8, Code::out_of_memory},
    {2, 2, Code::timeout},
    {3, 11, Code::page_fault},
    {9, 0, Code::invalid_resource},
    {12, 0, Code::stack_overflow},
};

inline void fail_command_buffer(std::uint64_t at, const Ending& ending, bool execute) {
  emulator::CommandBufferFailure failure;
  failure.occasion = {at, 1};
  failure.code = ending.code;
  if (ending.raw) failure.raw = ending.raw;
  failure.execute = execute;
  emulator::fail_command_buffers(failure);
}

// What Metal's side has alive; kernels, which are kept, left out.
inline std::vector<std::pair<std::string, std::int64_t>> objects() {
  std::vector<std::pair<std::string, std::int64_t>> found;
  for (const char* name :
       {"EmulatedBuffer", "EmulatedCommandBuffer", "EmulatedComputeCommandEncoder",
        "EmulatedEncoderInfo", "NSError", "Block", "NSDictionary", "MTLCommandBufferDescriptor"}) {
    found.emplace_back(name, emulator::live_objects(name));
  }
  return found;
}

// Everything comes back: nodes, memory, and, as soon as the GPU's threads let go, objects.
class Conservation {
 public:
  Conservation() : alive_(Node::alive()), objects_(objects()) {}
  void check() const {
    for (Device* each : {&device(), &host()}) wait(pending_work(each, nullptr));
    CHECK(Node::alive() == alive_);
    CHECK(device().memory.stats().in_use == 0);
    CHECK(host().memory.stats().in_use == 0);
    for (int tries = 0;; ++tries) {
      device().memory.trim();
      const auto now = objects();
      if (now == objects_) break;
      if (tries == 1000) {
        for (const auto& [name, count] : now) {
          std::fprintf(stderr, "%s: %lld\n", name.c_str(), static_cast<long long>(count));
        }
        CHECK(!"objects that leak");
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    CHECK(emulator::autoreleased_without_pool_count() == 0);
  }

 private:
  std::int64_t alive_;
  std::vector<std::pair<std::string, std::int64_t>> objects_;
};

inline std::vector<Stream*>& streams() {
  static std::vector<Stream*> all{device().default_stream(), device().make_stream(),
                                  device().make_stream()};
  return all;
}

}  // namespace nitinol::metal::testing
