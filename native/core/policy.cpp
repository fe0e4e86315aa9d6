// The tables behind the decisions about failures.
#include "nitinol/policy.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "nitinol/error.h"
#include "nitinol/inject.h"
#include "nitinol/notice.h"

namespace nitinol {

namespace {

struct Row {
  const char* name;
  bool retryable;
  bool culprit;
  Condition worst;  // what the device is at least after this failure
};

// In the order of Code.
constexpr Row rows[] = {
    {"none", false, false, Condition::ok},
    {"internal", true, false, Condition::degraded},
    {"timeout", false, true, Condition::degraded},
    {"page_fault", false, true, Condition::degraded},
    {"access_revoked", false, true, Condition::lost},
    {"not_permitted", true, false, Condition::suspended},
    {"out_of_memory", true, false, Condition::degraded},
    {"invalid_resource", false, true, Condition::degraded},
    {"memoryless", false, true, Condition::degraded},
    {"device_removed", false, false, Condition::lost},
    {"stack_overflow", false, true, Condition::degraded},
    {"innocent_victim", true, false, Condition::degraded},
    {"impacting_interactivity", true, true, Condition::degraded},
    {"submissions_ignored", false, false, Condition::lost},
    // What follows is the caller's data, not the device's health.
    {"singular_matrix", false, true, Condition::ok},
    {"not_positive_definite", false, true, Condition::ok},
    {"index_out_of_range", false, true, Condition::ok},
    {"negative_power", false, true, Condition::ok},
    {"host_callback", false, true, Condition::ok},
    {"io", true, false, Condition::ok},
};
static_assert(sizeof(rows) / sizeof(rows[0]) == static_cast<int>(Code::count_));

const Row& row(Code code) noexcept {
  // An unknown code is treated as internal.
  const int i = static_cast<int>(code);
  return rows[i < static_cast<int>(Code::count_) ? i : static_cast<int>(Code::internal)];
}

}  // namespace

const char* name(Code code) noexcept { return row(code).name; }

Code code_from_name(const char* text) noexcept {
  for (int i = 1; i < static_cast<int>(Code::count_); ++i) {
    if (std::strcmp(rows[i].name, text) == 0) return static_cast<Code>(i);
  }
  return Code::none;
}

const char* name(Phase phase) noexcept {
  constexpr const char* names[] = {"encode", "commit", "completion"};
  return names[static_cast<int>(phase)];
}

const char* name(EncoderState state) noexcept {
  constexpr const char* names[] = {"unknown", "completed", "affected", "pending", "faulted"};
  return names[static_cast<int>(state)];
}

const char* name(Condition condition) noexcept {
  constexpr const char* names[] = {"ok", "degraded", "suspended", "lost"};
  return names[static_cast<int>(condition)];
}

bool retryable(Code code) noexcept { return row(code).retryable; }
bool culprit(Code code) noexcept { return row(code).culprit; }

Condition after_failure(Condition now, Code code) noexcept {
  const Condition worst = row(code).worst;
  return now < worst ? worst : now;
}

Condition after_success(Condition now, std::uint32_t successes) noexcept {
  if (now == Condition::lost) return now;
  return successes >= successes_to_recover ? Condition::ok : now;
}

bool counts_against_budget(Code code) noexcept {
  return culprit(code) && row(code).worst != Condition::ok;
}

namespace {

// The driver's numbers that "internal" is known to hide.
Code unmerged(Code code, std::int64_t raw) noexcept {
  if (code != Code::internal) return code < Code::count_ ? code : Code::internal;
  if (raw == 5) return Code::innocent_victim;
  if (raw == 14) return Code::impacting_interactivity;
  return code;
}

// Was it never submitted, because the device took no work (see Fault::args)?
bool is_refusal(const Fault& fault) noexcept {
  if (fault.code != Code::not_permitted && row(fault.code).worst != Condition::lost) return false;
  return fault.injection == 0 && fault.args[0] != 0;
}

std::int64_t backoff(const RecoveryPolicy& policy, std::uint32_t attempt) noexcept {
  const std::int64_t first = std::clamp<std::int64_t>(policy.victim_backoff, 0, longest_backoff);
  return std::min(first << std::min<std::uint32_t>(attempt, 30), longest_backoff);
}

}  // namespace

Decision decide(Code code, std::int64_t raw, const Work& work, const RecoveryPolicy& policy,
                const History& history) noexcept {
  const Code known = unmerged(code, raw);
  const std::uint32_t attempt = work.attempt;
  Decision decision;
  decision.suspend = counts_against_budget(known) && policy.culprit_budget != 0 &&
                     history.culprits >= policy.culprit_budget;
  if (decision.suspend || history.closed || history.condition == Condition::lost) return decision;
  switch (known) {
    case Code::innocent_victim:
      if (attempt >= policy.victim_retries) return decision;
      decision.remedy = Remedy::again;
      decision.delay = backoff(policy, attempt);
      return decision;
    case Code::impacting_interactivity:
      if (!policy.split_interactivity || attempt >= policy.victim_retries) return decision;
      decision.remedy = Remedy::split;
      decision.delay = backoff(policy, attempt);
      return decision;
    case Code::timeout:
      // Never the same again: what is one piece already stays as it failed.
      if (!policy.split_timeout || !work.divisible || attempt > 0) return decision;
      decision.remedy = Remedy::split;
      decision.delay = backoff(policy, attempt);
      return decision;
    case Code::out_of_memory:
      if (policy.out_of_memory_retry && attempt == 0) decision.remedy = Remedy::trim;
      return decision;
    case Code::internal:
      if (policy.internal_retry && attempt == 0) decision.remedy = Remedy::again;
      return decision;
    default:
      return decision;
  }
}

std::int64_t Health::clock() noexcept {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

std::uint32_t Health::culprits(std::int64_t now) const noexcept {
  const std::uint64_t kept = std::min<std::uint64_t>(blames_, blamed_.size());
  return static_cast<std::uint32_t>(
      std::count_if(blamed_.begin(), blamed_.begin() + static_cast<std::ptrdiff_t>(kept),
                    [&](std::int64_t when) { return now - when < policy_.culprit_window; }));
}

void Health::blame(std::int64_t now) noexcept { blamed_[blames_++ % blamed_.size()] = now; }

// Every change goes through here, under the lock, so they are told in their order.
void Health::enter(Condition condition) noexcept {
  const Condition before = condition_.exchange(condition, std::memory_order_acq_rel);
  if (notices_ && before != condition) notices_->changed(before, condition);
}

// Of an injected and a real loss the real one counts, whichever came first.
void Health::lose(const Fault& fault, Condition before) noexcept {
  const bool was_lost = before == Condition::lost;
  if (was_lost && (fault.injection != 0 || loss_ == 0)) return;
  loss_ = fault.injection;
  if (!was_lost) {
    before_loss_ = before;
    refusal_before_loss_ = takes_work() ? Fault{} : refusal_;
  }
  refusal_ = Fault{};
  refusal_.code = fault.code;
  refusal_.args[0] = 1;
  closed_.store(true, std::memory_order_release);
}

void Health::failed(Code code) noexcept {
  Fault fault;
  fault.code = code;
  failed(fault);
}

void Health::failed(const Fault& fault, std::int64_t now) noexcept {
  // What was turned away says nothing new, and may be told after the device was opened again.
  if (is_refusal(fault)) return;
  std::lock_guard lock(mutex_);
  successes_.store(0, std::memory_order_relaxed);
  const Condition before = condition();
  const Condition after = after_failure(before, fault.code);
  if (counts_against_budget(fault.code)) blame(now);
  if (after_failure(Condition::ok, fault.code) == Condition::lost) lose(fault, before);
  if (after == Condition::lost) {
    enter(after);
    if (loss_ != 0 && injector_ && !injector_->holds(loss_)) regain();
    return;
  }
  if (!counts_against_budget(fault.code)) return enter(after);
  const std::uint32_t count = culprits(now);
  // Whether it may be tried again is not asked here, only whether that was one too many.
  if (!decide(fault.code, fault.raw, {}, policy_, {after, count}).suspend) return enter(after);
  refusal_ = Fault{};
  refusal_.code = Code::not_permitted;
  refusal_.args[0] = count;
  refusal_.args[1] = policy_.culprit_window / 1'000'000;
  closed_.store(true, std::memory_order_release);
  enter(Condition::suspended);
}

Decision Health::decision(const Fault& fault, const Attempts& attempts, bool divisible,
                          std::int64_t now) const noexcept {
  const Code known = unmerged(fault.code, fault.raw);
  const auto code = static_cast<std::size_t>(known);
  const std::uint32_t blamed = counts_against_budget(known) ? 1 : 0;
  // What the present attempt was counted for already is answered as the first time.
  const bool counted = attempts.counted >> code & 1;
  const std::uint32_t attempt = attempts.after[code] - (counted ? 1 : 0);
  return decide(fault.code, fault.raw, {attempt, divisible || counted}, policy_,
                {condition(), culprits(now) + blamed, !takes_work()});
}

Decision Health::consider(const Fault& fault, Attempts& attempts, bool divisible,
                          std::int64_t now) noexcept {
  std::lock_guard lock(mutex_);
  const Decision made = decision(fault, attempts, divisible, now);
  const Code known = unmerged(fault.code, fault.raw);
  const auto code = static_cast<std::size_t>(known);
  if (made.remedy == Remedy::fail) {
    attempts.given_up = attempts.given_up || attempts.after[code] > 0;
    return made;
  }
  if (counts_against_budget(known)) blame(now);
  ++attempts.failures;
  if (attempts.counted >> code & 1) return made;
  attempts.counted |= std::uint32_t{1} << code;
  ++attempts.after[code];
  attempts.pause = std::max(attempts.pause, made.delay);
  attempts.split = attempts.split || (made.remedy == Remedy::split && divisible);
  return made;
}

bool Health::mends(const Fault& fault, const Attempts& attempts, bool divisible) const noexcept {
  std::lock_guard lock(mutex_);
  return decision(fault, attempts, divisible, clock()).remedy != Remedy::fail;
}

void Health::succeeded() noexcept {
  if (condition() == Condition::ok) return;
  std::lock_guard lock(mutex_);
  // What was under way when the device was closed does not open it.
  if (closed_.load(std::memory_order_relaxed)) return;
  const std::uint32_t n = successes_.fetch_add(1, std::memory_order_relaxed) + 1;
  enter(after_success(condition(), n));
}

Fault Health::refusal() const noexcept {
  std::lock_guard lock(mutex_);
  return refusal_;
}

bool Health::reset() noexcept {
  std::lock_guard lock(mutex_);
  if (condition() == Condition::lost) return false;
  blames_ = 0;
  successes_.store(0, std::memory_order_relaxed);
  closed_.store(false, std::memory_order_release);
  enter(Condition::ok);
  return true;
}

void Health::end_injection(int number) noexcept {
  std::lock_guard lock(mutex_);
  if (number != 0 && loss_ == number) regain();
}

void Health::regain() noexcept {
  loss_ = 0;
  successes_.store(0, std::memory_order_relaxed);
  refusal_ = refusal_before_loss_;
  closed_.store(refusal_.code != Code::none, std::memory_order_release);
  enter(before_loss_);
}

RecoveryPolicy Health::policy() const noexcept {
  std::lock_guard lock(mutex_);
  return policy_;
}

void Health::set_policy(const RecoveryPolicy& policy) noexcept {
  std::lock_guard lock(mutex_);
  policy_ = policy;
  policy_.victim_retries = std::min(policy.victim_retries, most_retries);
  policy_.culprit_budget = std::min(policy.culprit_budget, largest_culprit_budget);
}

}  // namespace nitinol
