// Flight: a submission between its launch and its end, as Metal knows it.
#pragma once

#import <Metal/Metal.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "errors.h"
#include "nitinol/memory.h"
#include "nitinol/recycler.h"
#include "nitinol/submission.h"
#include "objc.h"

namespace nitinol::metal {

// One command buffer.
struct Leg {
  Submission* submission = nullptr;
  Owned<id<MTLCommandBuffer>> buffer;
  std::vector<ReportedEncoder> encoders;

  // Who completes the submission: the handler, or the resolver when that never comes. After
  // it was claimed by somebody else, nobody may touch the submission.
  std::atomic<bool> claimed{false};
  // The handler has ended, and with it its last use of this object.
  std::atomic<bool> handled{false};

  // The resolver's alone.
  Leg* next = nullptr;
  Leg* previous = nullptr;
  std::chrono::steady_clock::time_point ended{};  // when it was first seen to be over
};

// All of a submission in one command buffer, or, after work took too long, a unit in each, one
// after another.
struct Flight {
  // Units that an encoder may hold. Each has its ops in its label, so fewer tell more about a
  // failure; but every encoder is a pass of its own, which costs the GPU some microseconds.
  static constexpr std::uint32_t units_per_encoder = 8;

  explicit Flight(Submission& of) noexcept : submission(of), split(of.attempts.split) {}

  Submission& submission;
  const bool split;
  std::unique_ptr<Leg> leg;   // the present one, between its launch and its end the device's
  std::uint32_t encoded = 0;  // units that were looked at
  std::uint32_t last = 0;     // of these the one that was launched last
  Allocator::Admission admission{};
  Recycler recycler;
  Ref<Buffer> faults;  // a word for each unit

  std::uint32_t* words() const noexcept { return reinterpret_cast<std::uint32_t*>(faults->data()); }
};

// What the command buffer says of its end. Reads plain numbers: for the completion handler.
Fault end_of(id<MTLCommandBuffer> buffer) noexcept;

// The states of the encoders of a command buffer that failed, into the leg's own list.
void read_encoder_states(Leg& leg) noexcept;

}  // namespace nitinol::metal
