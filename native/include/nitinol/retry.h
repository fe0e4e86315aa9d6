// Retry: what failed is computed anew, in new nodes; what was published stays as it is.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "nitinol/device.h"
#include "nitinol/node.h"
#include "nitinol/schedule.h"

namespace nitinol {

enum class RetryRefusal : std::uint8_t {
  none,
  forked,     // as scheduling says
  closed,     // likewise
  lost,       // `device` was
  suspended,  // `device` is
  donated,    // `array` was given away to an update in place, `taker`, and is not there any more
};

struct RetryResult {
  RetryRefusal refusal = RetryRefusal::none;
  Device* device = nullptr;
  Ref<Node> array;
  Ref<Node> taker;
  std::vector<Ref<Node>> nodes;  // to be evaluated in place of the roots, in their order
};

// Makes new nodes for the roots that failed and for all that failed on the way to them, and
// hangs each on the one it replaces, where a later retry finds it. Nothing is scheduled.
// Roots that have not failed, nor anything they need, stay themselves. The whole graph is
// looked at before anything is changed: refused or out of memory (std::bad_alloc), it is as
// it was.
RetryResult retry(std::span<Node* const> roots);

}  // namespace nitinol
