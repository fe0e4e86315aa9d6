// Finds functions in Metal source text, by its tokens alone.
#include "syntax.h"

#include <algorithm>
#include <array>

namespace metal_emulator {
namespace {

using Kind = Token::Kind;

bool is_simd_function(std::string_view name) {
  return name.starts_with("simd_") || name.starts_with("simdgroup_") || name.starts_with("quad_") ||
         name == "threadgroup_barrier" || name == "make_filled_simdgroup_matrix";
}

// Words of C++ that Metal refuses, and why.
struct Refused {
  std::string_view word;
  std::string_view reason;
};
constexpr std::array refused = {
    Refused{"double", "'double' is not supported in Metal"},
    Refused{"new", "dynamic memory is not supported in Metal"},
    Refused{"delete", "dynamic memory is not supported in Metal"},
    Refused{"throw", "exceptions are not supported in Metal"},
    Refused{"try", "exceptions are not supported in Metal"},
    Refused{"catch", "exceptions are not supported in Metal"},
    Refused{"virtual", "virtual functions are not supported in Metal"},
    Refused{"dynamic_cast", "dynamic_cast is not supported in Metal"},
    Refused{"typeid", "typeid is not supported in Metal"},
    Refused{"goto", "goto is not supported in Metal"},
    Refused{"thread_local", "thread_local is not supported in Metal"},
    Refused{"asm", "assembly is not supported in Metal"},
};

constexpr std::array<std::string_view, 4> address_spaces = {"device", "constant", "thread",
                                                            "threadgroup"};

bool is_address_space(const Token& token) {
  return std::find(address_spaces.begin(), address_spaces.end(), token.text) !=
         address_spaces.end();
}

}  // namespace

std::string message_at(int line, const std::string& message) {
  return "program_source:" + std::to_string(line) + ": error: " + message + "\n";
}

Syntax::Syntax(const std::vector<Token>& tokens) : tokens_(tokens) {
  find_macros();
  find_functions();
}

std::size_t Syntax::matching(std::size_t open) const {
  const std::string_view opening = tokens_[open].text;
  const std::string_view closing = opening == "(" ? ")" : "}";
  int depth = 0;
  for (std::size_t i = open; i < tokens_.size(); ++i) {
    depth += tokens_[i].is(opening);
    depth -= tokens_[i].is(closing);
    if (depth == 0) return i;
  }
  return tokens_.size();
}

bool Syntax::begins_statement(std::size_t token) const {
  if (token == 0) return true;
  const Token& before = tokens_[token - 1];
  return before.is("{") || before.is("}") || before.is(";") || before.kind == Kind::directive;
}

void Syntax::find_macros() {
  for (const Token& token : tokens_) {
    if (token.kind != Kind::directive) continue;
    const std::vector<Token> words = tokenize(token.text.substr(1));
    if (words.size() < 2 || !words[0].is("define")) continue;
    // Of a macro with parameters, these are not what it mentions.
    std::size_t body = 2;
    std::set<std::string_view> parameters;
    if (body < words.size() && words[body].is("(") && words[body].begin == words[1].end()) {
      while (body < words.size() && !words[body].is(")")) parameters.insert(words[body++].text);
    }
    for (std::size_t i = body; i < words.size(); ++i) {
      if (words[i].kind == Kind::identifier && parameters.count(words[i].text) == 0) {
        mentions_[std::string(words[1].text)].emplace(words[i].text);
      }
    }
  }
}

void Syntax::find_functions() {
  for (std::size_t i = 0; i + 1 < tokens_.size(); ++i) {
    if (tokens_[i].kind != Kind::identifier || !tokens_[i + 1].is("(")) continue;
    const std::size_t close = matching(i + 1);
    if (close == tokens_.size()) {
      error_ = message_at(tokens_[i + 1].line, "this '(' is never closed");
      return;
    }
    std::size_t body = close + 1;
    while (body < tokens_.size() && tokens_[body].is("const")) ++body;
    if (body == tokens_.size() || !tokens_[body].is("{")) {
      i = close;
      continue;
    }
    const std::size_t end = matching(body);
    if (end == tokens_.size()) {
      error_ = message_at(tokens_[body].line, "this '{' is never closed");
      return;
    }
    FunctionText function;
    function.name = tokens_[i].text;
    function.parameters_begin = i + 1;
    function.parameters_end = close;
    function.body_begin = body;
    function.body_end = end;
    read_declaration(function);
    functions_.push_back(function);
    const std::string name(function.name);
    ++definitions_[name];
    for (std::size_t t = body; t < end; ++t) {
      const bool is_call = tokens_[t + 1].is("(") || tokens_[t + 1].is("<");
      // A macro's name may stand alone.
      if (tokens_[t].kind == Kind::identifier &&
          (is_call || mentions_.count(std::string(tokens_[t].text)) != 0)) {
        mentions_[name].emplace(tokens_[t].text);
      }
    }
    i = end;
  }
}

// From the end of what stands before to the name: `kernel`, attributes.
void Syntax::read_declaration(FunctionText& function) {
  std::size_t begin = function.parameters_begin - 1;
  while (!begins_statement(begin)) --begin;
  function.declaration_begin = begin;
  bool is_template = false;
  for (std::size_t i = begin; i + 1 < function.parameters_begin; ++i) {
    is_template |= tokens_[i].is("template");
    if (tokens_[i].is("kernel")) {
      function.is_kernel = true;
      if (i > begin && tokens_[i - 1].is("[[")) {
        function.kernel_attribute_begin = i - 1;
        function.kernel_attribute_end = i + 3;
      }
    }
    if (tokens_[i].is("max_total_threads_per_threadgroup")) {
      for (std::size_t t = i + 1; !tokens_[t].is("]"); ++t) {
        function.max_threads.append(tokens_[t].text);
      }
    }
  }
  if (function.is_kernel && is_template && error_.empty()) {
    error_ = message_at(tokens_[begin].line, "a kernel may not be a template here: use macros");
  }
}

bool Syntax::reaches(const std::string& from, const std::string& target,
                     std::set<std::string>& seen) const {
  const auto found = mentions_.find(from);
  if (found == mentions_.end()) return false;
  for (const std::string& name : found->second) {
    if (target.empty() ? is_simd_function(name) : name == target) return true;
    if (seen.insert(name).second && reaches(name, target, seen)) return true;
  }
  return false;
}

bool Syntax::is_cooperative(const FunctionText& function) const {
  std::set<std::string> seen;
  return reaches(std::string(function.name), "", seen);
}

// Names with several definitions are overloads, which may well call one another.
std::string Syntax::find_recursion() const {
  for (const auto& [name, count] : definitions_) {
    if (count != 1) continue;
    std::set<std::string> seen;
    for (const auto& [other, others] : definitions_) {
      if (others > 1) seen.insert(other);
    }
    if (reaches(name, name, seen)) return name;
  }
  return "";
}

std::string check_language(const std::vector<Token>& tokens, const Syntax& syntax) {
  const auto check_words = [](const std::vector<Token>& words, int line) -> std::string {
    for (std::size_t i = 0; i < words.size(); ++i) {
      const int at = line != 0 ? line : words[i].line;
      if (words[i].kind != Kind::identifier) continue;
      for (const Refused& entry : refused) {
        if (words[i].is(entry.word)) return message_at(at, std::string(entry.reason));
      }
      if (words[i].is("std") && i + 1 < words.size() && words[i + 1].is("::")) {
        return message_at(at, "the namespace 'std' does not exist in Metal");
      }
      if (words[i].is("long") && i + 1 < words.size() && words[i + 1].is("long")) {
        return message_at(at, "'long long' is not supported in Metal");
      }
    }
    return "";
  };
  if (std::string error = check_words(tokens, 0); !error.empty()) return error;
  for (const Token& token : tokens) {
    if (token.kind != Kind::directive) continue;
    std::string error = check_words(tokenize(token.text.substr(1)), token.line);
    if (!error.empty()) return error;
  }
  if (const std::string name = syntax.find_recursion(); !name.empty()) {
    for (const FunctionText& function : syntax.functions()) {
      if (function.name == name) {
        return message_at(tokens[function.parameters_begin].line,
                          "'" + name + "' calls itself: recursion is not supported in Metal");
      }
    }
  }
  // Pointers and references say where they point.
  for (const FunctionText& function : syntax.functions()) {
    bool named = false;
    for (std::size_t i = function.parameters_begin + 1; i < function.parameters_end; ++i) {
      if (tokens[i].is(",")) named = false;
      named |= is_address_space(tokens[i]);
      if ((tokens[i].is("*") || tokens[i].is("&")) && !named) {
        return message_at(tokens[i].line,
                          "a pointer or reference needs an address space: device, constant, "
                          "threadgroup or thread");
      }
    }
    for (std::size_t i = function.body_begin + 1; i + 3 < function.body_end; ++i) {
      if (!syntax.begins_statement(i)) continue;
      const std::size_t at = i + tokens[i].is("const");
      if (tokens[at].kind == Kind::identifier && !is_address_space(tokens[at]) &&
          (tokens[at + 1].is("*") || tokens[at + 1].is("&")) &&
          tokens[at + 2].kind == Kind::identifier &&
          (tokens[at + 3].is("=") || tokens[at + 3].is(";")) && !tokens[at].is("return")) {
        return message_at(tokens[at].line,
                          "a pointer or reference needs an address space: device, constant, "
                          "threadgroup or thread");
      }
    }
  }
  return "";
}

}  // namespace metal_emulator
