// sum, prod, max, min, all, any, argmax, argmin over the last axis.
#include "metal/kernels/copy.h"
#include "metal/kernels/kernels.h"
#include "metal/kernels/launch_helpers.h"

namespace nitinol::metal::kernels {
namespace {

// As in reduce.metal.
enum class Function { sum = 1, prod, max, min, all, any, argmax, argmin };

constexpr std::int64_t short_length = 8;
constexpr std::int64_t block_length = 512;
constexpr std::int64_t chunk_length = 4096;
constexpr std::int64_t rows_per_group = group_threads / 32;

struct Parameters {
  std::int64_t n, stride, outer, chunks;
  std::int64_t columns, column_tiles, column_stride, column_step;
};

// How a function sees its elements.
struct Types {
  std::string_view in, value, out;
  std::size_t part_size = 0;  // bytes of what is kept of a chunk
  bool in_order = false;      // no other order will do
  std::string_view zero = "0", one = "1", lowest = "0", mask = "0";
};

bool finds(Function f) noexcept { return f == Function::argmax || f == Function::argmin; }

Types accumulator(DType in, DType out) noexcept {
  if (is_complex(in)) {
    return {"float2", "float2", "float2", 8, true, "float2(-0.0f, -0.0f)", "float2(1.0f, 0.0f)"};
  }
  if (is_real_floating(in)) {
    return {msl_type(in), "float", msl_type(out), 4, true, "-0.0f", "1.0f"};
  }
  return {msl_type(in), "ulong", msl_type(out), 8, false};
}

// The widest type of the same kind that lanes exchange, and its extremes.
Types ordered(DType in, DType out, bool is_max) noexcept {
  Types types;
  types.in = msl_type(in);
  types.out = msl_type(out);
  const bool wide = itemsize(in) == 8;
  types.part_size = wide ? 8 : 4;
  if (is_real_floating(in)) {
    types.value = "float";
    types.lowest = is_max ? "-INFINITY" : "INFINITY";
  } else if (is_signed_integer(in)) {
    types.value = wide ? "long" : "int";
    types.lowest = wide     ? (is_max ? "(-0x7fffffffffffffffl - 1)" : "0x7fffffffffffffffl")
                   : is_max ? "(-0x7fffffff - 1)"
                            : "0x7fffffff";
    // What has no better value in its own width must be the result for an empty axis.
    if (in == DType::int8) types.lowest = is_max ? "-128" : "127";
    if (in == DType::int16) types.lowest = is_max ? "-32768" : "32767";
  } else {
    types.value = wide ? "ulong" : "uint";
    types.lowest = is_max               ? "0"
                   : in == DType::bool_ ? "1"
                   : itemsize(in) == 1  ? "255"
                   : itemsize(in) == 2  ? "65535"
                   : wide               ? "0xfffffffffffffffful"
                                        : "0xffffffffu";
  }
  return types;
}

// Words of which any bit set makes the element true, but for the signs of floating zeros.
Types truth(DType in) noexcept {
  Types types{word_type(itemsize(in)), "uint", "bool", 4};
  types.mask = in == DType::float16     ? "0x7fff"
               : in == DType::float32   ? "0x7fffffffu"
               : in == DType::complex64 ? "0x7fffffff7ffffffful"
               : itemsize(in) == 8      ? "0xfffffffffffffffful"
               : itemsize(in) == 4      ? "0xffffffffu"
               : itemsize(in) == 2      ? "0xffff"
                                        : "0xff";
  return types;
}

// One step of a reduction: x as walked by `walk` (operand 0: results, 1: x) and along the
// reduced axis.
class Reducer {
 public:
  Reducer(Encoder& encoder, Function function, const Types& types) noexcept
      : encoder_(encoder), function_(function), types_(types) {}

  void run(const Walk& walk, const Operand& x, bool from_parts, std::int64_t n, std::int64_t stride,
           const Operand& out) noexcept {
    Parameters p{};
    p.n = n;
    p.stride = stride;
    p.outer = walk.size();
    p.chunks = 1;
    if (p.outer == 0) return;
    const int column = column_dimension(walk, stride);
    if (n <= short_length || types_.in_order) {
      const bool by_rows = n > short_length && column < 0;
      start(by_rows ? "reduce_ordered_rows" : "reduce_in_order", from_parts, false);
      bind(x, out, walk, p);
      if (by_rows) {
        encoder_.dispatch(grid_of(ceil_div(p.outer, rows_per_group)), {group_threads, 1, 1});
      } else {
        dispatch_elements(encoder_, p.outer);
      }
      return;
    }
    p.chunks = ceil_div(n, chunk_length);
    Operand target = out;
    if (p.chunks > 1) {
      target = encoder_.scratch(static_cast<std::size_t>(p.outer * p.chunks) * types_.part_size);
    }
    if (column >= 0) {
      columns(walk, column, x, from_parts, p, target);
    } else if (n <= block_length) {
      start("reduce_short_rows", from_parts, false);
      bind(x, target, walk, p);
      encoder_.dispatch(grid_of(ceil_div(p.outer, rows_per_group)), {group_threads, 1, 1});
    } else {
      start("reduce_rows", from_parts, p.chunks > 1);
      bind(x, target, walk, p);
      encoder_.dispatch(grid_of(p.outer * p.chunks), {group_threads, 1, 1});
    }
    if (p.chunks == 1) return;
    Walk rows(2);
    rows.push(p.outer, {1, p.chunks});
    run(rows, target, true, p.chunks, 1, out);
  }

