// What the text pass finds out about Metal source: its functions, which of them wait for
// one another's threads, and what Metal would refuse.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "tokens.h"

namespace metal_emulator {

// A function's definition, by indices of tokens.
struct FunctionText {
  std::string_view name;
  std::size_t declaration_begin = 0;  // of the whole declaration
  std::size_t parameters_begin = 0;   // (
  std::size_t parameters_end = 0;     // )
  std::size_t body_begin = 0;         // {
  std::size_t body_end = 0;           // }
  bool is_kernel = false;
  std::size_t kernel_attribute_begin = 0;  // of [[kernel]], if it is written so
  std::size_t kernel_attribute_end = 0;
  std::string max_threads;  // of [[max_total_threads_per_threadgroup(n)]]
};

class Syntax {
 public:
  explicit Syntax(const std::vector<Token>& tokens);

  const std::vector<FunctionText>& functions() const { return functions_; }
  // Not empty when brackets don't match or a kernel stands where none may be.
  const std::string& error() const { return error_; }
  bool begins_statement(std::size_t token) const;
  // Whether the function may reach a barrier or a function of a simdgroup.
  bool is_cooperative(const FunctionText& function) const;
  // The name of a function that calls itself, or "".
  std::string find_recursion() const;

 private:
  std::size_t matching(std::size_t open) const;
  void find_functions();
  void find_macros();
  void read_declaration(FunctionText& function);
  bool reaches(const std::string& from, const std::string& target,
               std::set<std::string>& seen) const;

  const std::vector<Token>& tokens_;
  std::vector<FunctionText> functions_;
  // The names that a function's body or a macro's text mentions.
  std::map<std::string, std::set<std::string>> mentions_;
  std::map<std::string, int> definitions_;
  std::string error_;
};

std::string message_at(int line, const std::string& message);

// An error message for what Metal lacks and C++ has, or "".
std::string check_language(const std::vector<Token>& tokens, const Syntax& syntax);

}  // namespace metal_emulator
