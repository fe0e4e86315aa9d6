// The worker threads behind parallel_for: made on first use, never joined, asleep when idle.
#include "cpu/pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstdio>
#include <mutex>
#include <thread>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace nitinol::cpu {
namespace {

// A decode step issues a parallel_for every few tens of microseconds: a worker that still spins
// then takes its share at once, where a sleeping one needs some 40 us to wake.
constexpr std::chrono::microseconds idle_spin{50};
// The caller has taken every chunk and waits for the last ones of others.
constexpr std::chrono::microseconds finish_spin{40};

constexpr int max_threads = 256;
constexpr int slot_count = 64;  // jobs at a time; further callers run alone

// A job lies in a slot, and slots live as long as the process: a worker that is late to
// look finds a slot closed or in other use, never a dead stack frame. What is reached through
// `fn` is on the caller's stack, and is touched only by those who are counted in `state`.
struct alignas(64) Slot {
  // 0: free. `claimed`: a caller owns it. `open`: workers may join, and are counted in the low
  // bits.
  std::atomic<std::uint32_t> state{0};
  const ChunkFn* fn = nullptr;
  std::int64_t n = 0;
  std::int64_t grain = 1;
  std::int64_t chunks = 0;
  alignas(64) std::atomic<std::int64_t> next{0};  // the first chunk nobody has taken
};
constexpr std::uint32_t claimed = 1u << 31;
constexpr std::uint32_t open = 1u << 30;
constexpr std::uint32_t waiting = 1u << 29;  // the caller sleeps until the last worker leaves
constexpr std::uint32_t workers_mask = waiting - 1;

constinit Slot slots[slot_count];
alignas(64) constinit std::atomic<std::uint64_t> open_slots{0};  // slots with chunks left to take
alignas(64) constinit std::atomic<std::uint32_t> wake_count{0};  // what idle workers sleep on
constinit std::atomic<int> sleepers{0};
constinit std::atomic<int> limit{0};    // threads that take part, 0: not decided yet
constinit std::atomic<int> started{0};  // workers that exist
constinit std::atomic<bool> forked{false};
constinit std::mutex start_lock;
constinit thread_local bool inside = false;  // this thread runs chunks

#if defined(__linux__)
// Linux often wakes a worker on the very core of the thread that wakes it, and leaves it queued
// there for milliseconds while another core idles (seen on two cores with kernel 6.18). So the
// workers are kept off the core of the caller they help.
constexpr int most_kept_off = 8;  // of more workers than that, enough find a core of their own
constexpr std::int64_t keep_off_interval = 1'000'000;  // ns; callers on two cores take turns
constinit pthread_t handles[most_kept_off] = {};
constinit cpu_set_t allowed = {};
constinit std::atomic<int> kept_off{-1};  // the core that the workers were told to leave
constinit std::atomic<std::int64_t> kept_off_since{0};

void keep_workers_off_this_core(int workers) noexcept {
  const int core = sched_getcpu();
  if (core < 0 || core == kept_off.load(std::memory_order_relaxed) || workers > most_kept_off) {
    return;
  }
  const std::int64_t now = std::chrono::steady_clock::now().time_since_epoch().count();
  std::int64_t since = kept_off_since.load(std::memory_order_relaxed);
  if (now - since < keep_off_interval ||
      !kept_off_since.compare_exchange_strong(since, now, std::memory_order_relaxed)) {
    return;
  }
  cpu_set_t others = allowed;
  CPU_CLR(core, &others);
  if (CPU_COUNT(&others) == 0) return;
  kept_off.store(core, std::memory_order_relaxed);
  for (int i = 0; i < workers; ++i) {
    if (handles[i]) pthread_setaffinity_np(handles[i], sizeof others, &others);
  }
}
#else
void keep_workers_off_this_core(int) noexcept {}
#endif

void pause() noexcept {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");
#endif
}

// Calls done() until it holds or the time is over. The clock is read now and then only.
template <class Done>
bool spin(std::chrono::microseconds time, Done done) noexcept {
  const auto end = std::chrono::steady_clock::now() + time;
  do {
    for (int i = 0; i < 16; ++i) {
      if (done()) return true;
      pause();
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

// Takes chunks until none is left. The caller of this is the slot's owner or counted in `state`.
void run_chunks(Slot& slot, std::uint64_t bit) noexcept {
  const ChunkFn& fn = *slot.fn;
  const std::int64_t n = slot.n, grain = slot.grain, chunks = slot.chunks;
  for (;;) {
    const std::int64_t chunk = slot.next.fetch_add(1, std::memory_order_relaxed);
    if (chunk + 1 == chunks) open_slots.fetch_and(~bit, std::memory_order_relaxed);
    if (chunk >= chunks) return;
    const std::int64_t begin = chunk * grain;
    fn(begin, n - begin < grain ? n : begin + grain);
  }
}

void help(int index) noexcept {
  Slot& slot = slots[index];
  std::uint32_t state = slot.state.load(std::memory_order_relaxed);
  do {
    if (!(state & open)) return;
  } while (!slot.state.compare_exchange_weak(state, state + 1, std::memory_order_acquire,
                                             std::memory_order_relaxed));
  run_chunks(slot, std::uint64_t{1} << index);
  state = slot.state.fetch_sub(1, std::memory_order_release);
  // The slot may be in use by another job by now; a wake-up too many does no harm there.
  if ((state & workers_mask) == 1 && (state & waiting)) slot.state.notify_all();
}

void sleep_until_work(int number) noexcept {
  sleepers.fetch_add(1, std::memory_order_seq_cst);
  const std::uint32_t seen = wake_count.load(std::memory_order_seq_cst);
  // Either this sees the caller's slot or the caller sees this sleeper: both are seq_cst.
  // Who is to be parked must not sleep here, it would use up a wake-up meant for others.
  if (open_slots.load(std::memory_order_seq_cst) == 0 &&
      number < limit.load(std::memory_order_seq_cst)) {
    wake_count.wait(seen, std::memory_order_acquire);
  }
  sleepers.fetch_sub(1, std::memory_order_relaxed);
}

void* worker_main(void* argument) noexcept {
  const int number = static_cast<int>(reinterpret_cast<std::intptr_t>(argument));
  inside = true;
  for (;;) {
    const int allowed = limit.load(std::memory_order_acquire);
    if (number >= allowed) {  // parked by set_concurrency
      limit.wait(allowed, std::memory_order_acquire);
      continue;
    }
    std::uint64_t mask = open_slots.load(std::memory_order_relaxed);
    if (mask == 0 && !spin(idle_spin, [&] {
          return (mask = open_slots.load(std::memory_order_relaxed)) != 0;
        })) {
      sleep_until_work(number);
      continue;
    }
    // Each worker starts elsewhere, so that several jobs at a time all get help.
    mask = std::rotr(mask, number % slot_count);
    for (; mask != 0; mask &= mask - 1) {
      help((std::countr_zero(mask) + number) % slot_count);
    }
  }
  return nullptr;
}

void after_fork_in_child() noexcept {
  // The workers exist in the parent only, and a slot may be caught half-way.
  forked.store(true, std::memory_order_relaxed);
  limit.store(1, std::memory_order_relaxed);
}

int default_concurrency() noexcept {
  int cores = static_cast<int>(std::thread::hardware_concurrency());
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) cores = CPU_COUNT(&set);
  // A container may be held to fewer cores than it sees; threads beyond that only stall each other.
  if (std::FILE* file = std::fopen("/sys/fs/cgroup/cpu.max", "re")) {
    long long quota = 0, period = 0;
    if (std::fscanf(file, "%lld %lld", &quota, &period) == 2 && quota > 0 && period > 0) {
      cores = static_cast<int>(std::min<long long>(cores, (quota + period - 1) / period));
    }
    std::fclose(file);
  }
#endif
  return std::clamp(cores, 1, max_threads);
}

int decide_limit() noexcept {
  int expected = 0;
  const int chosen = default_concurrency();
  return limit.compare_exchange_strong(expected, chosen, std::memory_order_acq_rel) ? chosen
                                                                                    : expected;
}

// Makes the workers that are missing. A thread that can't be had is done without.
void start_workers(int wanted) noexcept {
  std::lock_guard lock(start_lock);
  int have = started.load(std::memory_order_relaxed);
  if (have >= wanted) return;
  static const int registered = pthread_atfork(nullptr, nullptr, after_fork_in_child);
  (void)registered;
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes) != 0) return;
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  // Signals belong to the application's threads: a worker that took SIGINT would leave the
  // interpreter's wait uninterrupted.
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
#if defined(__linux__)
  if (have == 0) sched_getaffinity(0, sizeof allowed, &allowed);
#endif
  for (; have < wanted; ++have) {
    pthread_t thread;
    void* number = reinterpret_cast<void*>(static_cast<std::intptr_t>(have + 1));
    if (pthread_create(&thread, &attributes, [](void* a) { return worker_main(a); }, number) != 0) {
      break;
    }
#if defined(__linux__)
    if (have < most_kept_off) handles[have] = thread;
#endif
  }
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  pthread_attr_destroy(&attributes);
  // Also those that failed count as started: trying again at every call would be slow.
  started.store(wanted, std::memory_order_release);
}

void run_inline(std::int64_t n, std::int64_t grain, const ChunkFn& fn) noexcept {
  for (std::int64_t begin = 0; begin < n; begin += grain) {
    fn(begin, n - begin < grain ? n : begin + grain);
    if (n - begin <= grain) break;  // begin + grain could overflow
  }
}

int claim_slot() noexcept {
  for (int i = 0; i < slot_count; ++i) {
    std::uint32_t expected = 0;
    if (slots[i].state.load(std::memory_order_relaxed) == 0 &&
        slots[i].state.compare_exchange_strong(expected, claimed, std::memory_order_acquire,
                                               std::memory_order_relaxed)) {
      return i;
    }
  }
  return -1;
}

void wait_for_workers(Slot& slot) noexcept {
  // From here nobody can join; those who did are counted.
  std::uint32_t state = slot.state.fetch_and(~open, std::memory_order_acquire) & ~open;
  if ((state & workers_mask) == 0) return;
  const auto alone = [&] {
    state = slot.state.load(std::memory_order_acquire);
    return (state & workers_mask) == 0;
  };
  if (spin(finish_spin, alone)) return;
  slot.state.fetch_or(waiting, std::memory_order_relaxed);
  while (!alone()) slot.state.wait(state, std::memory_order_acquire);
}

}  // namespace

