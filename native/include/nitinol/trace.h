// Trace: what a node remembers of where it was made, while somebody debugs.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "nitinol/dtype.h"
#include "nitinol/op.h"

namespace nitinol {

// A line of the user's program. Interned and immortal, so that reports may point to it.
struct SourceLine {
  std::string file;
  std::string function;
  int line = 0;
};

// Beside a node, from its making to its end. The counts are those that tell why a node may not give
// up its memory.
struct Trace {
  explicit Trace(const SourceLine* made_at, bool of_donations) noexcept
      : source(made_at), donations(of_donations) {}
  const SourceLine* const source;  // null where no line is known
  const bool donations;            // is a refused donation to this node told?
  std::atomic<std::uint32_t> handles{0};
  std::atomic<std::uint32_t> views{0};
};

// Why an update could not write to the memory of what it updates.
enum class Refused : std::uint8_t {
  no,         // it could
  nothing,    // there is no memory of that size to be had
  borrowed,   // the memory is somebody else's, such as a NumPy array's
  elsewhere,  // it is another device's
  exported,   // somebody reads it, such as a NumPy array made of it
  part,       // the array is a view of a part of another, or in another order
  handle,     // another array of the user's is the same node
  view,       // a view of it is alive
  graph,      // an operation that has not run reads it
  unknown,    // one of these three: it is older than the debugging
  in_flight,  // the device reads it in an operation that has not ended
  count_
};
const char* name(Refused reason) noexcept;

// Donations that were refused and are to be told.
class RefusedDonations {
 public:
  struct Entry {
    Refused reason = Refused::no;
    Op op = Op::data;
    std::size_t bytes = 0;
    const SourceLine* source = nullptr;  // of the update
  };

  static RefusedDonations& shared() noexcept;
  // Takes a lock of its own. Of more than a thousand that nobody takes, the rest is left out.
  void add(const Entry& entry) noexcept;
  bool any() const noexcept { return any_.load(std::memory_order_relaxed); }
  std::vector<Entry> take();

 private:
  std::atomic<bool> any_{false};
  std::mutex mutex_;
  std::vector<Entry> entries_;
};

}  // namespace nitinol
