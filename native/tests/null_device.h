// NullDevice: a device for tests that computes with plain loops, and completes submissions late,
// out of order, twice, never or failed, from any thread, several of a stream at a time.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "check.h"
#include "nitinol/device.h"
#include "nitinol/recycler.h"
#include "nitinol/resolver.h"
#include "nitinol/runner.h"
#include "nitinol/schedule.h"

namespace nitinol::testing {

struct Behaviour {
  std::uint32_t depth = 1;
  int threads = 0;               // none: the test itself calls next(), execute() and finish()
  unsigned seed = 1;             // of all that follows, in thousandths
  int unit_faults = 0;           // a unit that ran fails
  int whole_faults = 0;          // a submission whose units ran fails
  int late = 0;                  // a completion is left to whoever finds nothing else to do
  int twice = 0;                 // a completion is repeated
  std::size_t inline_units = 0;  // submissions of at most so many units run inline,
  std::size_t caller_units = 0;  // and of at most so many on the thread that waits
  bool later = false;            // what became of a unit is found out at the submission's end
  int held = 200;                // and its inputs are kept for that
  RecoveryPolicy recovery = nothing_mended();

  static RecoveryPolicy nothing_mended() {
    RecoveryPolicy policy;
    policy.victim_retries = 0;
    policy.out_of_memory_retry = policy.internal_retry = policy.split_interactivity = false;
    return policy;
  }
};

inline Fault fault_of(Code code) {
  Fault fault;
  fault.code = code;
  return fault;
}

// Which report an array must raise: (submission, unit).
using Root = std::pair<std::uint64_t, std::uint32_t>;

// Tests give each node a number, to find again what became of it.
inline std::int64_t tag(const Node& node) { return node.params() ? node.params()->ints.at(0) : -1; }

// One element, the array broadcast to `shape`. Elements are bool or int64.
inline char* element(const Node& node, std::span<const std::int64_t> shape, std::int64_t flat) {
  const Layout& layout = node.layout();
  std::int64_t at = 0;
  for (int axis = static_cast<int>(shape.size()) - 1; axis >= 0; --axis) {
    const std::int64_t index = flat % shape[axis];
    flat /= shape[axis];
    const int own = axis - static_cast<int>(shape.size()) + layout.ndim();
    if (own >= 0 && layout.shape(own) != 1) at += index * layout.stride(own);
  }
  return node.data() + at * static_cast<std::int64_t>(itemsize(node.dtype()));
}
inline std::int64_t load(const Node& node, std::span<const std::int64_t> shape, std::int64_t flat) {
  const char* at = element(node, shape, flat);
  if (node.dtype() == DType::bool_) return *at != 0;
  std::int64_t value;
  std::memcpy(&value, at, sizeof value);
  return value;
}
inline void store(const Node& node, std::int64_t flat, std::int64_t value) {
  char* at = element(node, node.layout().shape(), flat);
  if (node.dtype() == DType::bool_) {
    *at = value != 0;
  } else {
    std::memcpy(at, &value, sizeof value);
  }
}

inline std::int64_t apply(Op op, const std::int64_t* x) {
  const auto u = [](std::int64_t v) { return static_cast<std::uint64_t>(v); };
  switch (op) {
    case Op::add:
      return static_cast<std::int64_t>(u(x[0]) + u(x[1]));
    case Op::subtract:
      return static_cast<std::int64_t>(u(x[0]) - u(x[1]));
    case Op::multiply:
      return static_cast<std::int64_t>(u(x[0]) * u(x[1]));
    case Op::negative:
      return static_cast<std::int64_t>(0 - u(x[0]));
    case Op::less:
      return x[0] < x[1];
    case Op::where:
      return x[0] ? x[1] : x[2];
    case Op::cast:
      return x[0];
    default:
      CHECK(!"an operation that the tests' device knows");
      return 0;
  }
}

// What a kernel of any number of inputs gives; it stands for all of them.
inline std::int64_t mix(std::int64_t so_far, std::int64_t value, std::size_t input) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(so_far) * 31 +
                                   static_cast<std::uint64_t>(value) * (input + 3) + 1);
}

