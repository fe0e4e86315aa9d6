// searchsorted: binary search, many values on many threads.
#include "cpu/half.h"
#include "cpu/kernels/iterate.h"
#include "cpu/kernels/sort.h"

namespace nitinol::cpu::kernels {
namespace {

// The order that sort makes: NaN behind everything.
template <class T>
bool before(T a, T b) noexcept {
  if constexpr (std::is_same_v<T, float16>) {
    return before(to_float(a), to_float(b));
  } else if constexpr (std::is_floating_point_v<T>) {
    return a < b || (b != b && a == a);
  } else {
    return a < b;
  }
}

template <class T>
void search(const Launch& launch, bool right) noexcept {
  const View& sorted = launch.inputs[0];
  const View& values = launch.inputs[1];
  constexpr std::int64_t item = sizeof(T);
  const std::int64_t n = sorted.layout->size();
  const std::int64_t stride = n > 0 ? sorted.layout->stride(0) : 0;
  const T* x = sorted.as<T>();
  std::int64_t* out = launch.output.as<std::int64_t>();
  Nest<1> nest;
  for (int d = 0; d < values.layout->ndim(); ++d) {
    nest.push(values.layout->shape(d), {values.layout->stride(d) * item});
  }
  parallel_for(nest.size(), 1024, [&](std::int64_t begin, std::int64_t end) {
    Odometer<1> at(nest, nest.ndim, begin);
    for (std::int64_t i = begin; i < end; ++i, at.next()) {
      const T value = *reinterpret_cast<const T*>(values.data + at.offset[0]);
      // Elements of [first, first + length) are undecided; the step has no branch to miss.
      std::int64_t first = 0;
      std::int64_t length = n;
      while (length > 0) {
        const std::int64_t half = length / 2;
        const T middle = x[(first + half) * stride];
        const bool below = right ? !before(value, middle) : before(middle, value);
        first = below ? first + half + 1 : first;
        length = below ? length - half - 1 : half;
      }
      out[i] = first;
    }
  });
}

}  // namespace

void searchsorted(const Launch& launch) noexcept {
  const DType dtype = launch.inputs[0].dtype;
  if (is_complex(dtype) || launch.inputs[1].dtype != dtype) return refuse(launch);
  dispatch(dtype, [&]<class T>(std::type_identity<T>) {
    if constexpr (!requires(T v) { v.real(); }) search<T>(launch, launch.params.ints[0] != 0);
  });
}

}  // namespace nitinol::cpu::kernels
