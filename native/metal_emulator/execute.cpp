// Runs grids: checks a dispatch, hands out threadgroups to host threads.
#include "execute.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>

#include "crew.h"
#include "traffic.h"

#if METAL_EMULATOR_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace metal_emulator {
namespace {

// A grid that is being run. Host threads take group after group.
struct Job {
  const metal_abi::Kernel& kernel;
  const Dispatch& dispatch;
  std::uint64_t groups;
  Measurement* measurement;
  std::atomic<std::uint64_t> next{0};
  std::atomic<std::uint64_t> done{0};
};

constexpr std::size_t alignment = 16;

std::size_t aligned(std::size_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }

// Of a kernel that runs as a loop and yet comes to wait, by a call that the text pass did
// not see.
[[noreturn]] void not_in_fiber() {
  misuse("?", "a barrier or simdgroup function was called where none was expected");
}

thread_local Crew* active_crew = nullptr;
thread_local Measurement* measurement = nullptr;  // of the dispatch that this thread works on

Crew& crew() {
  if (active_crew == nullptr) not_in_fiber();
  return *active_crew;
}

constexpr metal_abi::Runtime runtime_table = {
    [](bool orders_memory, std::uint32_t line) { crew().barrier(orders_memory, line); },
    [](bool orders_memory, std::uint32_t line) { crew().simd_barrier(orders_memory, line); },
    [](const void* value, std::uint32_t bytes, metal_abi::Lane required, std::uint32_t line) {
      return crew().exchange(value, bytes, required, line);
    },
    [] { return crew().lane(); },
    [](const void* at, std::uint64_t bytes, bool writes) {
      if (measurement != nullptr) measurement->touch(at, bytes, writes);
    },
};

// Hands out a group's memory, filled so that reading what was never written shows: NaN in
// one group, huge in the next. With AddressSanitizer there are gaps that may not be touched.
class ThreadgroupMemory {
 public:
  ThreadgroupMemory(char* memory, std::uint64_t group)
      : at_(memory), filling_(group % 2 == 0 ? 0xff : 0x7b) {
#if METAL_EMULATOR_ASAN
    __asan_poison_memory_region(memory, Crew::memory_bytes);
#endif
  }

  void* take(std::size_t bytes) {
    char* const begin = at_;
#if METAL_EMULATOR_ASAN
    __asan_unpoison_memory_region(begin, bytes);
    at_ += 32;
#endif
    at_ += aligned(bytes);
    if (bytes != 0) std::memset(begin, filling_, bytes);
    return begin;
  }

 private:
  char* at_;
  int filling_;
};

void run_group(const Job& job, std::uint64_t index) {
  const Dispatch& dispatch = job.dispatch;
  Crew& mine = Crew::mine();
  std::array<void*, max_buffers> threadgroup{};
  ThreadgroupMemory memory(mine.memory(), index);
  memory.take(job.kernel.threadgroup_bytes);
  for (int i = 0; i < max_buffers; ++i) {
    const std::size_t bytes = dispatch.threadgroup_bytes[i];
    if (bytes != 0) threadgroup[i] = memory.take(bytes);
  }

  const Size3& groups = dispatch.threadgroups;
  const Size3& threads = dispatch.threads_per_threadgroup;
  const metal_abi::Group group = {
      dispatch.buffers.data(),
      threadgroup.data(),
      mine.memory(),
      {static_cast<std::uint32_t>(index % groups.x),
       static_cast<std::uint32_t>(index / groups.x % groups.y),
       static_cast<std::uint32_t>(index / groups.x / groups.y)},
      {threads.x, threads.y, threads.z},
      {groups.x, groups.y, groups.z},
  };
  if (job.kernel.group != nullptr) {
    job.kernel.group(group);
    return;
  }
  active_crew = &mine;
  mine.run(job.kernel, group);
  active_crew = nullptr;
}

void work(Job& job) {
  measurement = job.measurement;
  for (;;) {
    const std::uint64_t index = job.next.fetch_add(1, std::memory_order_relaxed);
    if (index >= job.groups) return;
    run_group(job, index);
    job.done.fetch_add(1, std::memory_order_acq_rel);
  }
}

// Host threads beside those that call run(). They are never joined.
class Pool {
 public:
  static Pool& instance() {
    static Pool* const pool = new Pool;
    return *pool;
  }

  // False in a child of fork(), which has none of the threads.
  bool usable() const { return helpers_ > 0 && getpid() == process_; }

  void run(const std::shared_ptr<Job>& job) {
    {
      const std::lock_guard lock(mutex_);
      jobs_.push_back(job);
    }
    wake_.notify_all();
    work(*job);
    std::unique_lock lock(mutex_);
    jobs_.erase(std::remove(jobs_.begin(), jobs_.end(), job), jobs_.end());
    finished_.wait(lock, [&] { return job->done.load(std::memory_order_acquire) == job->groups; });
  }

