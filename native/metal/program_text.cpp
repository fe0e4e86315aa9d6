// Turning instructions into expressions: types, casts, names put into forms.
#include "metal/program_text.h"

#include "metal/launch.h"
#include "metal/program_forms.h"

namespace nitinol::metal {

std::string_view msl_type(DType dtype) noexcept {
  switch (dtype) {
    case DType::bool_:
      return "bool";
    case DType::int8:
      return "char";
    case DType::int16:
      return "short";
    case DType::int32:
      return "int";
    case DType::int64:
      return "long";
    case DType::uint8:
      return "uchar";
    case DType::uint16:
      return "ushort";
    case DType::uint32:
      return "uint";
    case DType::uint64:
      return "ulong";
    case DType::float16:
      return "half";
    case DType::float32:
      return "float";
    case DType::complex64:
      return "float2";
    case DType::float64:
    case DType::complex128:
      break;
  }
  return "";
}

std::string_view library_file(int bit) noexcept {
  constexpr std::string_view files[library_count] = {"elementwise_cast", "elementwise_integer",
                                                     "elementwise_float", "elementwise_special",
                                                     "elementwise_complex"};
  return files[bit];
}

namespace {

// From a float expression $a to an integer or bool dtype.
Form cast_of_float(DType to) noexcept {
  switch (to) {
    case DType::bool_:
      return {"truth($a)", casts};
    case DType::uint32:
    case DType::int64:
      return {"$T(float_to_long($a))", casts};
    case DType::uint64:
      return {"float_to_ulong($a)", casts};
    default:
      return {"$T(float_to_int($a))", casts};
  }
}

// Sources float16 and complex64 come as float, but for truth.
Form cast_form(DType in, DType out) noexcept {
  if (in == out) return {"$a"};
  if (out == DType::bool_) {
    if (is_integer(in)) return {"$a != 0"};
    return {"truth($a)", casts};
  }
  if (is_complex(out)) return {"float2(float($a), 0.0f)"};
  // Through float: integers that it rounds are infinite as float16.
  if (out == DType::float16) return {"half(float($a))"};
  if (is_integer(out) && (is_real_floating(in) || is_complex(in))) return cast_of_float(out);
  return {"$T($a)"};
}

std::string_view wide_type(DType dtype) noexcept { return itemsize(dtype) == 8 ? "ulong" : "uint"; }

std::string fill(std::string_view form, DType dtype, std::span<const std::string> arguments) {
  std::string text;
  for (std::size_t i = 0; i < form.size(); ++i) {
    if (form[i] != '$') {
      text += form[i];
      continue;
    }
    switch (form[++i]) {
      case 'T':
        text += msl_type(dtype);
        break;
      case 'W':
        text += wide_type(dtype);
        break;
      case 'B':
        text += std::to_string(8 * itemsize(dtype));
        break;
      default:
        text += arguments[static_cast<std::size_t>(form[i] - 'a')];
    }
  }
  return text;
}

Expression cast_expression(const Instruction& step, std::span<const std::string> arguments) {
  const Form form = cast_form(step.in, step.out);
  std::string source = arguments[0];
  if (step.in != step.out && step.out != DType::bool_) {
    if (is_complex(step.in)) source += ".x";
    if (step.in == DType::float16) source = "float(" + source + ")";
  }
  return {fill(form.text, step.out, {&source, 1}), form.libraries, {}};
}

}  // namespace

Expression expression(const Instruction& step, std::span<const std::string> arguments) {
  if (msl_type(step.in).empty() || msl_type(step.out).empty()) return {};
  if (step.op == Op::cast) return cast_expression(step, arguments);
  if (step.op == Op::where) return {fill("$a ? $b : $c", step.out, arguments), 0, {}};

  if (step.in == DType::float16) {
    if (step.op == Op::nextafter) {
      return {fill("half_nextafter($a, $b)", step.in, arguments), floats, {}};
    }
    const Form form = form_of(step.op, step.in);
    if (form.text.empty()) return {};
    std::string widened[3];
    for (std::size_t k = 0; k < arguments.size(); ++k) widened[k] = "float(" + arguments[k] + ")";
    std::string text = fill(form.text, step.in, {widened, arguments.size()});
    if (step.out == DType::float16) text = "half(" + text + ")";
    return {std::move(text), form.libraries, {}};
  }
  const Form form = form_of(step.op, step.in);
  Expression made{fill(form.text, step.in, arguments), form.libraries, {}};
  if (step.op == Op::power && is_signed_integer(step.in)) made.condition = arguments[1] + " < 0";
  return made;
}

}  // namespace nitinol::metal
