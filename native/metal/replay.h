// What a kernel met, found out afterwards: a kernel only says where. Plain C++.
#pragma once

#include <cstdint>

#include "nitinol/submission.h"

namespace nitinol::metal {

// What a unit's fault word holds while nothing has failed.
inline constexpr std::uint32_t no_fault = 0xffffffff;

// Runs the unit again with the CPU's kernel on the same memory, into memory of its own. Of
// Code::none when that meets no error.
Fault replay(const Unit& unit) noexcept;

// The report of a unit that cannot be run again: what its op may meet, and the position.
Fault fault_at(const Unit& unit, std::uint32_t position) noexcept;

// How many of the first inputs an error of this op does not depend on: the others must be
// there, unchanged, for a replay.
std::size_t uninvolved_inputs(Op op) noexcept;

}  // namespace nitinol::metal
