// From command buffers to outcomes: completion handlers, the thread that resolves, and what
// becomes of units whose command buffer has ended.
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>

#include "device.h"
#include "nitinol/resolver.h"
#include "nitinol/runner.h"
#include "replay.h"

namespace nitinol::metal {

namespace {

using Clock = std::chrono::steady_clock;

constexpr auto poll_interval = std::chrono::milliseconds(100);
// A handler usually runs within microseconds of its buffer's end.
constexpr auto patience = std::chrono::milliseconds(500);

bool is_over(id<MTLCommandBuffer> buffer) noexcept {
  const MTLCommandBufferStatus status = [buffer status];
  return status == MTLCommandBufferStatusCompleted || status == MTLCommandBufferStatusError;
}

}  // namespace

Fault end_of(id<MTLCommandBuffer> buffer) noexcept {
  if ([buffer status] == MTLCommandBufferStatusCompleted) return {};
  NSError* error = [buffer error];
  DriverError found;
  if (error != nil) {
    found.known_domain = [[error domain] isEqualToString:MTLCommandBufferErrorDomain];
    found.code = [error code];
    NSError* below = [[error userInfo] objectForKey:NSUnderlyingErrorKey];
    if (below != nil && [[below domain] isEqualToString:@"IOGPUCommandQueueErrorDomain"]) {
      found.has_raw = true;
      found.raw = [below code];
    }
  }
  return fault_of(found);
}

void read_encoder_states(Flight& flight) noexcept {
  NSArray* infos =
      [[[flight.buffer.get() error] userInfo] objectForKey:MTLCommandBufferEncoderInfoErrorKey];
  const std::size_t count = std::min<std::size_t>([infos count], flight.encoders.size());
  for (std::size_t i = 0; i < count; ++i) {
    id<MTLCommandBufferEncoderInfo> info = [infos objectAtIndex:i];
    const NSInteger state = [info errorState];
    const bool known = state >= 0 && state <= MTLCommandEncoderErrorStateFaulted;
    flight.encoders[i].state = known ? static_cast<EncoderState>(state) : EncoderState::unknown;
  }
  // A report has room for a few: those that tell most come first.
  const auto tells = [](const ReportedEncoder& encoder) {
    switch (encoder.state) {
      case EncoderState::faulted:
        return 0;
      case EncoderState::affected:
        return 1;
      case EncoderState::completed:
        return 3;
      default:
        return 2;
    }
  };
  // In place: std::stable_sort would allocate.
  for (std::size_t i = 1; i < flight.encoders.size(); ++i) {
    for (std::size_t j = i; j > 0 && tells(flight.encoders[j]) < tells(flight.encoders[j - 1]);
         --j) {
      std::swap(flight.encoders[j], flight.encoders[j - 1]);
    }
  }
}

void MetalDevice::depart(Flight& flight) noexcept {
  bool first = false;
  {
    std::lock_guard lock(flights_mutex_);
    first = flights_ == nullptr;
    flight.next = flights_;
    if (flights_) flights_->previous = &flight;
    flights_ = &flight;
  }
  // Somebody must look at the clock from now on.
  if (first) post();
  id<MTLCommandBuffer> buffer = flight.buffer.get();
  Flight* departed = &flight;
  [buffer addCompletedHandler:^(id<MTLCommandBuffer> done) {
    ended(*departed, done);
  }];
  residency_.commit();
  [buffer commit];  // after this the flight may be over, and gone
}

// The completion handler: on a thread of Metal's, with nothing below that could fail, wait
// or run Python.
void MetalDevice::ended(Flight& flight, id<MTLCommandBuffer> buffer) noexcept {
  if (!flight.claimed.exchange(true, std::memory_order_acq_rel)) complete(flight, end_of(buffer));
  flight.handled.store(true, std::memory_order_release);
  post();
}

void MetalDevice::complete(Flight& flight, const Fault& fault) noexcept {
  if (ends_device(fault.code)) {
    Code none = Code::none;
    ended_by_.compare_exchange_strong(none, fault.code, std::memory_order_acq_rel);
  }
  flight.submission->complete(fault);
}

// A write to a pipe: no lock of this process, no allocation.
void MetalDevice::post() noexcept {
  const char byte = 0;
  while (::write(wake_[1], &byte, 1) < 0 && errno == EINTR) {
  }
  // A full pipe wakes the reader just as well.
}

void MetalDevice::watch() noexcept {
  for (;;) {
    bool waiting = false;
    {
      std::lock_guard lock(flights_mutex_);
      waiting = flights_ != nullptr;
    }
    pollfd entry{wake_[0], POLLIN, 0};
    ::poll(&entry, 1, waiting ? static_cast<int>(poll_interval.count()) : -1);
    char bytes[256];
    while (::read(wake_[0], bytes, sizeof bytes) == sizeof bytes) {
    }
    Pool pool;
    Resolver::resolve(*this);
    look_for_overdue();
    Resolver::resolve(*this);
  }
}

// Ends what no handler will end: buffers that are over, and, once the device is gone, all.
void MetalDevice::look_for_overdue() noexcept {
  const auto now = Clock::now();
  const Code gone = ended_by_.load(std::memory_order_acquire);
  std::lock_guard lock(flights_mutex_);
  for (Flight** at = &strayed_; *at;) {
    Flight* flight = *at;
    if (flight->handled.load(std::memory_order_acquire)) {
      *at = flight->next;
      delete flight;
    } else {
      at = &flight->next;
    }
  }
  for (Flight* flight = flights_; flight; flight = flight->next) {
    if (flight->claimed.load(std::memory_order_relaxed)) continue;
    const bool over = is_over(flight->buffer.get());
    if (!over && gone == Code::none) continue;
    if (flight->ended == Clock::time_point{}) flight->ended = now;
    if (now - flight->ended < patience) continue;
    if (flight->claimed.exchange(true, std::memory_order_acq_rel)) continue;
    if (over) {
      complete(*flight, end_of(flight->buffer.get()));
    } else {
      keep_memory(*flight);
      Fault fault;
      fault.code = refusal_after(gone);
      complete(*flight, fault);
    }
  }
}

// A device that is gone may still write, for all that is known: what it was given is never
// used for anything else.
void MetalDevice::keep_memory(Flight& flight) noexcept {
  flight.faults->retain();
  for (const Flight::Launched& launched : flight.launched) {
    const Unit& unit = flight.submission->units[launched.unit];
    for (Node* output : unit.outputs) {
      if (Buffer* buffer = output->buffer()) buffer->retain();
    }
  }
  flight.recycler.abandon();
}

void MetalDevice::conclude(Submission& submission) noexcept {
  auto* flight = static_cast<Flight*>(submission.flight);
  if (!flight) return;
  Pool pool;
  submission.flight = nullptr;
  if (submission.outcome.fault.code == Code::none) {
    conclude_units(*flight);
  } else {
    lose_units(*flight);
  }
  arrive(*flight);
}

// In the order in which they ran: a unit whose input turns out to be spoilt ran in vain.
void MetalDevice::conclude_units(Flight& flight) noexcept {
  for (const Flight::Launched& launched : flight.launched) {
    Unit& unit = flight.submission->units[launched.unit];
    const std::size_t all = unit.outputs.size();
    if (!Runner::still_valid(unit)) {
      if (launched.injected.code != Code::none) record.suppress();
      continue;
    }
    Fault fault = launched.injected;
    const std::uint32_t position = flight.words()[launched.unit];
    if (position != no_fault) {
      Fault own = replay(unit);
      // Of a unit that was cut down the error may have been in the part that is gone.
      if (own.code == Code::none && unit.outputs.size() == all) own = fault_at(unit, position);
      if (own.code != Code::none) {
        unit.secondary = launched.injected.code;
        fault = own;
      }
    }
    Runner::conclude(unit, fault, Phase::completion, true);
  }
}

void MetalDevice::lose_units(Flight& flight) noexcept {
  Submission& submission = *flight.submission;
  read_encoder_states(flight);
  try {
    const std::size_t count = std::min<std::size_t>(flight.encoders.size(), Report::max_encoders);
    const auto kept = submission.arena.array<ReportedEncoder>(count);
    std::copy_n(flight.encoders.begin(), count, kept.begin());
    submission.outcome.encoders = kept;
  } catch (const std::bad_alloc&) {
    // The report does without.
  }
  for (const Flight::Launched& launched : flight.launched) {
    if (launched.injected.code != Code::none) record.suppress();
    Runner::lose(submission.units[launched.unit]);
  }
}

void MetalDevice::arrive(Flight& flight) noexcept {
  flight.recycler.clear();
  flight.faults = nullptr;
  memory.leave(flight.admission);
  Owned<id<MTLCommandBuffer>> buffer;  // given up behind the lock
  std::lock_guard lock(flights_mutex_);
  if (flight.previous || flights_ == &flight) {
    (flight.previous ? flight.previous->next : flights_) = flight.next;
    if (flight.next) flight.next->previous = flight.previous;
  }
  // Not before: of what is in the list the watching thread asks the status.
  buffer = std::move(flight.buffer);
  if (flight.handled.load(std::memory_order_acquire)) {
    delete &flight;
  } else {
    flight.next = strayed_;
    strayed_ = &flight;
  }
}

}  // namespace nitinol::metal