class NullDevice final : public Device {
 public:
  // Devices are immortal: this one is never deleted.
  static NullDevice& make(const Behaviour& behaviour = {},
                          std::size_t limit = std::size_t{1} << 32) {
    auto* device = new NullDevice(behaviour, limit);
    Device::add(device);
    return *device;
  }
  NullDevice(const Behaviour& behaviour, std::size_t limit)
      : Device("null", 0, limit), behaviour_(behaviour), random_(behaviour.seed) {
    committed_.reserve(1024);  // a commit allocates nothing
    health.set_policy(behaviour.recovery);
    for (int i = 0; i < behaviour.threads; ++i) threads_.emplace_back([this] { serve(); });
  }
  // Ends the threads, once everything they were given is done.
  void stop() {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    work_.notify_all();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

  void commit(Submission* submission) noexcept override {
    {
      std::lock_guard lock(mutex_);
      CHECK(submission->id > 0 && committed_.size() < committed_.capacity());
      committed_.push_back(Ref<Submission>::share(submission));
      most_ = std::max(most_, ++committed_of_.at(submission->stream->index));
      CHECK(committed_of_.at(submission->stream->index) <= static_cast<int>(behaviour_.depth));
    }
    work_.notify_one();
  }
  std::uint32_t depth() const noexcept override { return behaviour_.depth; }
  bool runs_inline(const Submission& submission) const noexcept override {
    return submission.units.size() <= behaviour_.inline_units;
  }
  void run_inline(Submission& submission) noexcept override {
    execute(submission, false);
    ++inline_runs;
  }

  bool runs_later() const noexcept override { return behaviour_.later; }
  bool conclude(Submission& submission) noexcept override {
    const std::unique_ptr<Flight> flight(static_cast<Flight*>(submission.flight));
    if (!flight) return true;
    submission.flight = nullptr;
    if (Runner::again(submission)) {
      paused += std::exchange(submission.attempts.pause, 0);
      commit(&submission);
      return false;
    }
    for (const auto& [unit, own] : flight->launched) {
      if (submission.outcome.fault.code != Code::none) {
        Runner::lose(*unit);
      } else if (Runner::still_valid(*unit)) {
        const Fault fault = own.code == Code::none ? unit->fault : own;
        if (fault.code == Code::none) {
          Runner::succeed(*unit);
        } else {
          Runner::fail(*unit, fault, Phase::completion, true);
          note(submission, *unit, *unit);
        }
        units_run += unit->status == UnitStatus::succeeded;
      }
    }
    return true;
  }

  bool runs_on_caller(const Submission& submission) const noexcept override {
    return submission.units.size() <= behaviour_.caller_units;
  }
  void run_on_caller(Submission& submission) noexcept override {
    {
      std::lock_guard lock(mutex_);
      CHECK(++committed_of_.at(submission.stream->index) <= static_cast<int>(behaviour_.depth));
    }
    const Ref<Submission> held = Ref<Submission>::share(&submission);
    execute(submission);
    Fault whole;
    if (!calm && chance(behaviour_.whole_faults)) whole.code = Code::innocent_victim;
    finish(held, whole);
  }

  // The oldest submission that was committed and not taken yet; null if there is none.
  Ref<Submission> next() {
    std::lock_guard lock(mutex_);
    if (committed_.empty()) return nullptr;
    Ref<Submission> first = std::move(committed_.front());
    committed_.erase(committed_.begin());
    return first;
  }
  std::size_t waiting() {
    std::lock_guard lock(mutex_);
    return committed_.size();
  }
  void execute(Submission& submission, bool skip = true) noexcept {
    if (skip) Runner::skip_unwanted(submission);
    if (skip && behaviour_.later) return execute_later(submission);
    for (Unit& unit : submission.units) {
      do {
        Fault after;
        if (Runner::prepare(*this, unit, after)) launch(unit, after);
        paused += std::exchange(submission.attempts.pause, 0);
      } while (unit.status == UnitStatus::waiting);
      if (unit.status == UnitStatus::failed) note(submission, unit, unit);
      units_run += unit.status == UnitStatus::succeeded;
    }
  }
  // The completion handler, then the resolver.
  void finish(const Ref<Submission>& submission, const Fault& fault = {}) noexcept {
    if (fault.code != Code::none) note_whole(*submission);
    leave(*submission);
    CHECK(submission->complete(fault));
    if (chance(behaviour_.twice)) {
      Fault again;
      again.code = Code::internal;
      CHECK(!submission->complete(again));
    }
    if (behaviour_.threads > 1 && chance(500)) std::this_thread::yield();
    Resolver::resolve(*this);
  }
  // For tests that complete a submission themselves: it takes no room in its stream any more.
  void leave(const Submission& submission) {
    std::lock_guard lock(mutex_);
    --committed_of_.at(submission.stream->index);
  }
  // Runs what is committed, in order, until nothing is left.
  void run_all() {
    while (Ref<Submission> submission = next()) {
      execute(*submission);
      finish(submission);
    }
  }

  // The failure that struck the unit of this array itself, if one did.
  bool struck(std::int64_t number, Root& root) {
    std::lock_guard lock(mutex_);
    const auto at = struck_.find(number);
    if (at == struck_.end()) return false;
    root = at->second;
    return true;
  }
  std::uint64_t failures() {
    std::lock_guard lock(mutex_);
    return failures_;
  }
  int most_committed() {
    std::lock_guard lock(mutex_);
    return most_;
  }
  // The unit that has this array among its outputs will fail.
  void fail_unit_of(std::int64_t number, Code code) {
    std::lock_guard lock(mutex_);
    planned_[number] = code;
  }
  void mend() {
    std::lock_guard lock(mutex_);
    planned_.clear();
  }

  std::atomic<bool> calm{false};        // no failures by chance from now on
  std::atomic<std::int64_t> paused{0};  // nanoseconds that units were to wait
  std::atomic<std::int64_t> units_run{0};
  std::atomic<std::int64_t> inline_runs{0};
  std::atomic<std::int64_t> donations{0};
  std::atomic<std::uint64_t> suppressed{0};  // failures that came second

 private:
  bool chance(int thousandths) {
    if (thousandths == 0) return false;
    std::lock_guard lock(mutex_);
    return static_cast<int>(random_() % 1000) < thousandths;
  }

  void note(const Submission& submission, const Unit& first, const Unit& unit) {
    std::lock_guard lock(mutex_);
    const auto index = static_cast<std::uint32_t>(&first - submission.units.data());
    failures_ += &first == &unit;
    for (Node* output : unit.outputs) struck_[tag(*output)] = {submission.id, index};
  }
  void note_whole(const Submission& submission) {
    const Unit* first = nullptr;
    const UnitStatus ran = submission.flight ? UnitStatus::launched : UnitStatus::succeeded;
    for (const Unit& unit : submission.units) {
      if (unit.status != ran) continue;
      if (!first) first = &unit;
      note(submission, *first, unit);
    }
    suppressed += first == nullptr;  // there was nothing left for it to spoil
  }

  // Everything runs, on what failed units left as well, in memory that goes round.
  struct Flight {
    Recycler recycler;
    std::vector<std::pair<Unit*, Fault>> launched;  // with faults that show at the end
  };

  void execute_later(Submission& submission) noexcept {
    auto flight = std::make_unique<Flight>();
    flight->recycler.reserve(submission);
    for (Unit& unit : submission.units) {
      Fault after;
      if (Runner::prepare(*this, unit, after, &flight->recycler)) {
        compute(unit);
        Fault own = after.code == Code::none ? decide(unit) : Fault{};
        // Some are known of before they strike.
        if (own.code != Code::none && chance(300)) after = std::exchange(own, Fault{});
        if (chance(behaviour_.held)) {
          for (Node* input : unit.inputs) flight->recycler.hold(input->storage());
        }
        flight->launched.emplace_back(&unit, own);
        Runner::launched(unit, after, flight->recycler);
      } else if (unit.status == UnitStatus::waiting) {
        // It failed before it ran, and runs again with all the others.
        Runner::start_over(submission);
        paused += std::exchange(submission.attempts.pause, 0);
        flight = nullptr;
        return execute_later(submission);
      }
    }
    submission.ran = true;
    submission.flight = flight.release();
  }

  void launch(Unit& unit, const Fault& after) {
    compute(unit);
    const Fault own = decide(unit);
    Runner::conclude(unit, own.code == Code::none ? after : own, Phase::completion, true);
  }

  Fault decide(const Unit& unit) {
    Fault fault;
    {
      std::lock_guard lock(mutex_);
      for (Node* output : unit.outputs) {
        const auto at = planned_.find(tag(*output));
        if (at != planned_.end()) fault.code = at->second;
      }
    }
    if (fault.code == Code::none && !calm && chance(behaviour_.unit_faults)) {
      fault.code = Code::page_fault;
    }
    return fault;
  }

  void compute(Unit& unit) {
    for (Node* input : unit.inputs) CHECK(input->buffer() != nullptr);
    for (Node* output : unit.outputs) CHECK(output->buffer() != nullptr);
    if (unit.program) {
      run_program(unit);
    } else if (unit.op == Op::slice_update) {
      update(unit);
    } else {
      run_kernel(unit);
    }
  }

  static void run_program(const Unit& unit) {
    const Program& program = *unit.program;
    CHECK(program.code.size() <= static_cast<std::size_t>(fusion_limit()));
    CHECK(program.inputs == unit.inputs.size());
    CHECK(program.outputs == unit.outputs.size());
    const std::size_t first_register = program.inputs + program.outputs;
    const std::size_t slots = first_register + program.registers.size();
    const std::span<const std::int64_t> shape = unit.outputs[0]->layout().shape();
    std::vector<std::int64_t> value(slots);
    for (std::int64_t e = 0; e < unit.outputs[0]->layout().size(); ++e) {
      std::vector<bool> known(slots, false);
      for (std::size_t i = 0; i < program.inputs; ++i) {
        value[i] = load(*unit.inputs[i], shape, e);
        known[i] = true;
      }
      for (const Instruction& step : program.code) {
        std::int64_t operands[3];
        for (int k = 0; k < step.arity; ++k) {
          CHECK(known.at(step.source[k]));
          operands[k] = value[step.source[k]];
        }
        CHECK(step.target >= program.inputs && step.target < slots);
        if (step.target >= first_register) {
          const DType room = program.registers[step.target - first_register];
          CHECK(itemsize(room) == itemsize(step.out));
        } else {
          CHECK(!known[step.target]);
          CHECK(unit.outputs[step.target - program.inputs]->dtype() == step.out);
        }
        value[step.target] = apply(step.op, operands);
        known[step.target] = true;
      }
      for (std::size_t i = 0; i < program.outputs; ++i) {
        CHECK(known[program.inputs + i]);
        store(*unit.outputs[i], e, value[program.inputs + i]);
      }
    }
  }

  static void run_kernel(const Unit& unit) {
    Node& output = *unit.outputs[0];
    for (std::int64_t e = 0; e < output.layout().size(); ++e) {
      std::int64_t sum = 0;
      for (std::size_t k = 0; k < unit.inputs.size(); ++k) {
        const Node& input = *unit.inputs[k];
        const auto size = input.layout().size();
        sum = mix(sum, load(input, input.layout().shape(), (e + 1) % size), k);
      }
      store(output, e, sum);
    }
  }

  // One dimension: x, update, start.
  void update(const Unit& unit) {
    Node& output = *unit.outputs[0];
    const Node& x = *unit.inputs[0];
    const Node& fresh = *unit.inputs[1];
    const std::int64_t size = output.layout().size();
    const std::int64_t count = fresh.layout().size();
    const std::int64_t start =
        std::clamp<std::int64_t>(load(*unit.inputs[2], {}, 0), 0, size - count);
    if (unit.donor) {
      ++donations;
      CHECK(x.storage()->buffer() == output.buffer());
    } else {
      for (std::int64_t e = 0; e < size; ++e) store(output, e, load(x, x.layout().shape(), e));
    }
    for (std::int64_t e = 0; e < count; ++e) {
      store(output, start + e, load(fresh, fresh.layout().shape(), e));
    }
  }

  void serve() {
    for (;;) {
      Ref<Submission> submission;
      bool executed = false;
      {
        std::unique_lock lock(mutex_);
        work_.wait(lock, [this] { return stopping_ || !committed_.empty() || !executed_.empty(); });
        auto& from = committed_.empty() ? executed_ : committed_;
        if (from.empty()) return;
        executed = committed_.empty();
        const std::size_t at = random_() % from.size();
        submission = std::move(from[at]);
        from.erase(from.begin() + static_cast<std::ptrdiff_t>(at));
      }
      if (!executed) {
        execute(*submission);
        if (chance(behaviour_.late)) {
          {
            std::lock_guard lock(mutex_);
            executed_.push_back(std::move(submission));
          }
          work_.notify_one();
          continue;
        }
      }
      Fault whole;
      if (!calm && chance(behaviour_.whole_faults)) whole.code = Code::innocent_victim;
      finish(submission, whole);
    }
  }

  const Behaviour behaviour_;
  std::mutex mutex_;
  std::condition_variable work_;
  std::mt19937 random_;
  bool stopping_ = false;
  std::vector<Ref<Submission>> committed_;
  std::vector<Ref<Submission>> executed_;
  std::array<int, 256> committed_of_{};  // by the index of the stream
  int most_ = 0;
  std::map<std::int64_t, Root> struck_;
  std::map<std::int64_t, Code> planned_;
  std::uint64_t failures_ = 0;
  std::vector<std::thread> threads_;
};

// The sentence that makes a failed random test repeatable.
inline unsigned announce(const char* test, unsigned seed) {
  std::fprintf(stderr, "%s: seed %u\n", test, seed);
  return seed;
}

}  // namespace nitinol::testing