 private:
  // The dimension along which x is denser than along the reduced axis, or -1.
  static int column_dimension(const Walk& walk, std::int64_t stride) noexcept {
    int best = -1;
    std::int64_t smallest = magnitude(stride);
    for (int d = 0; d < walk.ndim(); ++d) {
      const std::int64_t s = magnitude(walk.stride(1, d));
      if (s != 0 && s < smallest && walk.shape(d) >= 4) {
        smallest = s;
        best = d;
      }
    }
    return best;
  }

  void start(std::string_view name, bool from_parts, bool to_parts) noexcept {
    Defines defines;
    defines.add("FUNCTION", static_cast<std::int64_t>(function_))
        .add("IN", types_.in)
        .add("VALUE", types_.value)
        .add("OUT", types_.out)
        .add("ZERO", types_.zero)
        .add("ONE", types_.one)
        .add("LOWEST", types_.lowest)
        .add("MASK", types_.mask);
    if (from_parts) defines.add("IN_PARTS", "1");
    if (to_parts) defines.add("OUT_PARTS", "1");
    defines.pipeline(encoder_, "reduce", name);
  }

  void bind(const Operand& x, const Operand& out, const Walk& walk, const Parameters& p) noexcept {
    // An empty array may have no memory; nothing is read of it.
    encoder_.buffer(0, p.n > 0 ? x : out);
    encoder_.buffer(1, out);
    walk.bind(encoder_, 2);
    bind_value(encoder_, 3, p);
  }

  void columns(Walk walk, int column, const Operand& x, bool from_parts, Parameters& p,
               const Operand& target) noexcept {
    p.columns = walk.shape(column);
    p.column_step = walk.stride(0, column);
    p.column_stride = walk.stride(1, column);
    p.column_tiles = ceil_div(p.columns, 32);
    walk.remove(column);
    start("reduce_columns", from_parts, p.chunks > 1);
    bind(x, target, walk, p);
    encoder_.dispatch(grid_of(walk.size() * p.column_tiles * p.chunks), {32, 8, 1});
  }

  Encoder& encoder_;
  Function function_;
  const Types& types_;
};

void reduce(const Launch& launch, const Operand& x, Function function,
            const Types& types) noexcept {
  const Layout& layout = *x.layout;
  const int axis = layout.ndim() - 1;
  std::array<std::int64_t, max_ndim> dense;
  std::int64_t step = 1;
  for (int d = axis - 1; d >= 0; --d) {
    dense[static_cast<std::size_t>(d)] = step;
    step *= layout.shape(d);
  }
  Walk walk(2);
  for (int d = 0; d < axis; ++d) {
    walk.push(layout.shape(d), {dense[static_cast<std::size_t>(d)], layout.stride(d)});
  }
  const std::int64_t n = layout.shape(axis);
  if (n == 0 && finds(function)) return;
  Reducer(launch.encoder, function, types)
      .run(walk, x, false, n, layout.stride(axis), launch.output);
}

// Integers of any width are added into integers; everything else in its own dtype.
bool accumulates_directly(DType in, DType out) noexcept {
  return ((is_integer(in) || in == DType::bool_) && is_integer(out)) ||
         (in == out && in != DType::bool_);
}

void accumulate(const Launch& launch, Function function) noexcept {
  if (refused(launch)) return;
  const DType out = launch.output.dtype;
  if (out == DType::bool_) return refuse(launch);
  Operand x = launch.inputs[0];
  try {
    const Layout layout(x.layout->shape());
    if (!accumulates_directly(x.dtype, out) && layout.size() > 0) {
      Operand converted =
          launch.encoder.scratch(static_cast<std::size_t>(layout.size()) * itemsize(out));
      convert_dense(launch.encoder, x, out, converted);
      converted.layout = &layout;
      converted.dtype = out;
      x = converted;
    } else if (!accumulates_directly(x.dtype, out)) {
      x.dtype = out;
    }
    Types types = accumulator(x.dtype, out);
    if (function == Function::sum) types.in_order = false;
    reduce(launch, x, function, types);
  } catch (const std::bad_alloc&) {
    launch.encoder.fail(Fault{Code::out_of_memory});
  }
}

void extreme(const Launch& launch, Function function) noexcept {
  if (refused(launch)) return;
  const DType in = launch.inputs[0].dtype;
  if (is_complex(in)) return refuse(launch);
  const bool is_max = function == Function::max || function == Function::argmax;
  Types types = ordered(in, launch.output.dtype, is_max);
  // A value and where it is.
  if (finds(function)) types.part_size = 16;
  reduce(launch, launch.inputs[0], function, types);
}

}  // namespace

void sum(const Launch& launch) noexcept { accumulate(launch, Function::sum); }
void prod(const Launch& launch) noexcept { accumulate(launch, Function::prod); }
void max(const Launch& launch) noexcept { extreme(launch, Function::max); }
void min(const Launch& launch) noexcept { extreme(launch, Function::min); }
void argmax(const Launch& launch) noexcept { extreme(launch, Function::argmax); }
void argmin(const Launch& launch) noexcept { extreme(launch, Function::argmin); }

void all(const Launch& launch) noexcept {
  if (refused(launch)) return;
  reduce(launch, launch.inputs[0], Function::all, truth(launch.inputs[0].dtype));
}

void any(const Launch& launch) noexcept {
  if (refused(launch)) return;
  reduce(launch, launch.inputs[0], Function::any, truth(launch.inputs[0].dtype));
}

}  // namespace nitinol::metal::kernels
