// Launching fused programs: printed as one kernel each, or as several where a program has
// more operands than a kernel may have arguments.
#include <algorithm>
#include <array>
#include <new>
#include <string>
#include <vector>

#include "metal/kernel_text.h"
#include "metal/kernels/copy.h"
#include "metal/kernels/launch_helpers.h"
#include "metal/launch.h"
#include "metal/program_text.h"

namespace nitinol::metal {
namespace {

using kernels::max_arguments;
using kernels::max_bytes;

// Three arguments are the dimensions, the size and the fault word.
constexpr int max_operands = max_arguments - 3;
constexpr int per_thread = 4;  // elements, where they lie side by side

enum class Kind : std::uint8_t { dense, scalar, strided };

// What is computed or read once: an input, or the result of an instruction.
struct Value {
  DType dtype = DType::bool_;
  Operand place{};    // in memory; a buffer of null: only in a register so far
  int last_use = -1;  // the last instruction that reads it
  bool output = false;
};

class Printer {
 public:
  Printer(const Program& program, std::span<const Operand> inputs, std::span<const Operand> outputs,
          Encoder& encoder)
      : program_(program), inputs_(inputs), outputs_(outputs), encoder_(encoder) {}

  void run() {
    layout_ = outputs_[0].layout;
    size_ = layout_->size();
    if (size_ == 0) return;
    number();
    const int steps = static_cast<int>(program_.code.size());
    for (int begin = 0; begin < steps && !encoder_.failed();) {
      const int end = cut(begin);
      launch(begin, end);
      begin = end;
    }
  }

 private:
  static std::size_t at(int i) noexcept { return static_cast<std::size_t>(i); }
  int value_of(int step) const noexcept { return static_cast<int>(inputs_.size()) + step; }
  Value& value(int id) noexcept { return values_[at(id)]; }

  // Registers are written again and again; values are not.
  void number() {
    const int inputs = program_.inputs;
    const int steps = static_cast<int>(program_.code.size());
    values_.resize(at(inputs + steps));
    sources_.resize(at(steps));
    std::vector<int> slot(at(inputs + program_.outputs) + program_.registers.size(), -1);
    for (int i = 0; i < inputs; ++i) {
      value(i).dtype = inputs_[at(i)].dtype;
      value(i).place = inputs_[at(i)];
      slot[at(i)] = i;
    }
    for (int s = 0; s < steps; ++s) {
      const Instruction& step = program_.code[at(s)];
      for (int k = 0; k < step.arity; ++k) {
        const int id = slot[step.source[k]];
        sources_[at(s)][at(k)] = id;
        value(id).last_use = s;
      }
      Value& made = value(value_of(s));
      made.dtype = step.out;
      slot[step.target] = value_of(s);
      if (step.target >= inputs && step.target < inputs + program_.outputs) {
        made.output = true;
        made.place = outputs_[at(step.target - inputs)];
      }
    }
  }

  // The end of the longest run of instructions from `begin` on whose operands fit.
  int cut(int begin) {
    const int steps = static_cast<int>(program_.code.size());
    std::vector<bool> read(values_.size());
    int loads = 0, stores = 0, end = begin + 1;
    for (int s = begin; s < steps; ++s) {
      const Instruction& step = program_.code[at(s)];
      for (int k = 0; k < step.arity; ++k) {
        const int id = sources_[at(s)][at(k)];
        if (id < value_of(begin) && !read[at(id)]) ++loads;
        // Not to be kept beyond its last reader.
        if (id >= value_of(begin) && !value(id).output && value(id).last_use == s &&
            !read[at(id)]) {
          --stores;
          read[at(id)] = true;
        }
        if (id < value_of(begin)) read[at(id)] = true;
      }
      const Value& made = value(value_of(s));
      if (made.output || made.last_use > s) ++stores;
      if (loads > max_operands) break;
      if (loads + stores <= max_operands) end = s + 1;
    }
    return end;
  }

  Kind kind_of(const Operand& place) const noexcept {
    const Layout* layout = place.layout;
    if (layout == nullptr) return Kind::dense;  // a value of an earlier kernel
    if (layout->contiguous() && layout->size() == size_) return Kind::dense;
    for (int d = 0; d < layout->ndim(); ++d) {
      if (layout->shape(d) != 1 && layout->stride(d) != 0) return Kind::strided;
    }
    return Kind::scalar;
  }

