// Pure decisions about failures: they know no device, and are tested by tables.
#pragma once

#include <atomic>
#include <cstdint>

#include "nitinol/fault.h"

namespace nitinol {

enum class Condition : std::uint8_t { ok, degraded, suspended, lost };
const char* name(Condition condition) noexcept;

// Successful submissions after which a degraded device counts as ok again.
inline constexpr std::uint32_t successes_to_recover = 8;

// May the same work succeed when it is tried again?
bool retryable(Code code) noexcept;
// Is the failing work itself to blame (and not memory, a neighbour or the driver)?
bool culprit(Code code) noexcept;

// The condition after a failure.
Condition after_failure(Condition now, Code code) noexcept;
// The condition after `successes` successes in a row.
Condition after_success(Condition now, std::uint32_t successes) noexcept;

class Notices;

// A device's condition, updated by the resolver and loaded by anybody.
class Health {
 public:
  // Changes are told to `notices`.
  explicit Health(Notices* notices = nullptr) noexcept : notices_(notices) {}

  Condition condition() const noexcept { return condition_.load(std::memory_order_acquire); }
  void failed(Code code) noexcept;
  void succeeded() noexcept;

 private:
  void enter(Condition condition) noexcept;

  Notices* const notices_;
  std::atomic<Condition> condition_{Condition::ok};
  std::atomic<std::uint32_t> successes_{0};
};

}  // namespace nitinol
