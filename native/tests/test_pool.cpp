// Tests of parallel_for: every chunk once, any number of callers, nesting, fork, sleep and wake.
#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <random>
#include <thread>
#include <vector>

#include "check.h"
#include "cpu/pool.h"

using namespace nitinol::cpu;

namespace {

// Not atomic on purpose: two threads in one chunk are a data race that ThreadSanitizer sees.
void check_coverage(std::int64_t n, std::int64_t grain) {
  std::vector<int> hits(static_cast<std::size_t>(n), 0);
  parallel_for(n, grain, [&](std::int64_t begin, std::int64_t end) {
    CHECK(begin % grain == 0);
    CHECK(end == (begin + grain < n ? begin + grain : n));
    for (std::int64_t i = begin; i < end; ++i) ++hits[static_cast<std::size_t>(i)];
  });
  for (int hit : hits) CHECK(hit == 1);
}

void test_coverage() {
  for (int threads = 1; threads <= 4; ++threads) {
    set_concurrency(threads);
    CHECK(concurrency() == threads);
    std::mt19937 random(static_cast<unsigned>(threads));
    for (int i = 0; i < 300; ++i) {
      check_coverage(static_cast<std::int64_t>(random() % 2000),
                     static_cast<std::int64_t>(1 + random() % 100));
    }
  }
  bool called = false;
  parallel_for(0, 4, [&](std::int64_t, std::int64_t) { called = true; });
  parallel_for(-3, 4, [&](std::int64_t, std::int64_t) { called = true; });
  CHECK(!called);
  // No multiple of the grain may overflow.
  std::int64_t last = 0;
  parallel_for(INT64_MAX, INT64_MAX - 1, [&](std::int64_t begin, std::int64_t end) {
    if (end == INT64_MAX) last = begin;
  });
  CHECK(last == INT64_MAX - 1);
}

// Jobs on stacks that are left at once, from many threads, beside set_concurrency.
void test_many_callers() {
  set_concurrency(4);
  std::atomic<bool> stop{false};
  std::thread changer([&] {
    for (int i = 0; !stop.load(); ++i) {
      set_concurrency(1 + i % 4);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  std::vector<std::thread> callers;
  for (int c = 0; c < 6; ++c) {
    callers.emplace_back([c] {
      std::mt19937 random(static_cast<unsigned>(c));
      for (int i = 0; i < 1500; ++i) {
        std::int64_t parts[64] = {};
        const std::int64_t n = static_cast<std::int64_t>(1 + random() % 64);
        parallel_for(n, 1, [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t k = begin; k < end; ++k) parts[k] = k + 1;
        });
        std::int64_t sum = 0;
        for (std::int64_t part : parts) sum += part;
        CHECK(sum == n * (n + 1) / 2);
        if (random() % 64 == 0) std::this_thread::sleep_for(std::chrono::microseconds(100));
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  stop.store(true);
  changer.join();
}

void test_more_callers_than_slots() {
  set_concurrency(2);
  std::atomic<int> done{0};
  std::vector<std::thread> callers;
  for (int c = 0; c < 80; ++c) {
    callers.emplace_back([&] {
      std::atomic<int> chunks{0};
      parallel_for(8, 1, [&](std::int64_t, std::int64_t) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        chunks.fetch_add(1);
      });
      CHECK(chunks.load() == 8);
      done.fetch_add(1);
    });
  }
  for (std::thread& caller : callers) caller.join();
  CHECK(done.load() == 80);
}

void test_nested() {
  set_concurrency(3);
  std::vector<std::int64_t> sums(40, 0);
  parallel_for(40, 1, [&](std::int64_t begin, std::int64_t end) {
    CHECK(end == begin + 1);
    const std::thread::id outer = std::this_thread::get_id();
    parallel_for(100, 7, [&](std::int64_t first, std::int64_t last) {
      CHECK(std::this_thread::get_id() == outer);
      for (std::int64_t i = first; i < last; ++i) sums[static_cast<std::size_t>(begin)] += i;
    });
  });
  for (std::int64_t sum : sums) CHECK(sum == 4950);
}

// Workers that went to sleep must come back; each chunk waits for the other one, so that the test
// hangs when nobody comes.
void test_sleeping_workers_wake() {
  set_concurrency(2);
  for (int i = 0; i < 20; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    std::atomic<int> arrived{0};
    parallel_for(2, 1, [&](std::int64_t, std::int64_t) {
      arrived.fetch_add(1);
      while (arrived.load() < 2) std::this_thread::yield();
    });
  }
}

void test_fork() {
  set_concurrency(4);
  check_coverage(1000, 10);
  std::atomic<bool> stop{false};
  std::thread busy([&] {
    while (!stop.load()) check_coverage(500, 10);
  });
  for (int i = 0; i < 5; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      alarm(20);
      bool alone = concurrency() == 1;
      set_concurrency(4);
      alone = alone && concurrency() == 1;
      std::int64_t sum = 0;
      parallel_for(1000, 10, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t k = begin; k < end; ++k) sum += k;
      });
      _exit(alone && sum == 499500 ? 0 : 1);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  stop.store(true);
  busy.join();
  check_coverage(1000, 10);
}

// A caller that ends right after its job, with thread-local destructors and a stack that goes away.
void test_short_lived_callers() {
  set_concurrency(4);
  for (int i = 0; i < 200; ++i) {
    std::thread caller([] { check_coverage(64, 4); });
    caller.join();
  }
}

#if defined(__linux__)
// Woken on the core of their caller, workers would share it with him while others idle.
void test_workers_leave_the_callers_core() {
  cpu_set_t usual;
  CHECK(sched_getaffinity(0, sizeof usual, &usual) == 0);
  if (CPU_COUNT(&usual) < 2) {
    std::printf("one core: there is no other one for workers to go to\n");
    return;
  }
  set_concurrency(2);
  for (int core = 0, tried = 0; tried < 2; ++core) {
    if (!CPU_ISSET(core, &usual)) continue;
    ++tried;
    cpu_set_t only;
    CPU_ZERO(&only);
    CPU_SET(core, &only);
    CHECK(sched_setaffinity(0, sizeof only, &only) == 0);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));  // workers are moved that often
    const auto caller = std::this_thread::get_id();
    std::atomic<bool> met{false};
    parallel_for(2, 1, [&](std::int64_t, std::int64_t) {
      if (std::this_thread::get_id() == caller) {
        while (!met.load()) std::this_thread::yield();
        return;
      }
      cpu_set_t mine;
      CHECK(sched_getaffinity(0, sizeof mine, &mine) == 0);
      CHECK(!CPU_ISSET(core, &mine) && CPU_COUNT(&mine) > 0);
      met.store(true);
    });
  }
  CHECK(sched_setaffinity(0, sizeof usual, &usual) == 0);
}
#else
void test_workers_leave_the_callers_core() {}
#endif

}  // namespace

int main() {
  CHECK(concurrency() >= 1);
  test_coverage();
  test_many_callers();
  test_more_callers_than_slots();
  test_nested();
  test_sleeping_workers_wake();
  test_workers_leave_the_callers_core();
  test_fork();
  test_short_lived_callers();
  // main returns with workers alive: that must not abort.
  return 0;
}
