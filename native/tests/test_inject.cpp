// Tests of planned failures, and of the slot that a failing kernel writes.
#include <atomic>
#include <limits>
#include <thread>
#include <vector>

#include "check.h"
#include "nitinol/inject.h"

using namespace nitinol;

namespace {

std::vector<int> strikes(Injector& injector, int units) {
  std::vector<int> found;
  for (int i = 1; i <= units; ++i) {
    Phase phase = Phase::completion;
    if (injector.draw(phase).code != Code::none) found.push_back(i);
  }
  return found;
}

void test_counting() {
  Injector injector;
  CHECK(!injector.active());
  InjectionRule rule;
  rule.code = Code::timeout;
  rule.phase = Phase::commit;
  rule.at = 3;
  rule.times = 2;
  rule.raw = 42;
  const int number = injector.add(rule);
  CHECK(injector.active());
  Phase phase = Phase::completion;
  CHECK(injector.draw(phase).code == Code::none && injector.draw(phase).code == Code::none);
  CHECK(phase == Phase::completion);
  const Fault fault = injector.draw(phase);
  CHECK(fault.code == Code::timeout && fault.injection != 0 && fault.raw == 42);
  CHECK(phase == Phase::commit);
  CHECK(strikes(injector, 5) == std::vector<int>{1});
  const InjectionRule left = injector.remove(number);
  CHECK(left.seen == 8 && left.fired == 2);
  CHECK(!injector.active());
  CHECK(injector.remove(number).fired == 0);
}

// Every rule counts every unit; a unit is struck by one of them.
void test_two_rules() {
  Injector injector;
  InjectionRule rule;
  rule.code = Code::timeout;
  rule.at = 2;
  const int first = injector.add(rule);
  rule.code = Code::io;
  rule.times = 2;
  const int second = injector.add(rule);
  CHECK(first != second);
  CHECK(strikes(injector, 4) == (std::vector<int>{2, 3}));
  CHECK(injector.remove(first).fired == 1);
  CHECK(injector.active());
  const InjectionRule left = injector.remove(second);
  CHECK(left.fired == 1 && left.seen == 4);
  rule.times = std::numeric_limits<std::uint64_t>::max();
  injector.add(rule);
  CHECK(strikes(injector, 4) == (std::vector<int>{2, 3, 4}));
}

void test_threads() {
  Injector injector;
  InjectionRule rule;
  rule.at = 1000;
  rule.times = 500;
  const int number = injector.add(rule);
  std::atomic<int> struck{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] { struck += static_cast<int>(strikes(injector, 1000).size()); });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(struck == 500);
  CHECK(injector.remove(number).seen == 4000);
}

// Whoever comes first, the lowest position is told.
void test_fault_slot() {
  for (int round = 0; round < 50; ++round) {
    FaultSlot slot;
    CHECK(!slot.failed());
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&slot, t] {
        for (int i = 40; i > 0; --i) {
          slot.raise(4 * i + t, Code::index_out_of_range, 4 * i + t, 1, 2, 3);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(slot.failed());
    CHECK(slot.get().code == Code::index_out_of_range && slot.get().args[0] == 4);
    CHECK(slot.get().args[1] == 1 && slot.get().args[2] == 2 && slot.get().native == 3);
    CHECK(slot.get().injection == 0);
  }
  FaultSlot last;
  last.raise(std::numeric_limits<std::int64_t>::max(), Code::io);
  CHECK(last.failed() && last.get().code == Code::io);
}

}  // namespace

int main() {
  test_counting();
  test_two_rules();
  test_threads();
  test_fault_slot();
}