 private:
  Pool() : helpers_(std::min(std::thread::hardware_concurrency(), 4u)), process_(getpid()) {
    helpers_ -= helpers_ != 0;
    for (unsigned i = 0; i < helpers_; ++i) std::thread([this] { loop(); }).detach();
  }

  void loop() {
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [&] { return !jobs_.empty(); });
      const std::shared_ptr<Job> job = jobs_.front();
      lock.unlock();
      work(*job);
      lock.lock();
      // Nothing is left to take.
      jobs_.erase(std::remove(jobs_.begin(), jobs_.end(), job), jobs_.end());
      finished_.notify_all();
    }
  }

  unsigned helpers_;
  pid_t process_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable finished_;
  std::deque<std::shared_ptr<Job>> jobs_;
};

void check(const LoadedFunction& function, const Dispatch& dispatch) {
  const char* const name = function.name().c_str();
  const Size3& threads = dispatch.threads_per_threadgroup;
  const std::uint64_t count = std::uint64_t{threads.x} * threads.y * threads.z;
  if (count == 0 || count > max_threads_per_threadgroup) {
    misuse(name, "a threadgroup of " + std::to_string(count) + " threads");
  }
  if (function.max_threads() < count) {
    misuse(name, "a threadgroup of " + std::to_string(count) + " threads, where the kernel has " +
                     "max_total_threads_per_threadgroup(" + std::to_string(function.max_threads()) +
                     ")");
  }
  for (const int index : function.buffers()) {
    if (dispatch.buffers[index] == nullptr) {
      misuse(name, "no buffer is bound at index " + std::to_string(index));
    }
  }
  std::size_t bytes = aligned(function.static_threadgroup_bytes());
  for (const int index : function.threadgroup_arguments()) {
    if (dispatch.threadgroup_bytes[index] == 0) {
      misuse(name, "no threadgroup memory is set at index " + std::to_string(index));
    }
  }
  for (const std::size_t size : dispatch.threadgroup_bytes) bytes += aligned(size);
  if (bytes > max_threadgroup_bytes) {
    misuse(name, std::to_string(bytes) + " bytes of threadgroup memory");
  }
}

}  // namespace

void misuse(const char* kernel, const std::string& what) {
  std::fprintf(stderr, "Emulated Metal: kernel '%s': %s\n", kernel, what.c_str());
  std::fflush(stderr);
  std::abort();
}

const metal_abi::Runtime& runtime() { return runtime_table; }

LoadedFunction::LoadedFunction(const metal_abi::Kernel& kernel, const Code* code)
    : name_(kernel.name),
      max_threads_(kernel.max_threads != 0 ? kernel.max_threads : max_threads_per_threadgroup),
      threadgroup_bytes_(kernel.threadgroup_bytes),
      code_(code),
      kernel_(&kernel),
      is_optimised_(code == nullptr) {
  for (int i = 0; i < kernel.argument_count; ++i) {
    const auto kind = static_cast<metal_abi::Argument>(kernel.arguments[2 * i]);
    (kind == metal_abi::Argument::buffer ? buffers_ : threadgroup_)
        .push_back(kernel.arguments[2 * i + 1]);
  }
}

const metal_abi::Kernel& LoadedFunction::kernel_for(std::uint64_t threads) const {
  if (!is_optimised_.load(std::memory_order_acquire)) {
    // Threads that wait for one another tend to do more each.
    const std::uint64_t many = kernel_.load()->group != nullptr ? 1 << 19 : 1 << 14;
    if (threads_.fetch_add(threads) + threads >= many) {
      kernel_.store(code_->optimised(name_));
      is_optimised_.store(true, std::memory_order_release);
    }
  }
  return *kernel_.load(std::memory_order_acquire);
}

void run(const Dispatch& dispatch) {
  const auto& function = static_cast<const LoadedFunction&>(*dispatch.function);
  check(function, dispatch);
  const Size3& groups = dispatch.threadgroups;
  const Size3& threads = dispatch.threads_per_threadgroup;
  const std::uint64_t count = std::uint64_t{groups.x} * groups.y * groups.z;
  if (count == 0) return;
  const std::uint64_t all_threads = count * threads.x * threads.y * threads.z;
  const metal_abi::Kernel& kernel = function.kernel_for(all_threads);
  std::optional<Measurement> measured;
  if (measures_traffic()) measured.emplace(dispatch);
  const auto job = std::make_shared<Job>(kernel, dispatch, count, measured ? &*measured : nullptr);
  // Waking others costs more than a small grid.
  constexpr std::uint64_t small = 16384;
  const bool alone = count == 1 || all_threads <= small;
  if (alone || !Pool::instance().usable()) {
    work(*job);
  } else {
    Pool::instance().run(job);
  }
}

}  // namespace metal_emulator
