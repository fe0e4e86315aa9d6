// Tests of scopes: each failure goes to the scope its work was submitted in, and to no other.
#include <atomic>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "nitinol/resolver.h"
#include "nitinol/schedule.h"
#include "nitinol/scope.h"
#include "null_arrays.h"

using namespace nitinol;
using namespace nitinol::testing;

namespace {

Ref<Scope> scope(const char* name) { return Ref<Scope>::adopt(new Scope(name)); }

Ref<Node> kernel(NullDevice& device, std::int64_t number) {
  return make(device, Op::concatenate, {leaf(device).get()}, number);
}

void test_innermost_owns(bool inline_run) {
  NullDevice& device = NullDevice::make({.inline_units = inline_run ? 8u : 0u});
  for (int i = 1; i <= 3; ++i) device.fail_unit_of(i, Code::timeout);
  Ref<Scope> a = scope("a");
  Ref<Scope> b = scope("b");
  Scope* const owners[] = {a.get(), b.get(), nullptr};
  std::vector<Ref<Node>> nodes;
  for (int i = 0; i < 3; ++i) {
    nodes.push_back(kernel(device, i + 1));
    Node* roots[] = {nodes.back().get()};
    schedule(roots, inline_run, owners[i]);
  }
  CHECK(pending_work(*a)->done() == inline_run);
  device.run_all();
  CHECK(device.inline_runs == (inline_run ? 3 : 0));
  for (int i = 0; i < 3; ++i) {
    const Report* report = nodes[static_cast<std::size_t>(i)]->poison()->roots()[0].get();
    CHECK(report->scope.get() == owners[i]);
    for (Scope* each : {a.get(), b.get()}) {
      const auto found = each->reports();
      CHECK(found.size() == 1);
      CHECK((found[0].get() == report) == (each == owners[i]));
    }
  }
  // Only what belongs to nobody is swept up; at exit all of it.
  CHECK(device.record.collect(Observer::raised, -1).size() == 1);
  CHECK(device.record.collect(Observer::drained, -1).empty());
  a->abandon();
  CHECK(a->reports().empty());
  CHECK(device.record.collect(Observer::raised, -1).empty());
  const auto drained = device.record.collect(Observer::drained, -1);
  CHECK(drained.size() == 1 && drained[0]->scope->name() == "a");
  CHECK(device.record.collect(Observer::printed, -1).size() == 1);
  CHECK(device.record.counts().unobserved == 0);
  b->abandon();
}

// Waiting for a scope's work is waiting for nothing else.
void test_pending() {
  NullDevice& device = NullDevice::make({.depth = 4});
  Ref<Scope> a = scope("a");
  Ref<Node> mine = kernel(device, 1);
  Ref<Node> other = kernel(device, 2);
  Node* my_roots[] = {mine.get()};
  Node* other_roots[] = {other.get()};
  schedule(my_roots, false, a.get());
  schedule(other_roots, false);
  CHECK(!pending_work(*a)->done());
  Ref<Submission> first = device.next();
  device.execute(*first);
  device.finish(first);
  CHECK(pending_work(*a)->done() && !pending_work(&device, nullptr)->done());
  device.run_all();
  CHECK(pending_work(&device, nullptr)->done());
}

// The circle of scope and reports is broken whether the failure comes before or after.
void test_nothing_leaks() {
  NullDevice& device = NullDevice::make();
  for (const bool early : {false, true}) {
    Ref<Scope> a = scope("a");
    device.fail_unit_of(1, Code::timeout);
    Ref<Node> x = kernel(device, 1);
    Node* roots[] = {x.get()};
    schedule(roots, false, a.get());
    if (early) a->abandon();
    device.run_all();
    if (!early) a->abandon();
    CHECK(device.record.collect(Observer::drained, -1).size() == 1);
    x = nullptr;
    CHECK(a->references() == 1);
  }
}

// Failures arrive while others read the list, and while it is given up.
void test_races(unsigned seed) {
  announce("test_races", seed);
  NullDevice& device =
      NullDevice::make({.depth = 4, .threads = 2, .seed = seed, .unit_faults = 500, .late = 200});
  for (int round = 0; round < 20; ++round) {
    std::vector<Ref<Scope>> scopes;
    for (int i = 0; i < 3; ++i) scopes.push_back(scope("x"));
    std::atomic<bool> stop{false};
    std::thread reader([&] {
      while (!stop) {
        for (const auto& each : scopes) {
          for (const auto& report : each->reports()) CHECK(report->scope.get() == each.get());
        }
      }
    });
    std::vector<Ref<Node>> nodes;
    std::size_t expected[3] = {};
    for (int i = 0; i < 60; ++i) {
      nodes.push_back(kernel(device, 1000 + i));
      Node* roots[] = {nodes.back().get()};
      schedule(roots, false, scopes[static_cast<std::size_t>(i % 3)].get());
    }
    if (round % 2) scopes[0]->abandon();
    while (!pending_work(&device, nullptr)->wait(1000000000)) {
    }
    stop = true;
    reader.join();
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      expected[i % 3] += nodes[i]->state() == State::poisoned;
    }
    for (std::size_t i = round % 2; i < 3; ++i) CHECK(scopes[i]->reports().size() == expected[i]);
    for (const auto& each : scopes) each->abandon();
    device.record.collect(Observer::drained, -1);
    CHECK(device.record.counts().unobserved == 0);
  }
  device.stop();
}

}  // namespace

int main() {
  test_innermost_owns(false);
  test_innermost_owns(true);
  test_pending();
  test_nothing_leaks();
  test_races(1);
  test_races(std::random_device{}());
}
