// How each elementwise operation is written in MSL.
#pragma once

#include <string_view>

#include "nitinol/dtype.h"
#include "nitinol/op.h"

namespace nitinol::metal {

// An expression: $a and $b are the operands, $T the dtype's name, $W an unsigned type at least as
// wide, $B its number of bits.
struct Form {
  std::string_view text;   // empty: not defined
  unsigned libraries = 0;  // what it calls (program_text.h)
};

// Of operands of `dtype`; float16 has the forms of float32, whose operands and result are
// converted. Not of cast and where.
Form form_of(Op op, DType dtype) noexcept;

}  // namespace nitinol::metal
