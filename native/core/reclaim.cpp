// The list of objects that wait to be given back to the runtime they came from.
#include "nitinol/reclaim.h"

namespace nitinol {

void Keep::destroy(Keep* self) noexcept {
  self->next_ = discarded_.load(std::memory_order_relaxed);
  while (!discarded_.compare_exchange_weak(self->next_, self, std::memory_order_release,
                                           std::memory_order_relaxed)) {
  }
}

Keep* Keep::take_discarded() noexcept {
  return discarded_.exchange(nullptr, std::memory_order_acquire);
}

}  // namespace nitinol
