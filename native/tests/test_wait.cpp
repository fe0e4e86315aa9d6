// Tests of Signal: it wakes everybody, never early; waits end in time, and at a Unix signal.
#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <limits>
#include <memory>
#include <thread>
#include <vector>

#include "check.h"
#include "nitinol/wait.h"

using namespace nitinol;

namespace {

constexpr std::int64_t millisecond = 1000000;
constexpr std::int64_t second = 1000 * millisecond;

std::int64_t now() {
  return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
}

void test_timeouts() {
  Signal signal;
  CHECK(!signal.is_set());
  CHECK(!signal.wait(0) && !signal.wait(-5));
  const std::int64_t start = now();
  CHECK(!signal.wait(20 * millisecond));
  CHECK(now() - start >= 20 * millisecond);
  signal.set();
  CHECK(signal.is_set() && signal.wait(0) && signal.wait(-5) && signal.wait(second));
  signal.set();
  CHECK(signal.wait(std::numeric_limits<std::int64_t>::max()));
}

// What was written before `set` is there for whoever wakes; TSan would see otherwise.
void test_many_waiters() {
  for (int round = 0; round < 150; ++round) {
    Signal signal;
    int value = 0;
    std::vector<std::thread> waiters;
    for (int t = 0; t < 4; ++t) {
      waiters.emplace_back([&, t] {
        const std::int64_t patience = t % 2 ? std::numeric_limits<std::int64_t>::max() : second;
        while (!signal.wait(patience)) {
        }
        CHECK(value == round + 1);
      });
    }
    if (round % 2) std::this_thread::sleep_for(std::chrono::microseconds(round * 5));
    value = round + 1;
    signal.set();
    for (std::thread& waiter : waiters) waiter.join();
  }
}

// A one-shot that lives on a stack is gone as soon as its owner wakes.
void test_short_lived() {
  std::atomic<Signal*> shared{nullptr};
  std::atomic<bool> over{false};
  std::thread setter([&] {
    while (!over) {
      if (Signal* signal = shared.exchange(nullptr)) signal->set();
    }
  });
  for (int i = 0; i < 2000; ++i) {
    Signal signal;
    shared = &signal;
    while (!signal.wait(second)) {
    }
  }
  over = true;
  setter.join();
}

// A Unix signal ends the wait at once: that is what makes Ctrl-C prompt.
void test_interrupted() {
  struct sigaction action = {};
  action.sa_handler = [](int) {};
  action.sa_flags = SA_RESTART;
  CHECK(sigaction(SIGUSR1, &action, nullptr) == 0);
  Signal signal;
  std::atomic<bool> ended{false};
  std::atomic<bool> waiting{false};
  std::thread waiter([&] {
    waiting = true;
    const std::int64_t start = now();
    CHECK(!signal.wait(120 * second));
    CHECK(now() - start < 60 * second);
    ended = true;
  });
  while (!waiting) std::this_thread::yield();
  while (!ended) {
    pthread_kill(waiter.native_handle(), SIGUSR1);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  waiter.join();
  CHECK(!signal.is_set());
}

}  // namespace

int main() {
  test_timeouts();
  test_many_waiters();
  test_short_lived();
  test_interrupted();
}