  // The shape of the outputs and the strides of the strided operands, neighbouring
  // dimensions joined where all operands allow it; as the kernel gets them.
  std::vector<std::int64_t> dimensions(std::span<const int> strided, int* ndim) {
    const std::size_t row = strided.size() + 1;  // an extent, then the strides
    std::vector<std::int64_t> joined;
    for (int d = 0; d < layout_->ndim(); ++d) {
      const std::int64_t n = layout_->shape(d);
      if (n == 1) continue;
      std::vector<std::int64_t> next{n};
      for (const int id : strided) {
        const Layout& own = *value(id).place.layout;
        const int axis = d - (layout_->ndim() - own.ndim());
        next.push_back(axis >= 0 && own.shape(axis) != 1 ? own.stride(axis) : 0);
      }
      bool join = !joined.empty();
      std::int64_t* last = join ? joined.data() + (joined.size() - row) : nullptr;
      for (std::size_t k = 1; k < row && join; ++k) join = last[k] == next[k] * n;
      if (join) {
        last[0] *= n;
        std::copy(next.begin() + 1, next.end(), last + 1);
      } else {
        joined.insert(joined.end(), next.begin(), next.end());
      }
    }
    *ndim = static_cast<int>(joined.size() / row);
    std::vector<std::int64_t> packed;
    for (std::size_t k = 0; k < row; ++k) {
      for (int d = 0; d < *ndim; ++d) packed.push_back(joined[at(d) * row + k]);
    }
    return packed;
  }

  // A row-major copy of an operand in the shape of the outputs.
  void densify(Value& of) {
    const Layout& own = *of.place.layout;
    std::vector<std::int64_t> strides(at(layout_->ndim()), 0);
    for (int d = 0; d < own.ndim(); ++d) {
      if (own.shape(d) != 1) strides[at(d + layout_->ndim() - own.ndim())] = own.stride(d);
    }
    const Layout broadcast(layout_->shape(), strides, 0);
    Operand from = of.place;
    from.layout = &broadcast;
    Operand to = encoder_.scratch(at(1) * static_cast<std::size_t>(size_) * itemsize(of.dtype));
    kernels::copy_dense(encoder_, from, to);
    to.layout = nullptr;
    of.place = to;
  }

  void launch(int begin, int end) {
    std::vector<int> loads, stores;
    for (int s = begin; s < end; ++s) {
      for (int k = 0; k < program_.code[at(s)].arity; ++k) {
        const int id = sources_[at(s)][at(k)];
        if (id < value_of(begin) && std::find(loads.begin(), loads.end(), id) == loads.end()) {
          loads.push_back(id);
        }
      }
      Value& made = value(value_of(s));
      if (!made.output && made.last_use < end) continue;
      stores.push_back(value_of(s));
      if (!made.output) {
        made.place = encoder_.scratch(static_cast<std::size_t>(size_) * itemsize(made.dtype));
      }
    }
    std::vector<int> strided;
    for (const int id : loads) {
      if (kind_of(value(id).place) == Kind::strided) strided.push_back(id);
    }
    int ndim = 0;
    std::vector<std::int64_t> dims = dimensions(strided, &ndim);
    while (dims.size() * sizeof(std::int64_t) > max_bytes) {
      densify(value(strided.back()));
      strided.pop_back();
      dims = dimensions(strided, &ndim);
    }
    const bool in_order = strided.empty();
    if (!print(begin, end, loads, stores, strided, ndim)) {
      return encoder_.fail(Fault{Code::internal});
    }
    encoder_.source(text_, "program");
    int index = 0;
    for (const int id : loads) encoder_.buffer(index++, value(id).place);
    for (const int id : stores) encoder_.buffer(index++, value(id).place);
    if (!in_order) encoder_.bytes(index, dims.data(), dims.size() * sizeof(std::int64_t));
    encoder_.bytes(index + 1, &size_, sizeof size_);
    if (faults_) encoder_.fault(index + 2);
    kernels::dispatch_elements(encoder_, size_, in_order ? per_thread : 1);
  }

