// sum and prod.
#include "cpu/kernels/reduce.h"
#include "cpu/kernels/reduce_accumulator.h"
#include "cpu/kernels/reduce_tree.h"

namespace nitinol::cpu::kernels {
namespace {

template <class T>
struct Sum : Accumulator<T> {
  using Acc = typename Accumulator<T>::Acc;
  static constexpr bool sequential = false;
  static constexpr bool cloned = std::is_arithmetic_v<Acc>;
  static Acc identity() noexcept { return additive_identity<Acc>(); }
  static Acc empty() noexcept { return Acc(0); }
  static Acc combine(Acc a, Acc b) noexcept { return a + b; }
};

template <class T>
struct Product : Accumulator<T> {
  using Acc = typename Accumulator<T>::Acc;
  // A tree could overflow in one branch and underflow in another where the product
  // of the elements in their order does neither.
  static constexpr bool sequential = !std::is_integral_v<T>;
  static constexpr bool cloned = false;
  static Acc identity() noexcept { return Acc(1); }
  static Acc empty() noexcept { return Acc(1); }
  static Acc combine(Acc a, Acc b) noexcept { return multiply(a, b); }
};

template <template <class> class P>
void accumulate(const Launch& launch) noexcept {
  const DType in = launch.inputs[0].dtype, out = launch.output.dtype;
  with_accumulator_input(launch, accumulates_directly(in, out), [](const Launch& ready) noexcept {
    dispatch(ready.inputs[0].dtype, [&]<class T>(std::type_identity<T>) { reduce<P<T>>(ready); });
  });
}

}  // namespace

void sum(const Launch& launch) noexcept { accumulate<Sum>(launch); }
void prod(const Launch& launch) noexcept { accumulate<Product>(launch); }

}  // namespace nitinol::cpu::kernels
