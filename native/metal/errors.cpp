// The table of Metal's error numbers.
#include "errors.h"

#include "nitinol/policy.h"

namespace nitinol::metal {

namespace {

// MTLCommandBufferError; 1 is "internal", and so is what has no name.
Code of_metal(std::int64_t code) noexcept {
  switch (code) {
    case 2:
      return Code::timeout;
    case 3:
      return Code::page_fault;
    case 4:
      return Code::access_revoked;
    case 7:
      return Code::not_permitted;
    case 8:
      return Code::out_of_memory;
    case 9:
      return Code::invalid_resource;
    case 10:
      return Code::memoryless;
    case 11:
      return Code::device_removed;
    case 12:
      return Code::stack_overflow;
    default:
      return Code::internal;
  }
}

// The driver's own numbers, as seen in the field; Metal publishes none of them.
Code of_driver(std::int64_t raw) noexcept {
  switch (raw) {
    case 2:  // timeout
    case 3:  // hang
      return Code::timeout;
    case 4:
      return Code::submissions_ignored;
    case 5:
      return Code::innocent_victim;
    case 6:
      return Code::not_permitted;
    case 8:
      return Code::out_of_memory;
    case 9:
      return Code::invalid_resource;
    case 11:
      return Code::page_fault;
    case 14:
      return Code::impacting_interactivity;
    default:
      return Code::internal;
  }
}

}  // namespace

Code classify(const DriverError& error) noexcept {
  const Code metal = error.known_domain ? of_metal(error.code) : Code::internal;
  // Metal merges several of the driver's numbers into one, above all into "internal".
  const bool merged = metal == Code::internal || metal == Code::access_revoked;
  const Code driver = error.has_raw && merged ? of_driver(error.raw) : Code::internal;
  if (driver == Code::internal) return metal;
  // Access that was revoked stays so, whatever the driver called the last straw.
  return metal == Code::access_revoked && driver != Code::submissions_ignored ? metal : driver;
}

Fault fault_of(const DriverError& error) noexcept {
  Fault fault;
  fault.code = classify(error);
  fault.domain = error.known_domain ? Domain::command_buffer : Domain::unknown;
  fault.native = static_cast<std::int32_t>(error.code);
  fault.raw = error.has_raw ? error.raw : 0;
  return fault;
}

bool ends_device(Code code) noexcept {
  return after_failure(Condition::ok, code) == Condition::lost;
}

Code refusal_after(Code code) noexcept {
  return code == Code::device_removed ? Code::device_removed : Code::submissions_ignored;
}

}  // namespace nitinol::metal
