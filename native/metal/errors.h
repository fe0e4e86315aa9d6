// From the numbers of Metal and of the driver below it to this library's codes. Plain C++, no
// Metal: the table is tested on every platform.
#pragma once

#include <cstdint>

#include "nitinol/fault.h"

namespace nitinol::metal {

// What the NSError of a command buffer says.
struct DriverError {
  bool known_domain = false;  // MTLCommandBufferErrorDomain
  std::int64_t code = 0;      // MTLCommandBufferError
  bool has_raw = false;       // an underlying error of IOGPUCommandQueueErrorDomain
  std::int64_t raw = 0;       // its number
};

// Never Code::none: a number that nobody knows is an internal failure.
Code classify(const DriverError& error) noexcept;

// The same with all that a report keeps of it.
Fault fault_of(const DriverError& error) noexcept;

// Does the driver take no more work from this process after it?
bool ends_device(Code code) noexcept;
// What work is told that is given to the device after that.
Code refusal_after(Code code) noexcept;

}  // namespace nitinol::metal
