// Splits Metal source text into tokens.
#include "tokens.h"

#include <cctype>
#include <cstdlib>

namespace metal_emulator {
namespace {

bool starts_identifier(char c) { return std::isalpha(static_cast<unsigned char>(c)) || c == '_'; }
bool continues_identifier(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || c == '_';
}

class Scanner {
 public:
  explicit Scanner(std::string_view source) : source_(source) {}

  std::vector<Token> run() {
    while (skip_blank()) {
      const std::size_t begin = at_;
      const int line = line_;
      const Token::Kind kind = scan();
      tokens_.push_back({kind, source_.substr(begin, at_ - begin), begin, line});
    }
    return std::move(tokens_);
  }

 private:
  char peek(std::size_t ahead = 0) const {
    return at_ + ahead < source_.size() ? source_[at_ + ahead] : '\0';
  }

  void advance() {
    if (source_[at_] == '\n') {
      ++line_;
      line_start_ = true;
    }
    ++at_;
  }

  bool skip_comment() {
    if (peek() != '/' || (peek(1) != '/' && peek(1) != '*')) return false;
    if (peek(1) == '/') {
      while (at_ < source_.size() && peek() != '\n') advance();
    } else {
      advance();
      advance();
      while (at_ < source_.size() && !(peek() == '*' && peek(1) == '/')) advance();
      for (int i = 0; i < 2 && at_ < source_.size(); ++i) advance();
    }
    return true;
  }

  bool skip_blank() {
    while (at_ < source_.size()) {
      if (std::isspace(static_cast<unsigned char>(peek()))) {
        advance();
      } else if (!skip_comment()) {
        return true;
      }
    }
    return false;
  }

  Token::Kind scan() {
    const char c = peek();
    if (c == '#' && line_start_) return scan_directive();
    line_start_ = false;
    if (starts_identifier(c)) {
      while (continues_identifier(peek())) advance();
      return Token::Kind::identifier;
    }
    if (std::isdigit(static_cast<unsigned char>(c)) ||
        (c == '.' && std::isdigit(static_cast<unsigned char>(peek(1))))) {
      return scan_number();
    }
    if (c == '"' || c == '\'') {
      advance();
      while (at_ < source_.size() && peek() != c) {
        if (peek() == '\\') advance();
        if (at_ < source_.size()) advance();
      }
      if (at_ < source_.size()) advance();
      return Token::Kind::literal;
    }
    advance();
    if ((c == '[' && peek() == '[') || (c == ':' && peek() == ':')) advance();
    return Token::Kind::punctuation;
  }

  Token::Kind scan_number() {
    while (continues_identifier(peek()) || peek() == '.' ||
           ((peek() == '+' || peek() == '-') && at_ > 0 &&
            std::string_view("eEpP").find(source_[at_ - 1]) != std::string_view::npos)) {
      // In 0xe+1 the sign is an operator.
      if (peek() == '+' || peek() == '-') {
        const bool exponent =
            std::string_view("pP").find(source_[at_ - 1]) != std::string_view::npos;
        if (!exponent && is_hexadecimal()) break;
      }
      advance();
    }
    return Token::Kind::number;
  }

  bool is_hexadecimal() const {
    std::size_t begin = at_;
    while (begin > 0 && (continues_identifier(source_[begin - 1]) || source_[begin - 1] == '.')) {
      --begin;
    }
    return source_[begin] == '0' && (source_[begin + 1] == 'x' || source_[begin + 1] == 'X');
  }

  // After `#line 5` comes line 5.
  void set_line(std::string_view directive) {
    std::size_t at = 1;
    while (at < directive.size() && std::isspace(static_cast<unsigned char>(directive[at]))) ++at;
    if (directive.substr(at, 5) == "line ") line_ = std::atoi(directive.data() + at + 5) - 1;
  }

  Token::Kind scan_directive() {
    const std::size_t begin = at_;
    while (at_ < source_.size() && peek() != '\n') {
      if (peek() == '/' && (peek(1) == '/' || peek(1) == '*')) break;
      if (peek() == '\\' && peek(1) == '\n') advance();
      advance();
    }
    set_line(source_.substr(begin, at_ - begin));
    return Token::Kind::directive;
  }

  std::string_view source_;
  std::size_t at_ = 0;
  int line_ = 1;
  bool line_start_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) { return Scanner(source).run(); }

}  // namespace metal_emulator
