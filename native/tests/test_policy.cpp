// Tests of the decisions about failures, by table.
#include <cstring>
#include <thread>
#include <vector>

#include "check.h"
#include "nitinol/error.h"
#include "nitinol/inject.h"
#include "nitinol/policy.h"

using namespace nitinol;

namespace {

struct Row {
  Code code;
  const char* name;
  bool retryable;
  bool culprit;
  Condition worst;
};

constexpr Row rows[] = {
    {Code::internal, "internal", true, false, Condition::degraded},
    {Code::timeout, "timeout", false, true, Condition::degraded},
    {Code::page_fault, "page_fault", false, true, Condition::degraded},
    {Code::access_revoked, "access_revoked", false, true, Condition::lost},
    {Code::not_permitted, "not_permitted", true, false, Condition::suspended},
    {Code::out_of_memory, "out_of_memory", true, false, Condition::degraded},
    {Code::invalid_resource, "invalid_resource", false, true, Condition::degraded},
    {Code::memoryless, "memoryless", false, true, Condition::degraded},
    {Code::device_removed, "device_removed", false, false, Condition::lost},
    {Code::stack_overflow, "stack_overflow", false, true, Condition::degraded},
    {Code::innocent_victim, "innocent_victim", true, false, Condition::degraded},
    {Code::impacting_interactivity, "impacting_interactivity", true, true, Condition::degraded},
    {Code::submissions_ignored, "submissions_ignored", false, false, Condition::lost},
    {Code::singular_matrix, "singular_matrix", false, true, Condition::ok},
    {Code::not_positive_definite, "not_positive_definite", false, true, Condition::ok},
    {Code::index_out_of_range, "index_out_of_range", false, true, Condition::ok},
    {Code::negative_power, "negative_power", false, true, Condition::ok},
    {Code::host_callback, "host_callback", false, true, Condition::ok},
    {Code::io, "io", true, false, Condition::ok},
};

void test_table() {
  CHECK(std::size(rows) + 1 == static_cast<std::size_t>(Code::count_));
  for (const Row& row : rows) {
    CHECK(std::strcmp(name(row.code), row.name) == 0);
    CHECK(code_from_name(row.name) == row.code);
    CHECK(retryable(row.code) == row.retryable);
    CHECK(culprit(row.code) == row.culprit);
    for (int c = 0; c < 4; ++c) {
      const auto now = static_cast<Condition>(c);
      CHECK(after_failure(now, row.code) == (now < row.worst ? row.worst : now));
    }
  }
  CHECK(code_from_name("none") == Code::none && code_from_name("bogus") == Code::none);
  CHECK(code_from_name("") == Code::none);
  // A code of the future is treated as internal.
  const auto unknown = static_cast<Code>(200);
  CHECK(std::strcmp(name(unknown), "internal") == 0);
  CHECK(retryable(unknown) && !culprit(unknown));
  CHECK(after_failure(Condition::ok, unknown) == Condition::degraded);
}

void test_recovery() {
  for (std::uint32_t n = 0; n < 20; ++n) {
    const bool enough = n >= successes_to_recover;
    CHECK(after_success(Condition::degraded, n) == (enough ? Condition::ok : Condition::degraded));
    CHECK(after_success(Condition::suspended, n) ==
          (enough ? Condition::ok : Condition::suspended));
    CHECK(after_success(Condition::lost, n) == Condition::lost);
  }
}

void test_health() {
  Health health;
  CHECK(health.condition() == Condition::ok);
  health.succeeded();
  health.failed(Code::singular_matrix);
  CHECK(health.condition() == Condition::ok);
  health.failed(Code::timeout);
  for (std::uint32_t i = 1; i < successes_to_recover; ++i) health.succeeded();
  CHECK(health.condition() == Condition::degraded);
  health.failed(Code::innocent_victim);  // in a row, or not at all
  for (std::uint32_t i = 1; i < successes_to_recover; ++i) health.succeeded();
  CHECK(health.condition() == Condition::degraded);
  health.succeeded();
  CHECK(health.condition() == Condition::ok);
  health.failed(Code::device_removed);
  for (std::uint32_t i = 0; i < 3 * successes_to_recover; ++i) health.succeeded();
  health.failed(Code::timeout);
  CHECK(health.condition() == Condition::lost);
}

constexpr std::int64_t ms = 1'000'000;

// What is done about a failure, by its code, what the driver calls it, how often the work was
// tried before, and what else the device went through.
void test_decisions() {
  const auto with = [](auto change) {
    RecoveryPolicy policy;
    change(policy);
    return policy;
  };
  const RecoveryPolicy usual;
  const RecoveryPolicy patient = with([](auto& p) { p.victim_retries = 100; });
  const RecoveryPolicy strict = with([](auto& p) {
    p.victim_retries = 0;
    p.out_of_memory_retry = p.internal_retry = p.split_interactivity = false;
  });
  const RecoveryPolicy careful = with([](auto& p) { p.culprit_budget = 3; });
  const RecoveryPolicy halving = with([](auto& p) { p.split_timeout = true; });
  const History calm{Condition::ok, 1}, third{Condition::degraded, 3}, gone{Condition::lost, 1},
      shut{Condition::suspended, 1, true};
  const auto unknown = static_cast<Code>(200);
  const struct {
    Code code;
    std::int64_t raw;
    Work work;
    const RecoveryPolicy& policy;
    const History& history;
    Remedy remedy;
    std::int64_t delay;
    bool suspend;
  } table[] = {
      {Code::innocent_victim, 0, {0}, usual, calm, Remedy::again, ms, false},
      {Code::innocent_victim, 5, {1}, usual, calm, Remedy::again, 2 * ms, false},
      {Code::innocent_victim, 0, {2}, usual, calm, Remedy::again, 4 * ms, false},
      {Code::innocent_victim, 0, {3}, usual, calm, Remedy::fail, 0, false},
      {Code::innocent_victim, 0, {0xffffffff}, usual, calm, Remedy::fail, 0, false},
      {Code::innocent_victim, 0, {99}, patient, calm, Remedy::again, 1000 * ms, false},
      {Code::innocent_victim, 0, {0}, strict, calm, Remedy::fail, 0, false},
      {Code::innocent_victim, 0, {0}, usual, gone, Remedy::fail, 0, false},
      {Code::innocent_victim, 0, {0}, careful, third, Remedy::again, ms, false},
      {Code::internal, 0, {0}, usual, calm, Remedy::again, 0, false},
      {Code::internal, 0, {1}, usual, calm, Remedy::fail, 0, false},
      {Code::internal, 0, {0}, strict, calm, Remedy::fail, 0, false},
      // Two of the driver's numbers that "internal" hides.
      {Code::internal, 5, {2}, usual, calm, Remedy::again, 4 * ms, false},
      {Code::internal, 14, {1}, usual, calm, Remedy::split, 2 * ms, false},
      {Code::internal, 14, {0}, careful, third, Remedy::fail, 0, true},
      {Code::internal, 77, {0}, usual, calm, Remedy::again, 0, false},
      {Code::impacting_interactivity, 14, {0}, usual, calm, Remedy::split, ms, false},
      {Code::impacting_interactivity, 0, {3}, usual, calm, Remedy::fail, 0, false},
      {Code::impacting_interactivity, 0, {0}, strict, calm, Remedy::fail, 0, false},
      {Code::impacting_interactivity, 0, {0}, careful, third, Remedy::fail, 0, true},
      {Code::out_of_memory, 8, {0}, usual, calm, Remedy::trim, 0, false},
      {Code::out_of_memory, 8, {1}, usual, calm, Remedy::fail, 0, false},
      {Code::out_of_memory, 0, {0}, strict, calm, Remedy::fail, 0, false},
      {Code::out_of_memory, 0, {0}, careful, third, Remedy::trim, 0, false},
      // What was ended by a watchdog runs again in smaller pieces, if at all.
      {Code::timeout, 2, {0, true}, usual, calm, Remedy::fail, 0, false},
      {Code::timeout, 2, {0, true}, halving, calm, Remedy::split, ms, false},
      {Code::timeout, 3, {0, false}, halving, calm, Remedy::fail, 0, false},
      {Code::timeout, 2, {1, true}, halving, calm, Remedy::fail, 0, false},
      {Code::timeout, 2, {0, true}, halving, gone, Remedy::fail, 0, false},
      {Code::impacting_interactivity, 14, {1, true}, usual, calm, Remedy::split, 2 * ms, false},
      {Code::page_fault, 11, {0, true}, halving, calm, Remedy::fail, 0, false},
      // A device that takes no work takes none again.
      {Code::innocent_victim, 0, {0, true}, usual, shut, Remedy::fail, 0, false},
      {Code::out_of_memory, 0, {0, true}, usual, shut, Remedy::fail, 0, false},
      // A number that only "internal" would make something of.
      {Code::timeout, 5, {0}, usual, calm, Remedy::fail, 0, false},
      {Code::timeout, 2, {0}, careful, calm, Remedy::fail, 0, false},
      {Code::timeout, 2, {0}, careful, third, Remedy::fail, 0, true},
      {Code::timeout, 2, {0}, usual, third, Remedy::fail, 0, false},
      {Code::page_fault, 11, {0}, careful, third, Remedy::fail, 0, true},
      {Code::invalid_resource, 9, {0}, careful, third, Remedy::fail, 0, true},
      {Code::stack_overflow, 0, {0}, careful, third, Remedy::fail, 0, true},
      {Code::memoryless, 0, {0}, careful, third, Remedy::fail, 0, true},
      {Code::access_revoked, 4, {0}, usual, calm, Remedy::fail, 0, false},
      {Code::device_removed, 0, {0}, careful, third, Remedy::fail, 0, false},
      {Code::submissions_ignored, 4, {0}, careful, third, Remedy::fail, 0, false},
      {Code::not_permitted, 6, {0}, usual, calm, Remedy::fail, 0, false},
      // Mistakes in the data don't hurt the device, whosever they are.
      {Code::singular_matrix, 0, {0}, careful, third, Remedy::fail, 0, false},
      {Code::not_positive_definite, 0, {0}, careful, third, Remedy::fail, 0, false},
      {Code::index_out_of_range, 0, {0}, careful, third, Remedy::fail, 0, false},
      {Code::negative_power, 0, {0}, careful, third, Remedy::fail, 0, false},
      {Code::host_callback, 0, {0}, careful, third, Remedy::fail, 0, false},
      {Code::io, 0, {0}, careful, third, Remedy::fail, 0, false},
      {unknown, 0, {0}, usual, calm, Remedy::again, 0, false},
      {unknown, 5, {1}, usual, calm, Remedy::fail, 0, false},
      {unknown, 0, {0}, careful, third, Remedy::again, 0, false},
  };
  bool covered[static_cast<int>(Code::count_)] = {};
  for (const auto& row : table) {
    const Decision decision = decide(row.code, row.raw, row.work, row.policy, row.history);
    CHECK(decision.remedy == row.remedy);
    CHECK(decision.delay == row.delay);
    CHECK(decision.suspend == row.suspend);
    if (row.code != unknown) covered[static_cast<int>(row.code)] = true;
  }
  for (int code = 1; code < static_cast<int>(Code::count_); ++code) CHECK(covered[code]);
  // Whatever the numbers, the pause is bounded, and trying again ends.
  for (std::uint32_t attempt = 0; attempt < 200; ++attempt) {
    const RecoveryPolicy slow = with([](auto& p) {
      p.victim_retries = most_retries;
      p.victim_backoff = std::int64_t{1} << 62;
    });
    const Decision decision = decide(Code::innocent_victim, 0, {attempt}, slow, calm);
    CHECK((decision.remedy == Remedy::again) == (attempt < most_retries));
    CHECK(decision.delay >= 0 && decision.delay <= longest_backoff);
  }
}

Fault fault_of(Code code, int injection = 0) {
  Fault fault;
  fault.code = code;
  fault.injection = injection;
  return fault;
}

void test_culprit_budget() {
  RecoveryPolicy policy;
  policy.culprit_budget = 3;
  policy.culprit_window = 100;
  Health health;
  health.set_policy(policy);
  health.failed(fault_of(Code::timeout), 1000);
  health.failed(fault_of(Code::page_fault), 1050);
  health.failed(fault_of(Code::timeout), 1100);  // the first is out of the window
  CHECK(health.takes_work() && health.condition() == Condition::degraded);
  for (Code code : {Code::singular_matrix, Code::innocent_victim, Code::out_of_memory}) {
    health.failed(fault_of(code), 1101);
  }
  CHECK(health.takes_work());
  health.failed(fault_of(Code::page_fault), 1149);
  CHECK(!health.takes_work() && health.condition() == Condition::suspended);
  CHECK(health.refusal().code == Code::not_permitted && health.refusal().args[0] == 3);
  // What was under way does not open it again; a reset does, and forgets.
  for (std::uint32_t i = 0; i < 3 * successes_to_recover; ++i) health.succeeded();
  CHECK(!health.takes_work());
  const Fault refusal = health.refusal();
  CHECK(health.reset() && health.takes_work() && health.condition() == Condition::ok);
  health.failed(refusal);  // what was turned away before the reset
  CHECK(health.condition() == Condition::ok);
  health.failed(fault_of(Code::page_fault), 1150);
  health.failed(fault_of(Code::page_fault), 1151);
  CHECK(health.takes_work());
  // A failure that is mended counts as well, if the work is to blame for it.
  const auto consider = [&](Code code, std::int64_t now) {
    Attempts first;
    return health.consider(fault_of(code), first, true, now);
  };
  CHECK(consider(Code::innocent_victim, 1152).remedy == Remedy::again);
  CHECK(consider(Code::impacting_interactivity, 1300).remedy == Remedy::split);
  CHECK(consider(Code::impacting_interactivity, 1301).remedy == Remedy::split);
  const Decision last = consider(Code::impacting_interactivity, 1302);
  CHECK(last.remedy == Remedy::fail && last.suspend);
  health.failed(fault_of(Code::impacting_interactivity), 1302);
  CHECK(!health.takes_work());
  // A budget of any size is kept to.
  policy.culprit_budget = 1000;
  Health large;
  large.set_policy(policy);
  CHECK(large.policy().culprit_budget == largest_culprit_budget);
  for (std::uint32_t i = 1; i < largest_culprit_budget; ++i) {
    large.failed(fault_of(Code::timeout), 2000);
  }
  CHECK(large.takes_work());
  large.failed(fault_of(Code::timeout), 2000);
  CHECK(!large.takes_work());
}

// Each code has tries of its own, and what they come to is kept.
void test_attempts() {
  Health health;
  Attempts attempts;
  const auto consider = [&](Code code, bool divisible = false) {
    const bool foreseen = health.mends(fault_of(code), attempts, divisible);
    const Remedy remedy = health.consider(fault_of(code), attempts, divisible).remedy;
    // In the same attempt once more: the answer is the same, and so is the number of attempts.
    const Attempts once = attempts;
    CHECK(health.consider(fault_of(code), attempts, divisible).remedy == remedy);
    CHECK(attempts.after == once.after && attempts.pause == once.pause);
    CHECK(attempts.failures == once.failures + (remedy != Remedy::fail ? 1 : 0));
    attempts.failures = once.failures;
    attempts.counted = 0;
    CHECK(foreseen == (remedy != Remedy::fail));
    return remedy;
  };
  CHECK(consider(Code::innocent_victim) == Remedy::again && attempts.pause == ms);
  CHECK(consider(Code::out_of_memory) == Remedy::trim && attempts.pause == ms);
  CHECK(consider(Code::innocent_victim) == Remedy::again && attempts.pause == 2 * ms);
  CHECK(consider(Code::internal) == Remedy::again);
  CHECK(attempts.failures == 4 && !attempts.split && !attempts.given_up);
  CHECK(consider(Code::io) == Remedy::fail && !attempts.given_up);  // another matter
  CHECK(consider(Code::out_of_memory) == Remedy::fail && attempts.given_up);
  CHECK(attempts.failures == 4);
  // What is one piece is tried again as it is.
  CHECK(consider(Code::impacting_interactivity) == Remedy::split && !attempts.split);
  CHECK(consider(Code::impacting_interactivity, true) == Remedy::split && attempts.split);
  // The driver's own number tells what it is.
  Fault hidden = fault_of(Code::internal);
  hidden.raw = 5;
  Attempts fresh;
  CHECK(health.consider(hidden, fresh, false).remedy == Remedy::again);
  CHECK(fresh.after[static_cast<int>(Code::innocent_victim)] == 1);
}

void test_lost() {
  for (Code code : {Code::access_revoked, Code::device_removed, Code::submissions_ignored}) {
    Health health;
    health.failed(Code::timeout);
    health.failed(fault_of(code, 1));
    CHECK(!health.takes_work() && !health.reset());
    CHECK(health.refusal().code == code && health.refusal().args[0] == 1);
    health.failed(health.refusal());
    // Lost on purpose only, and by this injection.
    health.end_injection(2);
    CHECK(!health.takes_work());
    const Fault refused = health.refusal();
    health.end_injection(1);
    CHECK(health.takes_work() && health.condition() == Condition::degraded);
    health.failed(refused);  // of work that was turned away before
    CHECK(health.takes_work() && health.condition() == Condition::degraded);
    health.failed(code);
    health.failed(fault_of(code, 1));
    health.end_injection(1);
    CHECK(!health.takes_work() && health.condition() == Condition::lost);
    // A loss that is real stays, also when it comes during an injected one.
    Health both;
    both.failed(fault_of(Code::access_revoked, 1));
    both.failed(code);
    CHECK(both.refusal().code == code);
    both.end_injection(1);
    both.end_injection(0);
    CHECK(!both.takes_work() && both.condition() == Condition::lost);
  }
  // A device that its budget had closed is closed afterwards too.
  RecoveryPolicy policy;
  policy.culprit_budget = 1;
  Health health;
  health.set_policy(policy);
  health.failed(Code::timeout);
  health.failed(fault_of(Code::device_removed, 1));  // it was under way
  CHECK(health.condition() == Condition::lost);
  health.end_injection(1);
  CHECK(!health.takes_work() && health.condition() == Condition::suspended);
  CHECK(health.refusal().code == Code::not_permitted);
  const Fault refused = health.refusal();
  CHECK(health.reset() && health.takes_work());
  health.failed(refused);
  CHECK(health.condition() == Condition::ok);
}

// What an injection struck may be met when it has ended.
void test_lost_too_late() {
  Injector injector;
  Health health(nullptr, &injector);
  const int ended = injector.add({});
  const int holds = injector.add({});
  injector.remove(ended);
  health.end_injection(ended);
  health.failed(fault_of(Code::device_removed, ended));
  CHECK(health.takes_work() && health.condition() == Condition::ok);
  health.failed(fault_of(Code::device_removed, holds));
  CHECK(!health.takes_work());
  health.failed(fault_of(Code::device_removed, ended));
  CHECK(!health.takes_work());
  const Fault refusal = health.refusal();
  injector.remove(holds);
  health.end_injection(holds);
  CHECK(health.takes_work());
  health.failed(refusal);  // what was turned away meanwhile
  CHECK(health.takes_work() && health.condition() == Condition::ok);
  // For real as well, while it is lost on purpose.
  const int another = injector.add({});
  health.failed(fault_of(Code::device_removed, another));
  health.failed(health.refusal());
  health.failed(Code::timeout);
  injector.remove(another);
  health.end_injection(another);
  CHECK(health.takes_work());
  const int last = injector.add({});
  health.failed(fault_of(Code::device_removed, last));
  health.failed(Code::access_revoked);
  injector.remove(last);
  health.end_injection(last);
  CHECK(!health.takes_work());
}

void test_health_of_many_threads() {
  RecoveryPolicy policy;
  policy.culprit_budget = 40;
  Health health;
  health.set_policy(policy);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 10; ++i) {
        health.failed(Code::timeout);
        Attempts attempts;
        health.consider(fault_of(Code::innocent_victim), attempts, false);
        health.mends(fault_of(Code::timeout), attempts, true);
        health.succeeded();
        health.policy();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(!health.takes_work() && health.refusal().args[0] == 40);
}

void test_names() {
  CHECK(std::strcmp(name(Condition::ok), "ok") == 0);
  CHECK(std::strcmp(name(Condition::degraded), "degraded") == 0);
  CHECK(std::strcmp(name(Condition::suspended), "suspended") == 0);
  CHECK(std::strcmp(name(Condition::lost), "lost") == 0);
  CHECK(std::strcmp(name(Phase::encode), "encode") == 0);
  CHECK(std::strcmp(name(Phase::completion), "completion") == 0);
}

}  // namespace

int main() {
  test_table();
  test_recovery();
  test_health();
  test_decisions();
  test_culprit_budget();
  test_attempts();
  test_lost();
  test_lost_too_late();
  test_health_of_many_threads();
  test_names();
}
