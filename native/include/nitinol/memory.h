// Allocator: a device's memory, recycled by size class, under a limit.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>

namespace nitinol {

struct MemoryStats {
  std::size_t in_use;
  std::size_t cached;
  std::size_t peak;
  std::size_t limit;
  std::size_t resident;  // of those in use and cached
};

// Memory as it comes from a system: the host reads and writes at `data`, the device
// knows it as `offset` bytes into `handle` (null: the host's own memory).
struct Block {
  void* data = nullptr;
  void* handle = nullptr;
  std::size_t offset = 0;
};

// Where an allocator's memory comes from. Called under the allocator's lock.
class MemorySource {
 public:
  virtual ~MemorySource() = default;
  // 64-byte aligned; a block without data when there is no memory.
  virtual Block allocate(std::size_t bytes) noexcept = 0;
  virtual void free(const Block& block, std::size_t bytes) noexcept = 0;
  // Behind a row of frees.
  virtual void freed() noexcept {}
  // Of what it has allocated, the bytes that the system was asked to keep at hand for the
  // device, and in a sentence why; null where the question does not arise.
  virtual std::size_t resident() const noexcept { return 0; }
  virtual const char* residency_description() const noexcept { return nullptr; }

  static MemorySource& host() noexcept;
};

class Allocator {
 public:
  explicit Allocator(std::size_t limit, MemorySource& source = MemorySource::host()) noexcept
      : source_(source), limit_(limit) {}

  // 64-byte aligned; null when the limit or the system says no. Free blocks of
  // other sizes are returned to the system before an allocation fails.
  Block take(std::size_t bytes) noexcept;
  void give(const Block& block, std::size_t bytes) noexcept;
  // The same for memory that is the host's own.
  void* allocate(std::size_t bytes) noexcept { return take(bytes).data; }
  void deallocate(void* block, std::size_t bytes) noexcept { give({block}, bytes); }

  // Before a submission is launched, its planned peak is reserved whole: while other
  // admitted work may give memory back, admit waits for it, in the order of arrival, so
  // that small work never keeps large work out. When nothing is left to wait for it
  // returns all the same, and the units meet the limit one by one. So does work that can
  // never fit; and nobody waits for work that may itself wait for the outside world
  // without end (`endless`).
  struct Admission {
    std::size_t bytes;
    bool endless;
  };
  Admission admit(std::size_t bytes, bool endless = false) noexcept;
  void leave(const Admission& admission) noexcept;
  // Would admit let this in without a wait, as things are?
  bool admits_now(std::size_t bytes) const noexcept;

  std::size_t trim() noexcept;  // frees the cache; returns the bytes freed
  void set_limit(std::size_t bytes) noexcept;
  MemoryStats stats() const noexcept;
  const char* residency_description() const noexcept { return source_.residency_description(); }
  void reset_peak() noexcept;

 private:
  static constexpr int class_count = 4 * 64;
  struct Free {  // lies in the free block itself
    Free* next;
    void* handle;
    std::size_t offset;
  };

  std::size_t trim_locked() noexcept;
  bool fits_locked(std::size_t bytes) const noexcept;

  MemorySource& source_;
  mutable std::mutex mutex_;
  std::condition_variable left_;
  Free* free_[class_count] = {};
  std::size_t limit_;
  std::size_t in_use_ = 0;
  std::size_t cached_ = 0;
  std::size_t peak_ = 0;
  std::size_t reserved_ = 0;   // by admitted submissions
  int admitted_ = 0;           // those that will end
  std::uint64_t tickets_ = 0;  // handed out to those who asked to be admitted
  std::uint64_t turn_ = 0;     // the first that has not been let in
};

// 0.8 of the smaller of RAM and the control group's limit.
std::size_t default_memory_limit() noexcept;

}  // namespace nitinol