  // The text depends on the structure alone: ops, dtypes, kinds of operands, and the number
  // of dimensions of strided ones.
  bool print(int begin, int end, std::span<const int> loads, std::span<const int> stores,
             std::span<const int> strided, int ndim) {
    std::string body, constants;
    unsigned libraries = 0;
    faults_ = false;
    const std::string pad = strided.empty() ? "    " : "  ";
    for (std::size_t k = 0; k < loads.size(); ++k) {
      const Value& from = value(loads[k]);
      const Kind kind = kind_of(from.place);
      const auto found = std::find(strided.begin(), strided.end(), loads[k]);
      std::string line = "const " + std::string(msl_type(from.dtype)) + " v" +
                         std::to_string(loads[k]) + " = x" + std::to_string(k) + "[";
      line += kind == Kind::dense    ? "i"
              : kind == Kind::scalar ? "0"
                                     : "o" + std::to_string(found - strided.begin());
      (kind == Kind::scalar ? constants.append("  ") : body.append(pad)) += line + "];\n";
    }
    for (int s = begin; s < end; ++s) {
      const Instruction& step = program_.code[at(s)];
      std::string names[3];
      for (int k = 0; k < step.arity; ++k) {
        names[k] = "v" + std::to_string(sources_[at(s)][at(k)]);
      }
      const Expression made = expression(step, {names, step.arity});
      if (made.text.empty()) return false;
      libraries |= made.libraries;
      const std::string type(msl_type(step.out)), name = "v" + std::to_string(value_of(s));
      if (made.condition.empty()) {
        body += pad + "const " + type + " " + name + " = " + made.text + ";\n";
      } else {
        faults_ = true;
        body += pad + type + " " + name + " = 0;\n";
        body += pad + "if (" + made.condition + ") {\n" + pad + "  raise_fault(fault, i);\n" + pad +
                "} else {\n" + pad + "  " + name + " = " + made.text + ";\n" + pad + "}\n";
      }
    }
    for (std::size_t k = 0; k < stores.size(); ++k) {
      body += pad + "y" + std::to_string(k) + "[i] = v" + std::to_string(stores[k]) + ";\n";
    }

    text_.clear();
    for (int bit = 0; bit < library_count; ++bit) {
      if (libraries >> bit & 1) text_ += kernel_text(library_file(bit));
    }
    text_ += "kernel void program(\n";
    int index = 0;
    for (std::size_t k = 0; k < loads.size(); ++k) {
      text_ += "    device const " + std::string(msl_type(value(loads[k]).dtype)) + "* x" +
               std::to_string(k) + " [[buffer(" + std::to_string(index++) + ")]],\n";
    }
    for (std::size_t k = 0; k < stores.size(); ++k) {
      text_ += "    device " + std::string(msl_type(value(stores[k]).dtype)) + "* y" +
               std::to_string(k) + " [[buffer(" + std::to_string(index++) + ")]],\n";
    }
    if (!strided.empty()) {
      text_ += "    constant long* dims [[buffer(" + std::to_string(index) + ")]],\n";
    }
    text_ += "    constant long& size [[buffer(" + std::to_string(index + 1) + ")]],\n";
    if (faults_) {
      text_ += "    device atomic_uint* fault [[buffer(" + std::to_string(index + 2) + ")]],\n";
    }
    text_ += "    uint3 at [[thread_position_in_grid]], uint3 grid [[threads_per_grid]]) {\n";
    if (strided.empty()) {
      const std::string count = std::to_string(per_thread);
      text_ += "  const ulong first = flat_position(at, grid) * " + count + ";\n" + constants +
               "  for (ulong i = first; i < min(first + " + count + ", ulong(size)); ++i) {\n" +
               body + "  }\n}\n";
      return true;
    }
    text_ +=
        "  const ulong i = flat_position(at, grid);\n  if (i >= ulong(size)) return;\n" + constants;
    print_offsets(static_cast<int>(strided.size()), ndim);
    text_ += body + "}\n";
    return true;
  }

  // The offsets o0, o1, ... of the strided operands: the index is taken apart once for all.
  void print_offsets(int count, int ndim) {
    const std::string type = size_ < std::int64_t{1} << 31 ? "uint" : "ulong";
    const std::string n = std::to_string(ndim);
    text_ += "  long o0 = 0";
    for (int k = 1; k < count; ++k) text_ += ", o" + std::to_string(k) + " = 0";
    text_ += ";\n  " + type + " rest = " + type + "(i);\n";
    text_ += "  for (int d = " + std::to_string(ndim - 1) + "; d >= 0; --d) {\n";
    text_ += "    const " + type + " extent = " + type + "(dims[d]);\n";
    text_ += "    const " + type + " outer = d > 0 ? rest / extent : 0;\n";
    text_ += "    const long index = long(rest - outer * extent);\n    rest = outer;\n";
    for (int k = 0; k < count; ++k) {
      const std::string operand = std::to_string(k);
      text_ +=
          "    o" + operand + " += index * dims[" + n + " * " + std::to_string(k + 1) + " + d];\n";
    }
    text_ += "  }\n";
  }

  const Program& program_;
  std::span<const Operand> inputs_;
  std::span<const Operand> outputs_;
  Encoder& encoder_;
  const Layout* layout_ = nullptr;
  std::int64_t size_ = 0;
  std::vector<Value> values_;
  std::vector<std::array<int, 3>> sources_;
  std::string text_;
  bool faults_ = false;
};

}  // namespace

void launch_program(const Program& program, std::span<const Operand> inputs,
                    std::span<const Operand> outputs, Encoder& encoder) noexcept {
  try {
    Printer(program, inputs, outputs, encoder).run();
  } catch (const std::exception&) {
    encoder.fail(Fault{Code::out_of_memory});
  }
}

}  // namespace nitinol::metal
