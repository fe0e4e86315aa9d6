// Device and Stream: what the core asks of a device, and the order of its work.
#pragma once

#include <atomic>
#include <bitset>
#include <cstdint>
#include <string>
#include <vector>

#include "nitinol/buffer.h"
#include "nitinol/error.h"
#include "nitinol/inject.h"
#include "nitinol/memory.h"
#include "nitinol/notice.h"
#include "nitinol/policy.h"

namespace nitinol {

class Device;
class Node;
class Submission;

// Work given to a stream runs in order. Streams are immortal and recycled: nodes
// point to theirs without counting.
struct Stream {
  Device* device = nullptr;
  std::uint32_t index = 0;  // on its device
  std::uint32_t id = 0;     // in the process

  // Under the graph lock: the submissions not yet committed, oldest first.
  Submission* head = nullptr;
  Submission* tail = nullptr;
  std::uint32_t in_flight = 0;
  // Those that are not done, committed or not: what is resolved stays until the signal is set.
  Submission* first_unfinished = nullptr;
  Submission* last_unfinished = nullptr;
  std::atomic<std::uint32_t> unresolved{0};  // how many are not; read without the lock, too
  std::size_t planned_bytes = 0;             // that they need, as far as it can be summed
  std::uint64_t ended = 0;                   // how many have resolved
  // When so many had ended, a wait for room was given up, and so many may be queued (see Room).
  std::uint64_t given_up_at = ~std::uint64_t{0};
  std::uint32_t let_pass = 0;
};

// Devices are immortal.
class Device {
 public:
  Device(const char* kind, int index, std::size_t memory_limit,
         MemorySource& source = MemorySource::host());
  virtual ~Device() = default;

  // Starts a submission whose dependencies have resolved. It must lead to exactly
  // one Submission::complete and one Resolver::resolve, whatever fails.
  virtual void commit(Submission* submission) noexcept = 0;
  // After the completion, before anything is published: what became of each unit, where
  // that is not known by then. By the thread that resolves, without a lock. False when the
  // submission goes on, in place; it was reopened then, and is the device's again.
  virtual bool conclude(Submission&) noexcept { return true; }
  // Can it work on memory that is not of its own allocator (a NumPy array's)?
  virtual bool borrows() const noexcept { return true; }
  // Memory of this device's that holds the elements of `x`, an array of another device, in
  // row-major order: shared with x, or copied by the host. Null where that is the device's work.
  virtual Ref<Buffer> import(const Node&) noexcept { return nullptr; }
  // Are units launched together, and concluded when their submission has ended, so that their
  // transients are in use until then (see Recycler)? Else each is concluded before the next
  // one starts.
  virtual bool runs_later() const noexcept { return false; }
  // Submissions of one stream that may be committed at the same time.
  virtual std::uint32_t depth() const noexcept { return 1; }
  // Is this submission so small that handing it over costs more than running it on
  // the calling thread, under the graph lock? Nothing in it may wait or be injected.
  virtual bool runs_inline(const Submission&) const noexcept { return false; }
  virtual void run_inline(Submission&) noexcept {}
  // Is it so short that the thread that waits for it should run it itself, outside the
  // lock? A sleeping thread takes some 40 us to hand work to.
  virtual bool runs_on_caller(const Submission&) const noexcept { return false; }
  // Like a commit, on the calling thread.
  virtual void run_on_caller(Submission&) noexcept {}

  const char* name() const noexcept { return name_.c_str(); }
  const char* kind() const noexcept { return kind_; }
  int index() const noexcept { return index_; }

  // What the hardware is called.
  virtual const char* hardware() const noexcept { return kind_; }
  // What can neither be held nor run here: asked when a graph is built.
  bool lacks(DType dtype) const noexcept { return (lacked_types_ >> static_cast<int>(dtype)) & 1; }
  bool lacks(Op op) const noexcept { return lacked_ops_[static_cast<std::size_t>(op)]; }

  static const std::vector<Device*>& all() noexcept;
  static void add(Device* device);

  Stream* default_stream() noexcept { return default_stream_; }
  Stream* make_stream();
  void recycle_stream(Stream* stream) noexcept;

  Allocator memory;
  ErrorRecord record;
  Injector injector;
  Notices notices;
  Health health{&notices, &injector};
  std::atomic<std::uint64_t> submissions{0};
  std::atomic<std::uint64_t> units{0};

 protected:
  std::uint32_t lacked_types_ = 0;  // bits, by DType
  std::bitset<op_count> lacked_ops_;

 private:
  const char* kind_;
  int index_;
  std::string name_;
  friend class Planner;
  std::vector<Stream*> streams_;  // under the graph lock
  std::vector<Stream*> idle_;
  std::uint32_t next_index_ = 0;
  Stream* default_stream_;
};

}  // namespace nitinol
