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

void read_encoder_states(Leg& leg) noexcept {
  NSArray* infos =
      [[[leg.buffer.get() error] userInfo] objectForKey:MTLCommandBufferEncoderInfoErrorKey];
  const std::size_t count = std::min<std::size_t>([infos count], leg.encoders.size());
  for (std::size_t i = 0; i < count; ++i) {
    id<MTLCommandBufferEncoderInfo> info = [infos objectAtIndex:i];
    const NSInteger state = [info errorState];
    const bool known = state >= 0 && state <= MTLCommandEncoderErrorStateFaulted;
    leg.encoders[i].state = known ? static_cast<EncoderState>(state) : EncoderState::unknown;
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
  for (std::size_t i = 1; i < leg.encoders.size(); ++i) {
    for (std::size_t j = i; j > 0 && tells(leg.encoders[j]) < tells(leg.encoders[j - 1]); --j) {
      std::swap(leg.encoders[j], leg.encoders[j - 1]);
    }
  }
}

void MetalDevice::depart(Flight& flight) noexcept {
  Leg* leg = flight.leg.get();
  flight.submission.ran = true;
  bool first = false;
  {
    std::lock_guard lock(legs_mutex_);
    first = legs_ == nullptr;
    leg->next = legs_;
    if (legs_) legs_->previous = leg;
    legs_ = leg;
  }
  // Somebody must look at the clock from now on.
  if (first) post();
  id<MTLCommandBuffer> buffer = leg->buffer.get();
  [buffer addCompletedHandler:^(id<MTLCommandBuffer> done) {
    ended(*leg, done);
  }];
  residency_.commit();
  [buffer commit];  // after this the flight may be over, and gone
}

// The completion handler: on a thread of Metal's, with nothing below that could fail, wait
// or run Python.
void MetalDevice::ended(Leg& leg, id<MTLCommandBuffer> buffer) noexcept {
  if (!leg.claimed.exchange(true, std::memory_order_acq_rel)) complete(leg, end_of(buffer));
  leg.handled.store(true, std::memory_order_release);
  post();
}

void MetalDevice::complete(Leg& leg, const Fault& fault) noexcept {
  if (ends_device(fault.code)) {
    Code none = Code::none;
    ended_by_.compare_exchange_strong(none, fault.code, std::memory_order_acq_rel);
  }
  leg.submission->complete(fault);
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
      std::lock_guard lock(legs_mutex_);
      waiting = legs_ != nullptr;
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
  std::lock_guard lock(legs_mutex_);
  for (Leg** at = &strayed_; *at;) {
    Leg* leg = *at;
    if (leg->handled.load(std::memory_order_acquire)) {
      *at = leg->next;
      delete leg;
    } else {
      at = &leg->next;
    }
  }
  for (Leg* leg = legs_; leg; leg = leg->next) {
    if (leg->claimed.load(std::memory_order_relaxed)) continue;
    const bool over = is_over(leg->buffer.get());
    if (!over && gone == Code::none) continue;
    if (leg->ended == Clock::time_point{}) leg->ended = now;
    if (now - leg->ended < patience) continue;
    if (leg->claimed.exchange(true, std::memory_order_acq_rel)) continue;
    if (over) {
      complete(*leg, end_of(leg->buffer.get()));
    } else {
      keep_memory(*leg->submission);
      Fault fault;
      fault.code = refusal_after(gone);
      complete(*leg, fault);
    }
  }
}

// A device that is gone may still write, for all that is known: what it was given is never
// used for anything else.
void MetalDevice::keep_memory(Submission& submission) noexcept {
  auto& flight = *static_cast<Flight*>(submission.flight);
  flight.faults->retain();
  for (const Unit& unit : submission.units) {
    if (unit.status != UnitStatus::launched) continue;
    for (Node* output : unit.outputs) {
      if (Buffer* buffer = output->buffer()) buffer->retain();
    }
  }
  flight.recycler.abandon();
}

bool MetalDevice::conclude(Submission& submission) noexcept {
  auto* flight = static_cast<Flight*>(submission.flight);
  if (!flight) return true;
  Pool pool;
  const Fault& fault = submission.outcome.fault;
  for (;;) {
    const bool all = flight->encoded == submission.units.size();
    const bool failed = fault.code != Code::none;
    if ((failed || all) && Runner::again(submission)) {
      put_off(*flight);
      return false;
    }
    if (failed) {
      if (!isolate(*flight)) break;
      continue;
    }
    if (all) break;
    land(*flight);
    submission.reopen();
    submission.outcome.fault = open(*flight);
    submission.outcome.phase = Phase::encode;
    if (fault.code != Code::none) continue;
    const Progress progress = go_on(*flight);
    if (progress == Progress::under_way) return false;
    if (progress == Progress::again) {
      Runner::start_over(submission);
      put_off(*flight);
      return false;
    }
  }
  if (fault.code == Code::none) {
    conclude_units(*flight);
  } else {
    lose_units(*flight);
  }
  land(*flight);
  dismiss(*flight);
  return true;
}

// Of a flight with a unit in each command buffer it is known which one failed: what was launched
// before is as it should be, and what comes later is encoded with that in view.
bool MetalDevice::isolate(Flight& flight) noexcept {
  Outcome& outcome = flight.submission.outcome;
  if (!flight.split || outcome.phase != Phase::completion || ends_device(outcome.fault.code)) {
    return false;
  }
  Unit& unit = flight.submission.units[flight.last];
  unit.secondary = unit.fault.code;
  Runner::fail(unit, outcome.fault, Phase::completion, true);
  outcome.fault = {};
  return true;
}

// In the order in which they ran: a unit whose input turns out to be spoilt ran in vain.
void MetalDevice::conclude_units(Flight& flight) noexcept {
  const std::span<Unit> units = flight.submission.units;
  for (std::size_t i = 0; i < units.size(); ++i) {
    Unit& unit = units[i];
    if (unit.status != UnitStatus::launched) continue;
    const std::size_t outputs = unit.outputs.size();
    Fault fault = unit.fault;
    if (!Runner::still_valid(unit)) {
      if (fault.code != Code::none) record.suppress();
      continue;
    }
    const std::uint32_t position = flight.words()[i];
    if (position != no_fault) {
      Fault own = replay(unit);
      // Of a unit that was cut down the error may have been in the part that is gone.
      if (own.code == Code::none && unit.outputs.size() == outputs) own = fault_at(unit, position);
      if (own.code != Code::none) {
        unit.secondary = fault.code;
        fault = own;
      }
    }
    if (fault.code == Code::none) {
      Runner::succeed(unit);
    } else {
      Runner::fail(unit, fault, Phase::completion, true);
    }
  }
}

void MetalDevice::lose_units(Flight& flight) noexcept {
  Submission& submission = flight.submission;
  if (flight.leg) {
    read_encoder_states(*flight.leg);
    const std::vector<ReportedEncoder>& encoders = flight.leg->encoders;
    try {
      const std::size_t count = std::min<std::size_t>(encoders.size(), Report::max_encoders);
      const auto kept = submission.arena.array<ReportedEncoder>(count);
      std::copy_n(encoders.begin(), count, kept.begin());
      submission.outcome.encoders = kept;
    } catch (const std::bad_alloc&) {
      // The report does without.
    }
  }
  for (Unit& unit : submission.units) {
    if (unit.status != UnitStatus::launched) continue;
    if (unit.fault.code != Code::none) record.suppress();
    Runner::lose(unit);
  }
}

// The submission is launched again, from its first unit on.
void MetalDevice::put_off(Flight& flight) noexcept {
  Submission& submission = flight.submission;
  land(flight);
  dismiss(flight);
  postpone(submission);
}

// The present command buffer is done with.
void MetalDevice::land(Flight& flight) noexcept {
  Leg* leg = flight.leg.release();
  if (!leg) return;
  std::unique_ptr<Leg> uncommitted;  // given up behind the lock, as the next one
  Owned<id<MTLCommandBuffer>> buffer;
  std::lock_guard lock(legs_mutex_);
  if (!leg->previous && legs_ != leg) {
    uncommitted.reset(leg);
    return;
  }
  (leg->previous ? leg->previous->next : legs_) = leg->next;
  if (leg->next) leg->next->previous = leg->previous;
  // Not before: of what is in the list the watching thread asks the status.
  buffer = std::move(leg->buffer);
  if (leg->handled.load(std::memory_order_acquire)) {
    delete leg;
  } else {
    leg->next = strayed_;
    strayed_ = leg;
  }
}

void MetalDevice::dismiss(Flight& flight) noexcept {
  flight.submission.flight = nullptr;
  const auto admission = flight.admission;
  delete &flight;
  memory.leave(admission);
}

}  // namespace nitinol::metal
