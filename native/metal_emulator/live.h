// Objects alive, counted by class: how the tests find leaks.
#pragma once

#include <atomic>
#include <cstdint>

namespace metal_emulator {

// The counter of a class; the same pointer for the same name, for ever.
std::atomic<std::int64_t>* live_counter(const char* class_name) noexcept;
// Objects autoreleased on a thread that had no pool: they live as long as the thread.
extern std::atomic<std::uint64_t> autoreleased_without_pool;

}  // namespace metal_emulator