void parallel_for(std::int64_t n, std::int64_t grain, ChunkFn fn) noexcept {
  if (n <= 0) return;
  if (grain < 1) grain = 1;
  if (n <= grain || inside) return run_inline(n, grain, fn);
  const int threads = concurrency();
  if (threads <= 1) return run_inline(n, grain, fn);
  if (started.load(std::memory_order_acquire) < threads - 1) start_workers(threads - 1);
  const int index = claim_slot();
  if (index < 0) return run_inline(n, grain, fn);
  keep_workers_off_this_core(threads - 1);

  Slot& slot = slots[index];
  const std::uint64_t bit = std::uint64_t{1} << index;
  slot.fn = &fn;
  slot.n = n;
  slot.grain = grain;
  slot.chunks = n / grain + (n % grain != 0);
  slot.next.store(0, std::memory_order_relaxed);
  slot.state.store(claimed | open, std::memory_order_release);
  open_slots.fetch_or(bit, std::memory_order_seq_cst);
  const int asleep = sleepers.load(std::memory_order_seq_cst);
  if (asleep > 0) {
    wake_count.fetch_add(1, std::memory_order_seq_cst);
    const std::int64_t useful = std::min<std::int64_t>(slot.chunks, threads) - 1;
    if (useful >= asleep) {
      wake_count.notify_all();
    } else {
      for (std::int64_t i = 0; i < useful; ++i) wake_count.notify_one();
    }
  }
  inside = true;
  run_chunks(slot, bit);
  inside = false;
  // A late look at an old mask can have taken the last chunk before the bit was set.
  if (open_slots.load(std::memory_order_relaxed) & bit) open_slots.fetch_and(~bit);
  wait_for_workers(slot);
  slot.state.store(0, std::memory_order_release);
}

int concurrency() noexcept {
  const int threads = limit.load(std::memory_order_acquire);
  return threads > 0 ? threads : decide_limit();
}

void set_concurrency(int threads) noexcept {
  if (forked.load(std::memory_order_relaxed)) return;  // a child has no workers
  limit.store(std::clamp(threads, 1, max_threads), std::memory_order_seq_cst);
  limit.notify_all();
  // Sleepers that are now to be parked leave the queue of those a job wakes.
  wake_count.fetch_add(1, std::memory_order_seq_cst);
  wake_count.notify_all();
}

}  // namespace nitinol::cpu
