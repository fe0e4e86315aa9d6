// Turns Metal source text into C++: attributes of kernel parameters become calls,
// threadgroup variables become places in the group's memory, and what Metal refuses but
// C++ allows becomes an error. Lines keep their numbers, so that clang's messages fit.
#include "translate.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <set>
#include <vector>

#include "syntax.h"
#include "tokens.h"

namespace metal_emulator {
namespace {

using Kind = Token::Kind;

// Positions and sizes that a kernel may take; metal_entry::Position has a member for each.
constexpr std::array<std::string_view, 13> position_attributes = {
    "thread_position_in_grid",
    "thread_position_in_threadgroup",
    "threadgroup_position_in_grid",
    "threads_per_threadgroup",
    "dispatch_threads_per_threadgroup",
    "threadgroups_per_grid",
    "threads_per_grid",
    "thread_index_in_threadgroup",
    "thread_index_in_simdgroup",
    "simdgroup_index_in_threadgroup",
    "simdgroups_per_threadgroup",
    "threads_per_simdgroup",
    "thread_execution_width",
};

// Text to put in place of a part of the source.
struct Edit {
  std::size_t begin;
  std::size_t end;
  std::string text;
};

class Translator {
 public:
  explicit Translator(const std::string& source)
      : source_(source), tokens_(tokenize(source)), syntax_(tokens_) {}

  Translation run() {
    std::string error = syntax_.error();
    if (error.empty()) error = check_language(tokens_, syntax_);
    if (!error.empty()) return {"", error};
    literals();
    for (const FunctionText& function : syntax_.functions()) {
      threadgroup_variables(function);
      if (function.is_kernel) kernel(function);
    }
    if (!error_.empty()) return {"", error_};
    return {apply(), ""};
  }

 private:
  void fail(int line, const std::string& message) {
    if (error_.empty()) error_ = message_at(line, message);
  }

  void edit(std::size_t begin, std::size_t end, std::string text) {
    edits_.push_back({begin, end, std::move(text)});
  }

  static std::string go_on_at(int line) { return "\n#line " + std::to_string(line) + "\n"; }

  std::string apply() {
    std::stable_sort(edits_.begin(), edits_.end(),
                     [](const Edit& a, const Edit& b) { return a.begin < b.begin; });
    std::string result = "#line 1 \"program_source\"\n";
    std::size_t at = 0;
    for (const Edit& e : edits_) {
      result.append(source_, at, e.begin - at);
      result += e.text;
      at = e.end;
    }
    result.append(source_, at);
    return result += '\n';
  }

  // 1.0h is of type half; clang writes 1.0f16. vec<T, 2>(a, b) is a call of ours.
  void literals() {
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      const Token& token = tokens_[i];
      if (token.kind == Kind::number && (token.text.back() == 'h' || token.text.back() == 'H') &&
          token.text.find_first_of(".eE") != std::string_view::npos) {
        edit(token.end() - 1, token.end(), "f16");
      }
      // float4(...) is a macro: metal::float4(...) must lose its namespace.
      if (token.is("metal") && i + 3 < tokens_.size() && tokens_[i + 1].is("::") &&
          tokens_[i + 3].is("(") &&
          std::isdigit(static_cast<unsigned char>(tokens_[i + 2].text.back()))) {
        edit(token.begin, tokens_[i + 1].end(), "");
      }
      if (token.is("vec") && i + 1 < tokens_.size() && tokens_[i + 1].is("<")) {
        std::size_t at = i + 1;
        int depth = 0;
        for (; at < tokens_.size() && at < i + 16; ++at) {
          depth += tokens_[at].is("<");
          depth -= tokens_[at].is(">");
          if (depth == 0) break;
        }
        if (depth == 0 && at + 1 < tokens_.size() && tokens_[at + 1].is("(")) {
          edit(token.begin, token.end(), "make_vector");
        }
      }
    }
  }

  // `threadgroup float tile[8][9], total;` in a kernel: a type and an offset each. The
  // offsets go on from METAL_THREADGROUP_END, a macro, so that #if around them works.
  void threadgroup_variables(const FunctionText& function) {
    int depth = 0;
    for (std::size_t i = function.body_begin; i < function.body_end; ++i) {
      depth += tokens_[i].is("{");
      depth -= tokens_[i].is("}");
      if (!tokens_[i].is("threadgroup") || !syntax_.begins_statement(i)) continue;
      std::size_t end = i;
      bool is_pointer = false;
      int brackets = 0;
      while (end < function.body_end && !tokens_[end].is(";")) {
        const Token& token = tokens_[end++];
        brackets += token.is("[") + 2 * token.is("[[") - token.is("]");
        is_pointer |= brackets == 0 && (token.is("*") || token.is("&"));
        if (brackets == 0 && token.is("=") && !is_pointer) {
          fail(token.line, "a variable in threadgroup memory can't be initialised");
          return;
        }
      }
      if (is_pointer) continue;
      if (!function.is_kernel || depth != 1) {
        fail(
            tokens_[i].line,
            "a variable in threadgroup memory must be declared in the outermost scope of a kernel");
        return;
      }
      declare(i + 1, end);
      i = end;
    }
  }

