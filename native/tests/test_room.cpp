// Tests of the wait for room in a stream: queues stay short, device work is waited for however
// long it takes, and functions that may wait for the waiting thread are not.
#include <chrono>
#include <random>
#include <thread>
#include <vector>

#include "check.h"
#include "nitinol/host.h"
#include "nitinol/room.h"
#include "null_arrays.h"

using namespace nitinol;
using namespace nitinol::testing;

namespace {

constexpr std::int64_t millisecond = 1000000;
constexpr std::int64_t second = 1000 * millisecond;

// Submissions of one small kernel each, which are kept.
struct Queue {
  explicit Queue(NullDevice& device) : device(device), stream(*device.default_stream()) {}
  void add() {
    kept.push_back(make(device, Op::concatenate, {leaf(device, 1).get()}, 0));
    Node* root = kept.back().get();
    CHECK(schedule({&root, 1}, false).refusal == Refusal::none);
  }
  bool has_room() { return Room(stream).wait(0); }
  // How many can be added before a thread would have to wait.
  std::uint32_t fill() {
    std::uint32_t added = 0;
    for (; has_room(); ++added) add();
    return added;
  }
  void run(std::uint32_t submissions) {
    for (std::uint32_t i = 0; i < submissions; ++i) {
      const Ref<Submission> next = device.next();
      device.execute(*next);
      device.finish(next);
    }
  }

  NullDevice& device;
  Stream& stream;
  std::vector<Ref<Node>> kept;
};

void test_number(unsigned seed) {
  std::mt19937 random(seed);
  Behaviour behaviour;
  behaviour.depth = 1 + random() % 4;
  Queue queue(NullDevice::make(behaviour));
  const std::uint32_t limit = 1 + random() % 40;
  set_queue_limit(limit);
  const std::uint32_t most = std::max(limit, behaviour.depth + 1);
  CHECK(queue.fill() == most + 1);
  CHECK(!queue.has_room());
  queue.run(1);
  CHECK(queue.fill() == 1);
  const std::uint32_t some = 1 + random() % most;
  queue.run(some);
  CHECK(queue.fill() == some);
  queue.device.run_all();
  CHECK(queue.stream.unresolved == 0 && queue.stream.planned_bytes == 0);
  CHECK(queue.fill() == most + 1);
  queue.device.run_all();
}

// A stream is full when it and what is in memory exceed the limit together.
void test_bytes() {
  Queue queue(NullDevice::make());
  set_queue_limit(1000);
  CHECK(queue.fill() == 1001);
  queue.device.run_all();
  queue.kept.clear();
  queue.device.memory.set_limit(queue.device.memory.stats().in_use + 4096);
  const std::uint32_t added = queue.fill();
  CHECK(added > queue.device.depth() + 1 && added < 100);
  queue.device.memory.set_limit(std::size_t{1} << 32);
  CHECK(queue.has_room());
  queue.device.memory.set_limit(0);
  CHECK(!queue.has_room());
  queue.run(added - queue.device.depth() - 1);
  CHECK(queue.has_room());
  queue.device.memory.set_limit(std::size_t{1} << 32);
  queue.device.run_all();
}

// Device work ends by itself, so nobody gives up waiting for it.
void test_slow_device() {
  Queue queue(NullDevice::make());
  set_queue_limit(4);
  queue.fill();
  Room room(queue.stream);
  for (int i = 0; i < 30; ++i) CHECK(!room.wait(10 * millisecond));
  std::thread device([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    queue.device.run_all();
  });
  while (!room.wait(second)) {
  }
  CHECK(queue.stream.unresolved <= 4);
  device.join();
}

// While a function of the user's is carried out, waiting is given up: sooner or later
// everything is queued, in a time that grows with what is queued.
void test_host_call() {
  Queue queue(NullDevice::make());
  set_queue_limit(16);
  HostCall call;
  std::thread waits([&] { HostQueue::shared().call(call); });
  while (!HostQueue::shared().busy()) std::this_thread::yield();
  const auto begin = std::chrono::steady_clock::now();
  int waits_given_up = 0;
  for (int i = 0; i < 60; ++i) {
    Room room(queue.stream);
    if (!room.wait(0)) {
      ++waits_given_up;
      while (!room.wait(10 * millisecond)) {
      }
    }
    queue.add();
  }
  CHECK(queue.stream.unresolved == 60 && waits_given_up == 2);
  CHECK(std::chrono::steady_clock::now() - begin >= std::chrono::milliseconds(300));
  // As soon as something ends, the bound holds again.
  queue.run(1);
  CHECK(!queue.has_room());
  CHECK(HostQueue::shared().take(second) == &call);
  call.finished.set();
  waits.join();
  CHECK(!HostQueue::shared().busy());
  queue.device.run_all();
  CHECK(queue.has_room());
}

// A thread that starts work without end, and a device that does it.
void test_endless(unsigned seed) {
  Behaviour behaviour;
  behaviour.threads = 2;
  behaviour.seed = seed;
  behaviour.depth = 1 + seed % 3;
  behaviour.late = 200;
  behaviour.unit_faults = 20;
  Queue queue(NullDevice::make(behaviour));
  set_queue_limit(8);
  std::uint32_t longest = 0;
  for (int i = 0; i < 2000; ++i) {
    Room room(queue.stream);
    while (!room.wait(second)) {
    }
    longest = std::max(longest, queue.stream.unresolved.load());
    queue.add();
  }
  CHECK(longest == 8);
  queue.device.stop();
  CHECK(queue.stream.unresolved == 0);
  queue.device.record.collect(Observer::drained, -1);
}

}  // namespace

int main() {
  for (unsigned seed = 0; seed < 30; ++seed) test_number(seed);
  test_bytes();
  test_slow_device();
  test_host_call();
  for (unsigned seed = 0; seed < 3; ++seed) test_endless(seed);
}
