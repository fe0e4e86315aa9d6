// The tables behind the decisions about failures.
#include "nitinol/policy.h"

#include <cstring>

#include "nitinol/error.h"
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

void Health::enter(Condition condition) noexcept {
  const Condition before = condition_.exchange(condition, std::memory_order_acq_rel);
  if (notices_ && before != condition) notices_->changed(before, condition);
}

void Health::failed(Code code) noexcept {
  successes_.store(0, std::memory_order_relaxed);
  enter(after_failure(condition(), code));
}

void Health::succeeded() noexcept {
  if (condition() == Condition::ok) return;
  const std::uint32_t n = successes_.fetch_add(1, std::memory_order_relaxed) + 1;
  enter(after_success(condition(), n));
}

}  // namespace nitinol
