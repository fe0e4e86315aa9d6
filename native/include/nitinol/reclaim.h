// Keep: an object of another runtime (a Python object) that the core holds. It is
// given back on a list, because the thread that drops it may not own the GIL.
#pragma once

#include <atomic>

#include "nitinol/ref.h"

namespace nitinol {

class Keep : public Counted<Keep>, public Census<Keep> {
 public:
  // Takes over the caller's reference to `object`.
  explicit Keep(void* object) noexcept : object_(object) {}
  void* object() const noexcept { return object_; }

  static void destroy(Keep* self) noexcept;

  // The objects waiting for release, as a list; the caller owns it and deletes each.
  static Keep* take_discarded() noexcept;
  static bool any_discarded() noexcept {
    return discarded_.load(std::memory_order_relaxed) != nullptr;
  }
  Keep* next() const noexcept { return next_; }
  static void free(Keep* self) noexcept { delete self; }

 private:
  // Looked at by every operator, so the load is inline.
  static inline constinit std::atomic<Keep*> discarded_{nullptr};

  void* object_;
  Keep* next_ = nullptr;
};

}  // namespace nitinol