  void declare(std::size_t begin, std::size_t end) {
    // The first declarator's name is the identifier before '[', ',' or the end.
    int angles = 0;
    std::size_t name = begin;
    for (; name < end; ++name) {
      angles += tokens_[name].is("<");
      angles -= tokens_[name].is(">");
      const bool last = name + 1 == end || tokens_[name + 1].is("[") || tokens_[name + 1].is(",");
      if (angles == 0 && tokens_[name].kind == Kind::identifier && last && name > begin) break;
    }
    if (name >= end) {
      fail(tokens_[begin].line, "this declaration in threadgroup memory is not understood");
      return;
    }
    const std::string type = text_of(begin, name);
    std::string result = "\n";
    while (name < end) {
      std::size_t after = name + 1;
      int depth = 0;
      while (after < end && (depth > 0 || !tokens_[after].is(","))) {
        depth += tokens_[after].is("[") + 2 * tokens_[after].is("[[") - tokens_[after].is("]");
        ++after;
      }
      const std::string number = std::to_string(++variables_);
      const std::string type_name = "metal_type_" + number;
      result += "using " + type_name + " = " + type + text_of(name + 1, after) +
                "; constexpr unsigned long metal_begin_" + number +
                " = metal_entry::align_up(METAL_THREADGROUP_END, alignof(" + type_name +
                ") > 16 ? alignof(" + type_name + ") : 16), metal_end_" + number +
                " = metal_begin_" + number + " + sizeof(" + type_name + "); threadgroup " +
                type_name + "& " + std::string(tokens_[name].text) + " = *(threadgroup " +
                type_name + "*)(metal_memory + metal_begin_" + number +
                ");\n#undef METAL_THREADGROUP_END\n#define METAL_THREADGROUP_END metal_end_" +
                number + "\n";
      name = after + 1;
    }
    edit(tokens_[begin - 1].begin, tokens_[end].end(),
         "\n#line " + std::to_string(tokens_[begin].line) + result +
             go_on_at(tokens_[end].line).substr(1));
  }

  std::string text_of(std::size_t begin, std::size_t end) const {
    std::string text;
    for (std::size_t i = begin; i < end; ++i) text.append(tokens_[i].text) += ' ';
    return text;
  }

  // What the call passes for one parameter, and what the list of arguments says of it.
  struct Argument {
    std::string value;
    std::string entry;
  };

  Argument argument(std::size_t begin, std::size_t end) {
    bool is_pointer = false;
    for (std::size_t i = begin; i < end; ++i) {
      if (tokens_[i].is("[[")) {
        const std::string name(tokens_[i + 1].text);
        if (name == "buffer" || name == "threadgroup") {
          std::size_t close = i + 2;
          while (close < end && !tokens_[close].is("]")) ++close;
          const std::string index = text_of(i + 2, close);
          const std::string array =
              name == "buffer" ? "group.buffers" : "group.threadgroup_arguments";
          return {(is_pointer ? "metal_entry::pointer{" : "metal_entry::reference{") + array + "[" +
                      index + "]}",
                  "int(metal_abi::Argument::" +
                      std::string(name == "buffer" ? "buffer" : "threadgroup_memory") + "), " +
                      index + ","};
        }
        if (std::find(position_attributes.begin(), position_attributes.end(), name) ==
            position_attributes.end()) {
          fail(tokens_[i].line, "attribute '" + name + "' of a kernel's parameter is not known");
        }
        return {"position." + name + "()", ""};
      }
      is_pointer |= tokens_[i].is("*");
    }
    fail(tokens_[begin].line, "a kernel's parameter needs an attribute, as in [[buffer(0)]]");
    return {};
  }

  // From `[[` to `]]`.
  void erase_attribute(std::size_t open) {
    int depth = 2;
    std::size_t close = open;
    while (depth > 0 && close + 1 < tokens_.size()) {
      ++close;
      depth += tokens_[close].is("[") + 2 * tokens_[close].is("[[") - tokens_[close].is("]");
    }
    edit(tokens_[open].begin, tokens_[close].end(), "");
  }

