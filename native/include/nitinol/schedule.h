// Scheduling: from lazy nodes to submissions in the streams' queues.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "nitinol/node.h"
#include "nitinol/ref.h"
#include "nitinol/submission.h"

namespace nitinol {

// What an eval waits for.
class Evaluation : public Counted<Evaluation> {
 public:
  bool done() const noexcept;
  // True when everything has resolved; false after `nanoseconds` or a Unix signal.
  bool wait(std::int64_t nanoseconds) noexcept;

 private:
  friend class Planner;
  friend class Watch;
  std::vector<Ref<Submission>> waits_;
};

enum class Refusal : std::uint8_t { none, forked, closed };

struct ScheduleResult {
  Refusal refusal = Refusal::none;
  Ref<Evaluation> evaluation;  // null: everything is resolved already
  Ref<Submission> for_caller;  // committed to the calling thread, which runs it next
};

// Plans what the roots need, hands it to the streams and returns at once. Small
// graphs whose inputs are there run on the calling thread (`may_run_inline`).
// What fails of it belongs to `scope`. Throws std::bad_alloc before anything is claimed.
// No GIL needed, none taken.
ScheduleResult schedule(std::span<Node* const> roots, bool may_run_inline, Scope* scope = nullptr);

// What is scheduled and unresolved on a stream (null: on all of a device's).
Ref<Evaluation> pending_work(Device* device, Stream* stream);
// The same of what was submitted in a scope, on every device.
Ref<Evaluation> pending_work(const Scope& scope);

// Tests force the cuts: 1 keeps every operation apart.
void set_fusion_limit(int instructions) noexcept;
int fusion_limit() noexcept;

// No more work is accepted; what has not started is skipped.
void close() noexcept;
bool closed() noexcept;
// True in a child that was forked after the library was loaded.
bool forked() noexcept;

}  // namespace nitinol
