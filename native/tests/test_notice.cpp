// Tests of notices: what is told, in which order, and that nothing is kept for nobody.
#include <thread>
#include <vector>

#include "check.h"
#include "nitinol/error.h"
#include "nitinol/notice.h"

using namespace nitinol;

namespace {

Ref<Report> report(std::uint32_t unit) {
  auto made = Ref<Report>::adopt(new Report);
  made->unit = unit;
  return made;
}

void test_only_for_listeners() {
  Notices notices;
  Ref<Report> x = report(1);
  notices.failed(x);
  notices.changed(Condition::ok, Condition::degraded);
  CHECK(!notices.any() && x->references() == 1);
  notices.listen_errors(1);
  notices.changed(Condition::ok, Condition::degraded);
  CHECK(!notices.any());
  notices.failed(x);
  CHECK(notices.any() && x->references() == 2);
  CHECK(notices.take_error() == x && !notices.take_error() && !notices.any());
  CHECK(x->references() == 1);
  notices.listen_errors(-1);
  notices.listen_changes(1);
  notices.failed(x);
  CHECK(!notices.any());
  // Health tells changes alone.
  Health health(&notices);
  health.failed(Code::singular_matrix);
  CHECK(!notices.any());
  health.failed(Code::device_removed);
  health.succeeded();
  health.failed(Code::timeout);
  Notices::Change change{};
  CHECK(notices.any() && notices.take_change(change) && !notices.take_change(change));
  CHECK(change.before == Condition::ok && change.now == Condition::lost);
}

void test_order() {
  Notices notices;
  notices.listen_errors(1);
  for (std::uint32_t i = 0; i < 100; ++i) {
    notices.failed(report(i));
    if (i % 3 == 2) CHECK(notices.take_error()->unit == i / 3);
  }
  for (std::uint32_t i = 33; i < 100; ++i) CHECK(notices.take_error()->unit == i);
  CHECK(!notices.take_error());
}

// More changes than there is room for: none is out of order, and the last is right.
void test_more_changes_than_room() {
  Notices notices;
  notices.listen_changes(1);
  for (int i = 0; i < 1000; ++i) {
    notices.changed(Condition::ok, Condition::degraded);
    notices.changed(Condition::degraded, i == 999 ? Condition::suspended : Condition::ok);
  }
  Notices::Change change{};
  Condition now = Condition::ok;
  int told = 0;
  while (notices.take_change(change)) {
    CHECK(change.before == now && change.now != now);
    now = change.now;
    ++told;
  }
  CHECK(now == Condition::suspended && told > 10);
}

void test_threads() {
  Notices notices;
  notices.listen_errors(1);
  std::vector<std::thread> threads;
  for (std::uint32_t t = 0; t < 3; ++t) {
    threads.emplace_back([&notices, t] {
      for (std::uint32_t i = 0; i < 2000; ++i) notices.failed(report(t * 10000 + i));
    });
  }
  std::uint32_t next[3] = {};
  std::uint32_t found = 0;
  while (found < 6000) {
    const Ref<Report> taken = notices.take_error();
    if (!taken) {
      std::this_thread::yield();
      continue;
    }
    CHECK(taken->unit % 10000 == next[taken->unit / 10000]++);
    ++found;
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(!notices.take_error());
}

}  // namespace

int main() {
  test_only_for_listeners();
  test_order();
  test_more_changes_than_room();
  test_threads();
}
