// The instructions of fused programs as expressions of MSL.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "nitinol/program.h"

namespace nitinol::metal {

// What an expression calls, in the order in which it is put in front of a kernel.
enum Library : unsigned {
  casts = 1,
  integers = 2,
  floats = 4,
  special = 8,
  complexes = 16,
};
inline constexpr int library_count = 5;
std::string_view library_file(int bit) noexcept;

struct Expression {
  std::string text;        // empty: the op is not defined for these dtypes
  unsigned libraries = 0;  // what it calls
  std::string condition;   // not empty: a fault is raised where this holds
};

// `arguments` are names of values: of the operands, with the dtypes that `step` says.
Expression expression(const Instruction& step, std::span<const std::string> arguments);

}  // namespace nitinol::metal
