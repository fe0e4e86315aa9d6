// Flight: a submission between its commit and its end, as Metal knows it.
#pragma once

#import <Metal/Metal.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "errors.h"
#include "nitinol/memory.h"
#include "nitinol/recycler.h"
#include "nitinol/submission.h"
#include "objc.h"

namespace nitinol::metal {

struct Flight {
  // Units that an encoder may hold. Each has its ops in its label, so fewer tell more about a
  // failure; but every encoder is a pass of its own, which costs the GPU some microseconds.
  static constexpr std::uint32_t units_per_encoder = 8;

  struct Launched {
    std::uint32_t unit;  // its index in the submission
    Fault injected;      // to strike when it has run
  };

  Submission* submission = nullptr;
  Owned<id<MTLCommandBuffer>> buffer;
  std::vector<Launched> launched;
  std::vector<ReportedEncoder> encoders;
  Allocator::Admission admission{};
  Recycler recycler;
  Ref<Buffer> faults;  // a word for each unit

  // Who completes the submission: the handler, or the resolver when that never comes. After
  // it was claimed by somebody else, nobody may touch the submission.
  std::atomic<bool> claimed{false};
  // The handler has ended, and with it its last use of this object.
  std::atomic<bool> handled{false};

  // The resolver's alone.
  Flight* next = nullptr;
  Flight* previous = nullptr;
  std::chrono::steady_clock::time_point ended{};  // when it was first seen to be over

  std::uint32_t* words() const noexcept { return reinterpret_cast<std::uint32_t*>(faults->data()); }
};

// What the command buffer says of its end. Reads plain numbers: for the completion handler.
Fault end_of(id<MTLCommandBuffer> buffer) noexcept;

// The states of the encoders of a command buffer that failed, into the flight's own list.
void read_encoder_states(Flight& flight) noexcept;

}  // namespace nitinol::metal
