// Tests of the decisions about failures, by table.
#include <cstring>
#include <thread>
#include <vector>

#include "check.h"
#include "nitinol/error.h"
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
  test_names();
}
