// Tests of the queue of host calls: everyone is served once, and closing strands nobody.
#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include "check.h"
#include "nitinol/host.h"

using namespace nitinol;

namespace {

constexpr std::int64_t second = 1000000000;

void test_served() {
  HostQueue queue;
  constexpr int callers = 4;
  constexpr int each = 500;
  std::atomic<int> served{0};
  std::thread runtime([&] {
    while (served < callers * each) {
      HostCall* call = queue.take(second);
      if (!call) continue;
      ++served;
      int& value = *static_cast<int*>(call->callback);
      if (++value % 10 == 0) call->fault.code = Code::host_callback;
      call->finished.set();  // from here on the call is its owner's
    }
  });
  std::vector<std::thread> threads;
  for (int t = 0; t < callers; ++t) {
    threads.emplace_back([&] {
      int value = 0;
      for (int i = 1; i <= each; ++i) {
        HostCall call;
        call.callback = &value;
        queue.call(call);
        CHECK(value == i);
        CHECK(call.fault.code == (i % 10 ? Code::none : Code::host_callback));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  runtime.join();
}

void test_poked() {
  HostQueue queue;
  CHECK(queue.take(1000) == nullptr);
  queue.poke();
  const auto start = std::chrono::steady_clock::now();
  CHECK(queue.take(60 * second) == nullptr);
  std::thread poker([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    queue.poke();
  });
  CHECK(queue.take(60 * second) == nullptr);
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(30));
  poker.join();
}

// Closing fails those that wait and those that come later; the one being carried out ends as it
// would have.
void test_closed() {
  for (int round = 0; round < 50; ++round) {
    HostQueue queue;
    std::atomic<int> failed{0}, done{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        HostCall call;
        queue.call(call);
        ++(call.fault.code == Code::host_callback ? failed : done);
      });
    }
    HostCall* call = round % 2 ? queue.take(60 * second) : nullptr;
    queue.close();
    if (call) call->finished.set();
    for (std::thread& thread : threads) thread.join();
    CHECK(done == (round % 2) && failed == 4 - done);
    HostCall late;
    queue.call(late);
    CHECK(late.fault.code == Code::host_callback);
    CHECK(queue.take(60 * second) == nullptr);
  }
}

}  // namespace

int main() {
  test_served();
  test_poked();
  test_closed();
}
