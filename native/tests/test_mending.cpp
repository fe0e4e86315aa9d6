// Tests of what a device does about failures by itself: it tries again in place, or takes no work.
#include <utility>
#include <vector>

#include "check.h"
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
  CHECK(refusal.code == Code::access_revoked && refusal.args[0] == 1 && !refusal.injected);
  device.finish(submission, refusal);
  CHECK(a->poison()->roots()[0]->fault.code == Code::access_revoked);
  CHECK(a->poison() != failed->poison() && b->poison() == failed->poison());
  CHECK(device.units_run == 0 && device.record.counts().struck == 2);
}

// What the policy mends in place is seen by nobody, and counted.
void test_in_place() {
  Behaviour behaviour;
  behaviour.recovery = RecoveryPolicy{};
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
  for (Phase phase : {Phase::encode, Phase::commit, Phase::completion}) {
    CHECK(strike(Code::innocent_victim, 1, phase) == std::pair(true, std::int64_t{1'000'000}));
    CHECK(strike(Code::innocent_victim, 3, phase) == std::pair(true, std::int64_t{7'000'000}));
    CHECK(strike(Code::innocent_victim, 4, phase) == std::pair(false, std::int64_t{7'000'000}));
    CHECK(strike(Code::impacting_interactivity, 2, phase) == std::pair(true, std::int64_t{3'000'000}));
    CHECK(strike(Code::out_of_memory, 1, phase) == std::pair(true, std::int64_t{0}));
    CHECK(strike(Code::out_of_memory, 2, phase).first == false);
    CHECK(strike(Code::internal, 1, phase).first && !strike(Code::internal, 2, phase).first);
    for (Code code : {Code::timeout, Code::page_fault, Code::io, Code::singular_matrix}) {
      CHECK(!strike(code, 1, phase).first);
    }
  }
}

}  // namespace

int main() {
  test_turned_away();
  test_in_place();
}
