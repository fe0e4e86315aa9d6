// Tests of what a device does about failures by itself: it tries again in place, or takes no work.
#include <utility>
#include <vector>

#include "check.h"
#include "nitinol/retry.h"
#include "nitinol/schedule.h"
#include "null_arrays.h"

using namespace nitinol;
using namespace nitinol::testing;

namespace {

Ref<Node> update(NullDevice& device, Node* x, Node* fresh, Node* start, std::int64_t number) {
  return make(device, Op::slice_update, {x, fresh, start}, number);
}

// Nothing is submitted to a device that is closed, and every array says why.
void test_turned_away() {
  NullDevice& device = NullDevice::make();
  Ref<Node> x = leaf(device, 5);
  Ref<Node> failed = make(device, Op::concatenate, {x.get()}, 1);
  device.fail_unit_of(1, Code::access_revoked);
  run(device, {failed.get()});
  Ref<Node> a = make(device, Op::concatenate, {x.get()}, 2);
  Ref<Node> b = make(device, Op::concatenate, {failed.get()}, 3);
  Ref<Node> c = make(device, Op::concatenate, {x.get()}, 4);
  Node* roots[] = {a.get(), b.get(), c.get()};
  schedule(roots, false);
  c = nullptr;
  Ref<Submission> submission = device.next();
  Runner::skip_unwanted(*submission);
  const Fault refusal = Runner::turn_away(device, *submission);
  CHECK(refusal.code == Code::access_revoked && refusal.args[0] == 1 && refusal.injection == 0);
  device.finish(submission, refusal);
  CHECK(a->poison()->roots()[0]->fault.code == Code::access_revoked);
  CHECK(a->poison() != failed->poison() && b->poison() == failed->poison());
  CHECK(device.units_run == 0 && device.record.counts().struck == 2);
}

// What the policy mends in place is seen by nobody, and counted.
void test_in_place(bool later) {
  Behaviour behaviour;
  behaviour.recovery = RecoveryPolicy{};
  behaviour.later = later;
  const auto strike = [&](Code code, std::uint64_t times, Phase phase) {
    NullDevice& device = NullDevice::make(behaviour);
    InjectionRule rule;
    rule.code = code;
    rule.times = times;
    rule.phase = phase;
    device.injector.add(rule);
    Ref<Node> x = leaf(device, 10, 4), fresh = leaf(device, 77, 1), start = leaf(device, 2, 1);
    Ref<Node> u = update(device, x.get(), fresh.get(), start.get(), 1);
    Ref<Node> v = make(device, Op::negative, {u.get()}, 2);
    x = nullptr;
    run(device, {u.get(), v.get()});
    const ErrorCounts counts = device.record.counts();
    const bool mended = u->state() == State::ready;
    CHECK(counts.recovered == (mended ? times : 0));
    CHECK(counts.unobserved == (mended ? 0 : 1));
    CHECK(counts.struck + counts.suppressed == times);
    CHECK(device.record.failures(code) == counts.struck + counts.suppressed);
    if (mended) {
      CHECK((values(u) == std::vector<std::int64_t>{10, 11, 77, 13}));
      CHECK((values(v) == std::vector<std::int64_t>{-10, -11, -77, -13}));
      CHECK(device.health.condition() == Condition::ok);
    } else {
      CHECK(u->poison() == v->poison() && u->poison()->roots()[0]->fault.code == code);
    }
    return std::pair(mended, device.paused.load());
  };
  if (later) {
    // One launch may fail several times at once, and then there is one pause.
    for (Phase phase : {Phase::encode, Phase::commit, Phase::completion}) {
      for (std::uint64_t times = 1; times <= 3; ++times) {
        const auto [mended, paused] = strike(Code::innocent_victim, times, phase);
        CHECK(mended && paused >= 1'000'000 && paused <= 7'000'000);
      }
      for (Code code : {Code::internal, Code::out_of_memory}) CHECK(strike(code, 1, phase).first);
      CHECK(!strike(Code::page_fault, 1, phase).first && !strike(Code::timeout, 1, phase).first);
    }
    return;
  }
  for (Phase phase : {Phase::encode, Phase::commit, Phase::completion}) {
    CHECK(strike(Code::innocent_victim, 1, phase) == std::pair(true, std::int64_t{1'000'000}));
    CHECK(strike(Code::innocent_victim, 3, phase) == std::pair(true, std::int64_t{7'000'000}));
    CHECK(strike(Code::innocent_victim, 4, phase) == std::pair(false, std::int64_t{7'000'000}));
    CHECK(strike(Code::impacting_interactivity, 2, phase) ==
          std::pair(true, std::int64_t{3'000'000}));
    CHECK(strike(Code::out_of_memory, 1, phase) == std::pair(true, std::int64_t{0}));
    CHECK(strike(Code::out_of_memory, 2, phase).first == false);
    CHECK(strike(Code::internal, 1, phase).first && !strike(Code::internal, 2, phase).first);
    for (Code code : {Code::timeout, Code::page_fault, Code::io, Code::singular_matrix}) {
      CHECK(!strike(code, 1, phase).first);
    }
  }
}

NullDevice& make_later() {
  Behaviour behaviour;
  behaviour.recovery = RecoveryPolicy{};
  behaviour.later = true;
  behaviour.held = 0;
  return NullDevice::make(behaviour);
}

// Launches what the roots need, and ends it with each of the failures in turn; then well.
void strike(NullDevice& device, std::vector<Node*> roots, std::vector<Code> codes) {
  schedule(roots, false);
  for (Code code : codes) {
    const Ref<Submission> submission = device.next();
    CHECK(submission);
    device.execute(*submission);
    device.finish(submission, fault_of(code));
  }
  device.run_all();
}

// A submission that fails as a whole runs again as a whole.
void test_whole() {
  const struct {
    std::vector<Code> codes;
    bool mended;
  } table[] = {
      {{Code::innocent_victim}, true},
      {{Code::innocent_victim, Code::innocent_victim, Code::innocent_victim}, true},
      {std::vector(4, Code::innocent_victim), false},
      {{Code::out_of_memory, Code::innocent_victim, Code::internal}, true},
      {{Code::internal, Code::internal}, false},
      {{Code::impacting_interactivity, Code::innocent_victim}, true},
      {{Code::innocent_victim, Code::page_fault}, false},
      {{Code::timeout}, false},
      {{Code::innocent_victim, Code::access_revoked}, false},
  };
  for (const auto& row : table) {
    NullDevice& device = make_later();
    const std::int64_t alive = Node::alive();
    {
      Ref<Node> x = leaf(device, 10, 4), fresh = leaf(device, 77, 1), start = leaf(device, 2, 1);
      Ref<Node> u = update(device, x.get(), fresh.get(), start.get(), 1);
      Ref<Node> sum = make(device, Op::add, {u.get(), u.get()}, 2);
      Ref<Node> v = make(device, Op::concatenate, {sum.get()}, 3);
      x = sum = nullptr;
      strike(device, {u.get(), v.get()}, row.codes);
      const ErrorCounts counts = device.record.counts();
      CHECK((u->state() == State::ready) == row.mended && u->state() == v->state());
      CHECK(counts.recovered == (row.mended ? row.codes.size() : 0));
      CHECK(counts.struck + counts.suppressed == row.codes.size());
      CHECK(counts.unobserved == (row.mended ? 0 : 1));
      if (row.mended) {
        CHECK((values(u) == std::vector<std::int64_t>{10, 11, 77, 13}));
        CHECK(device.health.condition() == Condition::ok);
      } else {
        const Report& report = *u->poison()->roots()[0];
        CHECK(u->poison() == v->poison() && report.fault.code == row.codes.back());
      }
    }
    CHECK(Node::alive() == alive && device.memory.stats().in_use == 0);
  }
}

// Updates in a row, and somebody who reads what is between them: nobody's memory is written to
// before all who read it have, however often all of it runs.
void test_updates() {
  for (bool from_before : {false, true}) {
    for (bool seen : {false, true}) {
      NullDevice& device = make_later();
      Ref<Node> x = leaf(device, 10, 4), fresh = leaf(device, 77, 1), start = leaf(device, 2, 1);
      Ref<Node> other = leaf(device, 88, 1), place = leaf(device, 0, 1);
      if (!from_before) x = make(device, Op::negative, {x.get()}, 9);
      Ref<Node> u = update(device, x.get(), fresh.get(), start.get(), 1);
      Ref<Node> sees = seen ? make(device, Op::negative, {u.get()}, 2) : nullptr;
      Ref<Node> v = update(device, u.get(), other.get(), place.get(), 3);
      x = u = nullptr;
      std::vector<Node*> roots{v.get()};
      if (seen) roots.insert(roots.begin(), sees.get());
      strike(device, roots, {Code::innocent_victim});
      // What was given from before is not given on.
      CHECK(device.donations == (from_before ? 2 : 4));
      const std::int64_t sign = from_before ? 1 : -1;
      CHECK((values(v) == std::vector<std::int64_t>{88, sign * 11, 77, sign * 13}));
      CHECK(!seen ||
            (values(sees) == std::vector<std::int64_t>{sign * -10, sign * -11, -77, sign * -13}));
      CHECK(device.record.counts().recovered == 1);
    }
  }
}

// What a submission lost keeps the array that it was given, in which the same rows are written
// once more. Where they begin must be known from before.
void test_given_back() {
  for (bool computed : {false, true}) {
    NullDevice& device = make_later();
    Ref<Node> x = leaf(device, 10, 4), fresh = leaf(device, 77, 1), start = leaf(device, 2, 1);
    if (computed) start = make(device, Op::concatenate, {start.get()}, 9);
    Ref<Node> u = update(device, x.get(), fresh.get(), start.get(), 1);
    Node* given = x.get();
    x = nullptr;
    strike(device, {start.get(), u.get()}, {Code::page_fault});
    CHECK(u->state() == State::poisoned && device.donations == 1);
    CHECK((given->buffer() != nullptr) == !computed);
    Node* root = u.get();
    RetryResult result = retry({&root, 1});
    CHECK(result.refusal == (computed ? RetryRefusal::donated : RetryRefusal::none));
    if (computed) continue;
    run(device, {result.nodes[0].get()});
    CHECK((values(result.nodes[0]) == std::vector<std::int64_t>{10, 11, 77, 13}));
  }
}

// Of two units that were struck one is mended; the other, with what depends on it, is not, and
// that stays so however often the rest runs.
void test_some_mended() {
  NullDevice& device = make_later();
  const auto plan = [&](Code code, std::uint64_t at, Phase phase) {
    InjectionRule rule;
    rule.code = code;
    rule.at = at;
    rule.phase = phase;
    device.injector.add(rule);
  };
  plan(Code::page_fault, 1, Phase::completion);
  plan(Code::innocent_victim, 2, Phase::completion);
  plan(Code::out_of_memory, 4, Phase::encode);  // the first of the second launch
  Ref<Node> x = leaf(device, 3);
  Ref<Node> a = make(device, Op::concatenate, {x.get()}, 1);
  Ref<Node> b = make(device, Op::concatenate, {x.get()}, 2);
  Ref<Node> c = make(device, Op::concatenate, {a.get()}, 3);
  Ref<Node> d = make(device, Op::concatenate, {b.get()}, 4);
  Ref<Node> plain = make(device, Op::concatenate, {x.get()}, 5);
  run(device, {a.get(), b.get(), c.get(), d.get()});
  CHECK(a->poison()->roots()[0]->fault.code == Code::page_fault && c->poison() == a->poison());
  run(device, {plain.get()});
  CHECK(values(b) == values(plain) && d->state() == State::ready);
  const ErrorCounts counts = device.record.counts();
  CHECK(counts.struck == 3 && counts.recovered == 2 && counts.unobserved == 1);
  CHECK(counts.suppressed == 0);
}

// Nobody wants it any more when it could run again.
void test_dropped() {
  NullDevice& device = make_later();
  const std::int64_t alive = Node::alive();
  {
    Ref<Node> x = leaf(device, 3);
    Ref<Node> a = make(device, Op::concatenate, {x.get()}, 1);
    Node* roots[] = {a.get()};
    schedule(roots, false);
    const Ref<Submission> submission = device.next();
    device.execute(*submission);
    device.finish(submission, fault_of(Code::innocent_victim));
    a = nullptr;
    device.run_all();
    CHECK(device.units_run == 0);
    const ErrorCounts counts = device.record.counts();
    CHECK(counts.recovered == 0 && counts.suppressed == 1 && counts.struck == 0);
  }
  CHECK(Node::alive() == alive && device.memory.stats().in_use == 0);
}

}  // namespace

int main() {
  test_turned_away();
  test_in_place(false);
  test_in_place(true);
  test_whole();
  test_updates();
  test_given_back();
  test_some_mended();
  test_dropped();
}
