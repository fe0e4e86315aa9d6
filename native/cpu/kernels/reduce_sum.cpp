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
  // -0.0 is the neutral element of addition: it keeps a sum of negative zeros negative.
  static Acc identity() noexcept {
    if constexpr (std::is_integral_v<Acc>) {
      return 0;
    } else if constexpr (std::is_floating_point_v<Acc>) {
      return -Acc(0);
    } else {
      using Part = typename Acc::value_type;
      return Acc(-Part(0), -Part(0));
    }
  }
  static Acc empty() noexcept { return Acc(0); }
  static Acc combine(Acc a, Acc b) noexcept { return a + b; }
};

template <class T>
struct Product : Accumulator<T> {
  using Acc = typename Accumulator<T>::Acc;
  // A tree could overflow in one branch and underflow in another where the product
  // of the elements in their order does neither.
  static constexpr bool sequential = !std::is_integral_v<T>;
  static Acc identity() noexcept { return Acc(1); }
  static Acc empty() noexcept { return Acc(1); }
  static Acc combine(Acc a, Acc b) noexcept { return multiply(a, b); }
};

template <template <class> class P>
void accumulate(const Launch& launch) noexcept {
  with_accumulator_input(launch, [](const Launch& ready) noexcept {
    dispatch(ready.inputs[0].dtype,
             [&]<class T>(std::type_identity<T>) { reduce<P<T>>(ready); });
  });
}

}  // namespace

void sum(const Launch& launch) noexcept { accumulate<Sum>(launch); }
void prod(const Launch& launch) noexcept { accumulate<Product>(launch); }

}  // namespace nitinol::cpu::kernels
