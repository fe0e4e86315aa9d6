// Pure decisions about failures: they know no device, and are tested by tables.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>

#include "nitinol/fault.h"

namespace nitinol {

enum class Condition : std::uint8_t { ok, degraded, suspended, lost };
const char* name(Condition condition) noexcept;

// Successful submissions after which a degraded device counts as ok again.
inline constexpr std::uint32_t successes_to_recover = 8;

// May the same work succeed when it is tried again?
bool retryable(Code code) noexcept;
// Is the failing work itself to blame (and not memory, a neighbour or the driver)?
bool culprit(Code code) noexcept;

// The condition after a failure.
Condition after_failure(Condition now, Code code) noexcept;
// The condition after `successes` successes in a row.
Condition after_success(Condition now, std::uint32_t successes) noexcept;

class Injector;
class Notices;

// What a device does about failures by itself. Times are in nanoseconds.
struct RecoveryPolicy {
  std::uint32_t victim_retries = 3;  // in a row, of work that fell to somebody else's failure
  std::int64_t victim_backoff = 1'000'000;  // before the first of them; it doubles each time
  bool out_of_memory_retry = true;          // once, after the cache was freed
  bool internal_retry = true;               // once
  bool split_interactivity = true;          // run what kept a display waiting in smaller pieces
  bool split_timeout = false;               // likewise, once, what a watchdog ended
  std::uint32_t culprit_budget = 0;         // that many failures of its own within the window
  std::int64_t culprit_window = 60'000'000'000;  // suspend the device; 0: no number does
};
inline constexpr std::uint32_t most_retries = 100;
inline constexpr std::uint32_t largest_culprit_budget = 64;
inline constexpr std::int64_t longest_backoff = 1'000'000'000;

// What happened to a device before a failure.
struct History {
  Condition condition = Condition::ok;
  std::uint32_t culprits = 0;  // within the window, this failure included
  bool closed = false;         // it takes no more work
};

// The work that failed: how often it was tried again after the same code, and whether it can be
// run in smaller pieces.
struct Work {
  std::uint32_t attempt = 0;
  bool divisible = false;
};

enum class Remedy : std::uint8_t {
  fail,   // let it be reported
  again,  // the same once more
  trim,   // once more, after the cache was freed
  split,  // once more, in smaller pieces
};

struct Decision {
  Remedy remedy = Remedy::fail;
  bool suspend = false;    // nothing more is submitted until somebody resets the device
  std::int64_t delay = 0;  // before it is tried again
};

// Does this failure count against the culprit budget: is the work to blame, and the device
// the worse for it?
bool counts_against_budget(Code code) noexcept;

// What to do about a failure. `raw` is the driver's own number where a code merges several.
Decision decide(Code code, std::int64_t raw, const Work& work, const RecoveryPolicy& policy,
                const History& history) noexcept;

// Work that was tried again in place so far: after what, and how it goes on. What strikes the
// same attempt several times with one code is one reason to try again, and several failures.
struct Attempts {
  std::array<std::uint8_t, static_cast<std::size_t>(Code::count_)> after{};  // by code
  std::uint32_t counted = 0;   // bits: the codes that the present attempt was counted for
  std::uint32_t failures = 0;  // that are neither recovered nor suppressed yet
  std::int64_t pause = 0;      // nanoseconds before the next attempt
  std::int64_t due = 0;        // for the device: when that pause is over
  bool split = false;          // from now on one unit at a time
  bool given_up = false;       // after one of these codes it was not tried again any more
};

// A device's condition and history, updated as failures and successes are met; the
// condition is loaded by anybody.
class Health {
 public:
  // Changes are told to `notices`; `injector` says which injections go on.
  explicit Health(Notices* notices = nullptr, const Injector* injector = nullptr) noexcept
      : notices_(notices), injector_(injector) {}

  Condition condition() const noexcept { return condition_.load(std::memory_order_acquire); }
  // False once the device was lost, or suspended by its culprit budget: nothing may be
  // submitted to it, and fails with `refusal` instead.
  bool takes_work() const noexcept { return !closed_.load(std::memory_order_acquire); }
  Fault refusal() const noexcept;

  // A failure that will be reported.
  void failed(const Fault& fault, std::int64_t now = clock()) noexcept;
  void failed(Code code) noexcept;
  // A failure that need not be, if it can be mended. When the answer is yes it is counted, here
  // and in `attempts`.
  Decision consider(const Fault& fault, Attempts& attempts, bool divisible,
                    std::int64_t now = clock()) noexcept;
  // Would the answer be yes, as things are?
  bool mends(const Fault& fault, const Attempts& attempts, bool divisible) const noexcept;
  void succeeded() noexcept;

  // Back to ok, the history forgotten. False when the device is lost: then nothing helps.
  bool reset() noexcept;
  // A device that was lost by this injection only is there again. To be called when the
  // injector no longer holds it: what it struck before may be met later, and ends at once.
  void end_injection(int number) noexcept;

  RecoveryPolicy policy() const noexcept;
  void set_policy(const RecoveryPolicy& policy) noexcept;

 private:
  static std::int64_t clock() noexcept;
  std::uint32_t culprits(std::int64_t now) const noexcept;
  Decision decision(const Fault& fault, const Attempts& attempts, bool divisible,
                    std::int64_t now) const noexcept;
  void blame(std::int64_t now) noexcept;
  void lose(const Fault& fault, Condition before) noexcept;
  void enter(Condition condition) noexcept;

  void regain() noexcept;

  Notices* const notices_;
  const Injector* const injector_;
  std::atomic<Condition> condition_{Condition::ok};
  std::atomic<bool> closed_{false};
  std::atomic<std::uint32_t> successes_{0};

  mutable std::mutex mutex_;  // all that follows
  RecoveryPolicy policy_;
  std::array<std::int64_t, largest_culprit_budget> blamed_{};  // when; a ring
  std::uint64_t blames_ = 0;
  Fault refusal_;
  int loss_ = 0;                           // the injection that caused it; 0: it is real
  Condition before_loss_ = Condition::ok;  // and what was refused then
  Fault refusal_before_loss_;
};

}  // namespace nitinol
