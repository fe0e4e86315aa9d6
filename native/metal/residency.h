// Buffers that stay resident between command buffers, by an MTLResidencySet where there are any.
#pragma once

#import <Metal/Metal.h>

#include <atomic>
#include <mutex>
#include <string>
#include <vector>

#include "objc.h"

namespace nitinol::metal {

// Without a set the driver makes resident what a command buffer binds, each time, and wires
// weights anew that it has let go of while nothing ran. From any thread.
class Residency {
 public:
  // `most` bytes are kept at most, what comes after that is left to the driver.
  Residency(id<MTLDevice> device, std::size_t most);

  // Before the queue's first command buffer.
  void attach(id<MTLCommandQueue> queue) noexcept;
  // From the next commit on.
  void add(id<MTLBuffer> buffer) noexcept;
  // Before a command buffer is committed, which takes the set as it is then: a load when nothing
  // has changed. A commit for each buffer would have the driver go through the set again and again.
  void commit() noexcept;
  // Any number of removals, then flush, which frees the buffers: a set must not be left with what
  // is gone.
  void remove(Owned<id<MTLBuffer>> buffer) noexcept;
  void flush() noexcept;
  // The system is short of memory: what no command buffer needs may go. The next commit asks for
  // it again.
  void relinquish() noexcept;

  std::size_t bytes() const noexcept { return bytes_.load(std::memory_order_relaxed); }
  // For users: whether buffers are kept, and if not, why.
  const char* description() const noexcept { return description_.c_str(); }

 private:
  void flush_locked() noexcept;

  std::mutex mutex_;
  Owned<id> set_;  // id<MTLResidencySet>, a type of macOS 15; nil: there is none
  [[maybe_unused]] const std::size_t most_;
  std::atomic<std::size_t> bytes_{0};
  std::atomic<bool> stale_{false};  // a commit has something to do
  [[maybe_unused]] bool requested_ = false;
  std::vector<Owned<id<MTLBuffer>>> leaving_;
  std::string description_;
};

}  // namespace nitinol::metal
