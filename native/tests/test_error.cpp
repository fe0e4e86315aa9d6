// Tests of reports, poison and the record: sets of roots, counts that always add up, and
// observation that happens once, from any number of threads.
#include <algorithm>
#include <atomic>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "check.h"
#include "nitinol/error.h"
#include "null_device.h"

using namespace nitinol;
using namespace nitinol::testing;

namespace {

Ref<Report> report(NullDevice& device, std::uint64_t submission, std::uint32_t unit = 0,
                   std::uint32_t stream = 0) {
  auto made = Ref<Report>::adopt(new Report);
  made->fault.code = Code::timeout;
  made->device = &device;
  made->submission = submission;
  made->unit = unit;
  made->stream = stream;
  return made;
}

std::vector<Report*> roots_of(const Ref<Poison>& poison) {
  std::vector<Report*> roots;
  if (!poison) return roots;
  for (const Ref<Report>& root : poison->roots()) roots.push_back(root.get());
  return roots;
}

// Against std::set, over random sequences of merges.
void test_merge(unsigned seed) {
  announce("test_merge", seed);
  std::mt19937 random(seed);
  NullDevice& device = NullDevice::make();
  std::vector<Ref<Report>> reports;
  for (std::uint32_t i = 0; i < 24; ++i) reports.push_back(report(device, i / 3, i % 3));
  for (int round = 0; round < 300; ++round) {
    std::vector<Ref<Poison>> poisons{nullptr};
    std::vector<std::set<int>> sets{{}};
    for (int i = 0; i < 20; ++i) {
      if (random() % 3 == 0) {
        const int r = static_cast<int>(random() % reports.size());
        poisons.push_back(Ref<Poison>::adopt(new Poison(reports[static_cast<std::size_t>(r)])));
        sets.push_back({r});
        continue;
      }
      const std::size_t a = random() % poisons.size();
      const std::size_t b = random() % poisons.size();
      poisons.push_back(Poison::merge(poisons[a], poisons[b]));
      sets.push_back(sets[a]);
      sets.back().insert(sets[b].begin(), sets[b].end());
      // A set that holds the other is shared, not copied.
      if (sets.back() == sets[a] && poisons[a]) {
        CHECK(poisons.back() == poisons[a] || sets[a] == sets[b]);
      } else if (sets.back() == sets[b] && poisons[b]) {
        CHECK(poisons.back() == poisons[b]);
      }
    }
    for (std::size_t i = 0; i < poisons.size(); ++i) {
      std::vector<Report*> expected;
      for (int r : sets[i]) expected.push_back(reports[static_cast<std::size_t>(r)].get());
      CHECK(roots_of(poisons[i]) == expected);
    }
  }
}

void test_order() {
  NullDevice& device = NullDevice::make();
  const Ref<Report> a = report(device, 3, 9), b = report(device, 4, 0), c = report(device, 4, 1);
  CHECK(*a < *b && *b < *c && *a < *c);
  CHECK(!(*b < *a) && !(*a < *a));
}

void test_observed_once() {
  NullDevice& device = NullDevice::make();
  ErrorRecord& record = device.record;
  CHECK(record.failures() == 0);
  const Ref<Report> first = report(device, 1, 0, 0), second = report(device, 2, 0, 1);
  record.push(first);
  record.push(second);
  CHECK(record.failures() == 2 && record.failures(Code::timeout) == 2);
  CHECK(record.failures(Code::io) == 0);
  CHECK(record.observe(*first, Observer::raised));
  CHECK(!record.observe(*first, Observer::drained));
  CHECK(record.collect(Observer::drained, 0).empty());
  const std::vector<Ref<Report>> found = record.collect(Observer::collected, 1);
  CHECK(found.size() == 1 && found[0] == second);
  CHECK(second->observer() == Observer::collected && first->observer() == Observer::raised);
  CHECK(record.collect(Observer::printed, -1).empty());
  const ErrorCounts counts = record.counts();
  CHECK(counts.struck == 2 && counts.raised == 1 && counts.collected == 1);
  CHECK(counts.unobserved == 0 && counts.drained == 0 && counts.printed == 0);
}

// Whoever lists reports has not observed them yet, and only the first who does counts.
void test_listed_is_not_observed() {
  NullDevice& device = NullDevice::make();
  ErrorRecord& record = device.record;
  const Ref<Report> first = report(device, 1, 0, 0), second = report(device, 2, 0, 1);
  record.push(first);
  record.push(second);
  CHECK(record.unobserved(Observer::raised, 1).size() == 1);
  const std::vector<Ref<Report>> found = record.unobserved(Observer::drained, -1);
  CHECK(found.size() == 2 && found[0] == first && found[1] == second);
  CHECK(record.counts().unobserved == 2 && record.counts().drained == 0);
  CHECK(record.observe(*second, Observer::raised));
  CHECK(record.unobserved(Observer::drained, -1).size() == 1);
  record.sweep();
  CHECK(second->references() == 2 && first->references() == 3);  // ours, found's, the record's
  CHECK(record.collect(Observer::drained, -1).size() == 1);
  CHECK(first->references() == 2 && record.counts().unobserved == 0);
}

// Oldest first, whatever the order of arrival.
void test_sorted() {
  NullDevice& device = NullDevice::make();
  for (std::uint64_t s : {5, 2, 9, 1}) device.record.push(report(device, s));
  std::uint64_t before = 0;
  for (const auto& found : device.record.collect(Observer::drained, -1)) {
    CHECK(found->submission > before);
    before = found->submission;
  }
  CHECK(before == 9);
}

// Raised reports leave the record although nobody ever drains it.
void test_trimmed() {
  NullDevice& device = NullDevice::make();
  std::vector<Ref<Report>> reports;
  for (std::uint64_t i = 0; i < 3000; ++i) {
    reports.push_back(report(device, i));
    device.record.push(reports.back());
    if (i > 0) CHECK(device.record.observe(*reports[i], Observer::raised));
  }
  int kept = 0;
  for (const auto& r : reports) kept += r->references() > 1;
  CHECK(kept < 64);
  CHECK(reports[0]->references() == 2);  // nobody has seen it
  CHECK(device.record.collect(Observer::drained, -1).size() == 1);
}

// Pushers, raisers and collectors at once: each report is seen once, and at no time were more
// seen than struck.
void test_counts_under_threads() {
  NullDevice& device = NullDevice::make();
  ErrorRecord& record = device.record;
  constexpr int pushers = 3;
  constexpr int each = 4000;
  std::atomic<int> pushing{pushers};
  std::atomic<std::uint64_t> raised{0}, drained{0}, collected{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < pushers; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < each; ++i) {
        const Ref<Report> r = report(device, static_cast<std::uint64_t>(i),
                                     static_cast<std::uint32_t>(t), static_cast<std::uint32_t>(t));
        record.push(r);
        if (i % 2 && record.observe(*r, Observer::raised)) ++raised;
        if (i % 7 == 0) record.suppress();
      }
      --pushing;
    });
  }
  for (Observer by : {Observer::drained, Observer::collected}) {
    threads.emplace_back([&, by] {
      while (pushing > 0) {
        const auto found = record.collect(by, by == Observer::drained ? -1 : 1);
        (by == Observer::drained ? drained : collected) += found.size();
        const ErrorCounts c = record.counts();
        CHECK(c.struck >= c.raised + c.drained + c.collected + c.printed);
        CHECK(c.unobserved <= c.struck);
        std::this_thread::yield();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::size_t rest = record.collect(Observer::printed, -1).size();
  const ErrorCounts c = record.counts();
  CHECK(c.struck == pushers * each);
  CHECK(c.raised == raised && c.drained == drained && c.collected == collected);
  CHECK(c.printed == rest && c.unobserved == 0);
  CHECK(c.struck == c.raised + c.drained + c.collected + c.printed);
  CHECK(c.suppressed == pushers * ((each + 6) / 7));
}

}  // namespace

int main() {
  test_order();
  test_merge(7);
  test_merge(std::random_device{}());
  test_observed_once();
  test_listed_is_not_observed();
  test_sorted();
  test_trimmed();
  test_counts_under_threads();
}
