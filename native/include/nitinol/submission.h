// Submission: a part of the graph handed to one stream as a whole, made of units.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>

#include "nitinol/arena.h"
#include "nitinol/error.h"
#include "nitinol/node.h"
#include "nitinol/policy.h"
#include "nitinol/program.h"
#include "nitinol/ref.h"
#include "nitinol/scope.h"
#include "nitinol/wait.h"
#include "nitinol/watch.h"

namespace nitinol {

class Device;
struct Stream;

enum class UnitStatus : std::uint8_t {
  waiting,
  launched,  // on a device that runs later: what became of it is not known yet
  succeeded,
  failed,   // by itself: `fault` says how
  void_,    // depends on a failure, never launched
  skipped,  // nobody refers to its outputs any more
};

// The grain of failure: one kernel, or one fused program.
struct Unit {
  Op op = Op::data;  // of the kernel; of the last instruction of a program
  UnitStatus status = UnitStatus::waiting;
  Phase phase = Phase::completion;
  bool fused = false;
  const Program* program = nullptr;  // null: a kernel
  std::span<Node*> inputs;           // distinct, kept alive by the outputs
  std::span<Node*> outputs;          // owned until resolved
  std::span<Node*> voided;           // likewise: they inherit a failure, the outputs don't
  std::span<Node*> releases;         // transients nobody reads after this unit
  std::span<std::uint32_t> edges;    // of each output: how many inputs of planned nodes it is
  Node* donor = nullptr;             // whose storage the output takes over
  bool imported = false;             // the output has its value already: nothing to launch
  Fault fault;                       // how it failed; of a launched unit, what is to strike it
  bool doomed = false;               // launched, and that strikes whatever happens
  Code secondary = Code::none;       // a second failure of the same unit
  Keep* exception = nullptr;         // owned until resolved
  const char* detail = nullptr;      // a sentence for the report, alive until resolved
};

// How a submission ended, filled by one CAS in the completion handler.
struct Outcome {
  enum State : std::uint8_t { pending, writing, complete };
  std::atomic<std::uint8_t> state{pending};
  Fault fault;  // of the submission as a whole; Code::none: look at the units
  Phase phase = Phase::completion;
  std::span<const ReportedEncoder> encoders;  // alive until resolved; the failed ones first
};

class Submission : public Counted<Submission>, public Census<Submission> {
 public:
  std::uint64_t id = 0;
  Device* device = nullptr;
  Stream* stream = nullptr;
  Ref<Scope> scope;  // what its failures belong to; null: to nobody in particular
  std::span<Unit> units;
  std::size_t planned_bytes = 0;  // the peak that its units need at once
  // The same, such that those of a stream can be summed.
  std::size_t summable_bytes() const noexcept {
    constexpr std::size_t most = std::size_t{1} << 44;
    return planned_bytes < most ? planned_bytes : most;
  }
  Arena arena;
  Outcome outcome;
  Attempts attempts;       // of the present unit where units run in turn, else of all of it
  bool repeatable = true;  // the units launched so far give the same when all of them run again
  bool ran = false;        // some of them may have run
  Signal done;
  Submission* next_in_queue = nullptr;  // of the device, between commit and launch
  void* flight = nullptr;               // what the device keeps for it between launch and end

  // The completion: once, from any thread, without lock or allocation. The caller
  // (or the resolver thread) then runs Resolver::resolve for the device.
  // False when it was completed before: a second completion is ignored.
  bool complete(const Fault& fault = {}, Phase phase = Phase::completion) noexcept;
  // By the device that concludes it: it goes on, and is to be completed once more.
  void reopen() noexcept;

 private:
  friend class ErrorRecord;
  friend class Planner;
  friend class Resolver;
  friend class Room;
  friend class Watch;
  friend struct Stream;

  // A dependent's entry in the list of the submission it waits for. It lives in the
  // dependent's arena and is read before the decrement that gives it away.
  struct Edge {
    Submission* dependent = nullptr;
    Edge* next = nullptr;
  };

  // Under the graph lock.
  Edge* dependents_ = nullptr;
  std::uint32_t pending_ = 0;  // dependencies that have not resolved
  std::uint64_t stamp_ = 0;    // the last planned submission that depends on this one
  Submission* next_in_stream_ = nullptr;
  // The submissions of its stream that are not done.
  Submission* previous_ = nullptr;
  Submission* next_ = nullptr;
  Submission* next_in_list_ = nullptr;  // of those resolved together

  Submission* next_completed_ = nullptr;  // in the record's completion list
  std::atomic<Watch*> watches_{nullptr};  // to be told when it is done
};

}  // namespace nitinol
