// The tokens of Metal source text, each with the place it came from.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace metal_emulator {

struct Token {
  enum class Kind { identifier, number, literal, punctuation, directive };
  Kind kind;
  std::string_view text;  // of a directive: the whole line, with its continuations
  std::size_t begin;      // offset in the source
  int line;

  std::size_t end() const { return begin + text.size(); }
  bool is(std::string_view s) const { return text == s; }
};

// Comments and white space are left out. `source` must outlive the tokens.
std::vector<Token> tokenize(std::string_view source);

}  // namespace metal_emulator