  // Goes through the parameters as they stand, directives included, so that a kernel may
  // have `#ifdef` around some of them.
  Argument arguments(const FunctionText& function) {
    Argument all;
    std::size_t begin = function.parameters_begin + 1;
    const auto flush = [&](std::size_t end, const char* separator) {
      if (begin < end) {
        const Argument one = argument(begin, end);
        all.value += one.value;
        all.entry += one.entry;
      }
      all.value += separator;
      begin = end + 1;
    };
    int depth = 0;
    for (std::size_t i = begin; i < function.parameters_end; ++i) {
      if (tokens_[i].is("[[")) erase_attribute(i);
      depth +=
          tokens_[i].is("(") + tokens_[i].is("[") + 2 * tokens_[i].is("[[") + tokens_[i].is("<");
      depth -= tokens_[i].is(")") + tokens_[i].is("]") + tokens_[i].is(">");
      if (tokens_[i].kind == Kind::directive) {
        flush(i, "");
        const std::string line = "\n" + std::string(tokens_[i].text) + "\n";
        all.value += line;
        all.entry += line;
      } else if (depth == 0 && tokens_[i].is(",")) {
        flush(i, ", ");
      }
    }
    flush(function.parameters_end, "");
    return all;
  }

  void kernel(const FunctionText& function) {
    const std::string name(function.name);
    const Token& open = tokens_[function.parameters_begin];
    const bool has_parameters = function.parameters_begin + 1 < function.parameters_end;
    edit(open.end(), open.end(), has_parameters ? "char* metal_memory, " : "char* metal_memory");
    const std::size_t first = tokens_[function.declaration_begin].begin;
    edit(first, first,
         "namespace metal_entry { struct tag_" + name +
             " {}; constexpr unsigned long size_of_threadgroup(tag_" + name + "); } ");
    if (function.kernel_attribute_begin != function.kernel_attribute_end) {
      edit(tokens_[function.kernel_attribute_begin].begin,
           tokens_[function.kernel_attribute_end - 1].end(), "kernel");
    }
    const Token& brace = tokens_[function.body_begin];
    edit(
        brace.end(), brace.end(),
        "\n#undef METAL_THREADGROUP_END\n#define METAL_THREADGROUP_END 0ul" + go_on_at(brace.line));
    const Token& last = tokens_[function.body_end];
    edit(last.begin, last.begin,
         "\n(void)sizeof(metal_entry::threadgroup_bytes<metal_entry::tag_" + name +
             ", METAL_THREADGROUP_END>);" + go_on_at(last.line));
    edit(last.end(), last.end(), entry(function, name) + go_on_at(last.line));
  }

  std::string entry(const FunctionText& function, const std::string& name) {
    const Argument all = arguments(function);
    const std::string comma = function.parameters_begin + 1 < function.parameters_end ? ", " : "";
    const std::string call = "const metal_entry::Position position{group, x, y, z}; " + name +
                             "(group.memory" + comma + all.value + ");";
    std::string text =
        "\nstatic constexpr int metal_arguments_" + name + "[] = {" + all.entry + "-1};\n";
    if (!syntax_.is_cooperative(function)) text += "#if !METAL_ALWAYS_FIBERS\n";
    const std::string by_group =
        "static void metal_run_" + name +
        "(const metal_abi::Group& shared) { const metal_abi::Group group = shared; for (unsigned z "
        "= 0; z < group.threads_per_threadgroup[2]; ++z) for (unsigned y = 0; y < "
        "group.threads_per_threadgroup[1]; ++y) for (unsigned x = 0; x < "
        "group.threads_per_threadgroup[0]; ++x) { " +
        call + " }}\n#define METAL_ENTRY metal_run_" + name + ", nullptr\n";
    const std::string by_thread = "static void metal_run_" + name +
                                  "(const metal_abi::Group& group, unsigned x, unsigned y, "
                                  "unsigned z) { " +
                                  call + " }\n#define METAL_ENTRY nullptr, metal_run_" + name +
                                  "\n";
    if (syntax_.is_cooperative(function)) {
      text += by_thread;
    } else {
      text += by_group + "#else\n" + by_thread + "#endif\n";
    }
    return text +
           "__attribute__((section(\"metal_kernels\"), used)) static const metal_abi::Kernel " +
           "metal_kernel_" + name + " = {\"" + name +
           "\", METAL_ENTRY, size_of_threadgroup(metal_entry::tag_" + name + "{}), " +
           (function.max_threads.empty() ? "0" : function.max_threads) + ", metal_arguments_" +
           name + ", int(sizeof metal_arguments_" + name + " / sizeof(int) / 2)};\n" +
           "#undef METAL_ENTRY";
  }

  const std::string& source_;
  std::vector<Token> tokens_;
  Syntax syntax_;
  std::vector<Edit> edits_;
  std::string error_;
  int variables_ = 0;
};

}  // namespace

Translation translate(const std::string& source) { return Translator(source).run(); }

}  // namespace metal_emulator
