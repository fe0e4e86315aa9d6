// Random bits, uniform and normal floats, integers in a range: element e depends on (seed,
// offset, e) alone.
#include <cmath>

#include "metal/kernels/copy.h"
#include "metal/kernels/kernels.h"
#include "metal/kernels/launch_helpers.h"

namespace nitinol::metal::kernels {
namespace {

// As in random.metal.
struct Random {
  std::uint64_t seed = 0, offset = 0;
  std::int64_t size = 0;
  std::uint64_t low = 0, range = 0;
  float first = 0, last = 0, below = 0;
  float mean = 0, deviation = 0;
};

// `per_thread`: elements that the four words of a counter make.
void run(const Launch& launch, std::string_view function, Random random,
         std::int64_t per_thread) noexcept {
  Encoder& encoder = launch.encoder;
  random.seed = static_cast<std::uint64_t>(launch.params.ints[0]);
  random.offset = static_cast<std::uint64_t>(launch.params.ints[1]);
  random.size = launch.output.layout->size();
  if (random.size == 0) return;
  // Only the low bytes of integers count, so the width of the output is enough.
  Defines()
      .add("T", word_type(itemsize(launch.output.dtype)))
      .pipeline(encoder, "random", function);
  encoder.buffer(0, launch.output);
  bind_value(encoder, 1, random);
  dispatch_elements(encoder, random.size, per_thread);
}

}  // namespace

void random_bits(const Launch& launch) noexcept {
  switch (launch.output.dtype) {
    case DType::uint32:
    case DType::int32:
      return run(launch, "random_bits32", {}, 4);
    case DType::uint64:
    case DType::int64:
      return run(launch, "random_bits64", {}, 2);
    default:
      return refuse(launch);
  }
}

void random_uniform(const Launch& launch) noexcept {
  if (launch.output.dtype != DType::float32) return refuse(launch);
  Random random;
  random.first = static_cast<float>(launch.params.floats[0]);
  random.last = static_cast<float>(launch.params.floats[1]);
  random.below =
      random.first < random.last ? std::nextafter(random.last, random.first) : random.first;
  run(launch, "random_uniform", random, 4);
}

void random_normal(const Launch& launch) noexcept {
  if (launch.output.dtype != DType::float32) return refuse(launch);
  Random random;
  random.mean = static_cast<float>(launch.params.floats[0]);
  random.deviation = static_cast<float>(launch.params.floats[1]);
  run(launch, "random_normal", random, 4);
}

void random_integers(const Launch& launch) noexcept {
  const std::int64_t low = launch.params.ints[2], high = launch.params.ints[3];
  if (!is_integer(launch.output.dtype) || high <= low) return refuse(launch);
  Random random;
  random.low = static_cast<std::uint64_t>(low);
  random.range = static_cast<std::uint64_t>(high) - random.low;
  const bool wide = random.range >> 32 != 0;
  run(launch, wide ? "random_wide_integers" : "random_integers", random, wide ? 1 : 2);
}

}  // namespace nitinol::metal::kernels
