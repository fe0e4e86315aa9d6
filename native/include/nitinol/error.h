// Report, Poison and ErrorRecord: what is known of a failure, who inherited it, and
// where a device keeps what nobody has seen yet.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "nitinol/dtype.h"
#include "nitinol/fault.h"
#include "nitinol/op.h"
#include "nitinol/reclaim.h"
#include "nitinol/ref.h"
#include "nitinol/scope.h"
#include "nitinol/trace.h"

namespace nitinol {

class Device;
class Submission;

enum class Phase : std::uint8_t { encode, commit, completion };
const char* name(Phase phase) noexcept;

// Who saw a report first. Everything but `nobody` counts as observed (G4).
enum class Observer : std::uint8_t { nobody, raised, drained, collected, printed };

// One output of the failed unit.
struct ReportedArray {
  static constexpr int max_axes = 8;
  Op op = Op::data;
  DType dtype = DType::bool_;
  std::uint8_t ndim = 0;  // may exceed max_axes: then shape holds the first ones
  std::int64_t shape[max_axes] = {};
  const SourceLine* source = nullptr;  // that made it; null unless somebody debugged
};

// What became of one pass over a command buffer that failed.
enum class EncoderState : std::uint8_t { unknown, completed, affected, pending, faulted };
const char* name(EncoderState state) noexcept;

struct ReportedEncoder {
  static constexpr int max_label = 64;
  char label[max_label] = {};  // the ops that it ran
  EncoderState state = EncoderState::unknown;
};

// The immutable account of one failed unit. Fixed size, metadata only: it never
// refers to nodes or buffers, so holding one keeps nothing else alive.
class Report : public Counted<Report>, public Census<Report> {
 public:
  static constexpr int max_arrays = 4;
  static constexpr int max_encoders = 4;
  static constexpr int max_text = 240;

  Fault fault;
  Code secondary = Code::none;
  Phase phase = Phase::completion;
  Op op = Op::data;
  std::uint8_t array_count = 0;  // may exceed max_arrays
  std::uint32_t stream = 0;
  std::uint32_t unit = 0;
  std::uint32_t instructions = 1;  // more than one: a fused program
  std::uint64_t submission = 0;
  const Device* device = nullptr;
  ReportedArray arrays[max_arrays];
  char text[max_text] = {};    // the path of a file
  char detail[max_text] = {};  // what a compiler or driver said
  std::uint8_t encoder_count = 0;
  ReportedEncoder encoders[max_encoders];
  Ref<Keep> exception;  // of a host callback
  Ref<Scope> scope;     // that the work was submitted in; null: in none
  // What the other runtime shows for it: made when first asked for, one for all.
  mutable std::atomic<Keep*> translation{nullptr};

  ~Report() {
    if (Keep* kept = translation.load(std::memory_order_acquire)) kept->release();
  }

  Observer observer() const noexcept { return observer_.load(std::memory_order_acquire); }
  // True for the one caller that saw it first.
  bool observe(Observer by) const noexcept {
    Observer nobody = Observer::nobody;
    return observer_.compare_exchange_strong(nobody, by, std::memory_order_acq_rel);
  }

  bool operator<(const Report& other) const noexcept;  // (device, submission, unit)

 private:
  friend class ErrorRecord;
  friend class Notices;
  friend class Scope;
  mutable std::atomic<Observer> observer_{Observer::nobody};
  // Each list that a report may be on has a link of its own.
  Report* next_ = nullptr;
  Report* next_in_scope_ = nullptr;
  Report* next_notice_ = nullptr;
};

// The sorted set of root reports that spoilt an array. Shared by all who inherit it.
class Poison : public Counted<Poison> {
 public:
  explicit Poison(Ref<Report> root) { roots_.push_back(std::move(root)); }
  // The union of two sets; one of them itself when it holds the other.
  static Ref<Poison> merge(const Ref<Poison>& a, const Ref<Poison>& b);
  std::span<const Ref<Report>> roots() const noexcept { return roots_; }

 private:
  Poison() = default;
  std::vector<Ref<Report>> roots_;
};

struct ErrorCounts {
  std::uint64_t struck;
  std::uint64_t recovered;
  std::uint64_t retried;
  std::uint64_t raised;
  std::uint64_t drained;
  std::uint64_t collected;
  std::uint64_t printed;
  std::uint64_t suppressed;
  std::uint64_t unobserved;
};

// One per device. Completion handlers push submissions, lock-free; the resolver
// pushes reports; the eval path loads one word.
class ErrorRecord {
 public:
  // From a completion handler: allocates nothing, takes no lock.
  void push_completed(Submission* submission) noexcept;
  // Everything completed so far, oldest first.
  Submission* take_completed() noexcept;

  // A poison whose one report is still blank, for a new failure. Without memory it is
  // the one that was kept in reserve, and null when that is in use already. Under the
  // graph lock, as the two below.
  Ref<Poison> blank() noexcept;
  // What stands in for a failure that could not even be reported.
  Ref<Poison> stand_in() const noexcept { return spent_; }
  // False without memory; the next call tries again.
  bool keep_reserve() noexcept;

  // Before the failed slots are published.
  void push(Ref<Report> report) noexcept;
  // Marks as observed by `by`; counts it, and forgets it here now and then.
  bool observe(const Report& report, Observer by) noexcept;
  // The reports that nobody has observed and `by` may (stream < 0: of every stream), oldest
  // first, still unobserved: whoever can tell of them observes them. Those of a scope are left to
  // it, but printed at exit, and drained once nobody can ask the scope.
  std::vector<Ref<Report>> unobserved(Observer by, std::int64_t stream);
  // The same, marked as observed by `by`.
  std::vector<Ref<Report>> collect(Observer by, std::int64_t stream);
  // Forgets here what was observed.
  void sweep() noexcept;

  void suppress(std::uint64_t failures = 1) noexcept {
    suppressed_.fetch_add(failures, std::memory_order_relaxed);
  }
  // A failure whose work is tried again in place; what became of it is said later, by
  // `recover` or `suppress`.
  void retried(Code code) noexcept {
    retried_.fetch_add(1, std::memory_order_relaxed);
    by_code_[static_cast<int>(code)].fetch_add(1, std::memory_order_relaxed);
  }
  // So many failures never became reports, because trying again helped.
  void recover(std::uint64_t failures) noexcept {
    struck_.fetch_add(failures, std::memory_order_release);
    recovered_.fetch_add(failures, std::memory_order_release);
  }
  // What the eval path loads: zero while nothing ever failed.
  std::uint64_t failures() const noexcept { return struck_.load(std::memory_order_acquire); }
  ErrorCounts counts() const noexcept;
  std::uint64_t failures(Code code) const noexcept {
    return by_code_[static_cast<int>(code)].load(std::memory_order_relaxed);
  }

 private:
  std::atomic<Submission*> completed_{nullptr};
  std::atomic<Report*> unobserved_{nullptr};
  std::atomic<std::uint64_t> struck_{0};
  std::atomic<std::uint64_t> suppressed_{0};
  std::atomic<std::uint64_t> recovered_{0};
  std::atomic<std::uint64_t> retried_{0};
  std::atomic<std::uint64_t> observed_[5] = {};
  std::atomic<std::uint64_t> by_code_[static_cast<int>(Code::count_)] = {};
  Ref<Poison> reserve_;
  Ref<Poison> spent_;   // the reserve that was used last
  std::mutex readers_;  // nothing leaves the list of reports without it
};

}  // namespace nitinol
