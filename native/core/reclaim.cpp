// The list of objects that wait to be given back to the runtime they came from.
#include "nitinol/reclaim.h"

namespace nitinol {

namespace {
std::atomic<Keep*> discarded{nullptr};
}

void Keep::destroy(Keep* self) noexcept {
  self->next_ = discarded.load(std::memory_order_relaxed);
  while (!discarded.compare_exchange_weak(self->next_, self, std::memory_order_release,
                                          std::memory_order_relaxed)) {
  }
}

Keep* Keep::take_discarded() noexcept {
  return discarded.exchange(nullptr, std::memory_order_acquire);
}

bool Keep::any_discarded() noexcept {
  return discarded.load(std::memory_order_relaxed) != nullptr;
}

}  // namespace nitinol
