// The way into the Metal device for code that is no Objective-C++.
#pragma once

namespace nitinol {
class Device;
}

namespace nitinol::metal {

// Null where the system has no Metal device.
Device* system_device() noexcept;

}  // namespace nitinol::metal
