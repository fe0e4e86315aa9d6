// Finding an own loop.
#include "cpu/loops.h"

#include "cpu/loops_families.h"

namespace nitinol::cpu {

StridedLoop find_loop(Op op, DType in, DType out) noexcept {
  switch (op) {
    case Op::cast:
      return loops::cast(in, out);
    case Op::where:
      return loops::where(out);
    case Op::real:
    case Op::imag:
      return loops::complex_part(op, in);
    case Op::power:
      return loops::power(in);
    case Op::sigmoid:
      return loops::sigmoid(in);
    case Op::erf:
      return loops::erf(in);
    case Op::add:
    case Op::subtract:
    case Op::multiply:
    case Op::divide:
    case Op::floor_divide:
    case Op::remainder:
      return loops::arithmetic(op, in);
    default:
      return nullptr;
  }
}

}  // namespace nitinol::cpu
