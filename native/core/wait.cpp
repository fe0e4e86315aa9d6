// Signal on a futex, and on a condition variable where there is none.
#include "nitinol/wait.h"

#include <cerrno>
#include <chrono>

#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#else
#include <condition_variable>
#include <mutex>
#endif

namespace nitinol {

namespace {

constexpr std::uint32_t set_bit = 1;
constexpr std::uint32_t sleeper_bit = 2;

#if defined(__linux__)

void wake_all(std::atomic<std::uint32_t>& word) noexcept {
  ::syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 0x7fffffff, nullptr, nullptr, 0);
}

// Returns early on a Unix signal: that is what makes Ctrl-C prompt.
bool sleep_while(std::atomic<std::uint32_t>& word, std::uint32_t value,
                 std::int64_t nanoseconds) noexcept {
  timespec limit{static_cast<time_t>(nanoseconds / 1000000000),
                 static_cast<long>(nanoseconds % 1000000000)};
  const long rc = ::syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, value, &limit, nullptr, 0);
  return rc == 0 || errno == EAGAIN;
}

#else

std::mutex& sleep_mutex() noexcept {
  static auto* mutex = new std::mutex;
  return *mutex;
}
std::condition_variable& sleep_condition() noexcept {
  static auto* condition = new std::condition_variable;
  return *condition;
}

void wake_all(std::atomic<std::uint32_t>&) noexcept {
  std::lock_guard lock(sleep_mutex());
  sleep_condition().notify_all();
}

bool sleep_while(std::atomic<std::uint32_t>& word, std::uint32_t value,
                 std::int64_t nanoseconds) noexcept {
  std::unique_lock lock(sleep_mutex());
  if (word.load(std::memory_order_acquire) != value) return true;
  // Short slices, since a Unix signal does not end this wait.
  const auto slice = nanoseconds < 20000000 ? nanoseconds : 20000000;
  sleep_condition().wait_for(lock, std::chrono::nanoseconds(slice));
  return false;
}

#endif

}  // namespace

void Signal::set() noexcept {
  if (word_.exchange(set_bit, std::memory_order_acq_rel) & sleeper_bit) wake_all(word_);
}

bool Signal::wait(std::int64_t nanoseconds) noexcept {
  // A few microseconds of looking first: short work ends before a sleep would start.
  for (int i = 0; i < 64; ++i) {
    if (is_set()) return true;
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }
  const Deadline deadline = deadline_after(nanoseconds);
  for (;;) {
    std::uint32_t word = word_.load(std::memory_order_acquire);
    if (word & set_bit) return true;
    if (!(word & sleeper_bit) &&
        !word_.compare_exchange_weak(word, word | sleeper_bit, std::memory_order_acq_rel)) {
      continue;
    }
    const auto left = deadline - std::chrono::steady_clock::now();
    if (left.count() <= 0) return is_set();
    if (!sleep_while(word_, sleeper_bit,
                     std::chrono::duration_cast<std::chrono::nanoseconds>(left).count())) {
      return is_set();
    }
  }
}

}  // namespace nitinol
