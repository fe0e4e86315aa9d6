// Clang and the linker, as programs, and the folder where what they make is kept.
#pragma once

#include <memory>
#include <string>

#include "compile_server.h"

namespace metal_emulator {

// A kernel that runs little is compiled without optimisation, which takes half the time or less.
enum class Tier { quick, optimised };

class Toolchain {
 public:
  // Found, and the standard library's precompiled header made, on first use. Null, with
  // the reason in `error`, if there is no compiler or no folder to write to.
  static const Toolchain* get(std::string& error);

  // Where a text with this hash is or will be: a shared object.
  std::string library_path(const std::string& hash, Tier tier) const;
  // Translated text to a shared object, which appears whole or not at all.
  bool build(const std::string& text, Tier tier, const std::string& path, std::string& error) const;
  // With NITINOL_EMULATOR_CHECK set: whether every pointer of a translated text stays in its
  // address space, which takes another run of the compiler. Remembered in the folder.
  bool check(const std::string& text, std::string& error) const;

 private:
  bool find(std::string& error);
  bool prepare(std::string& error);
  bool precompile(const std::vector<std::string>& flags, const std::string& header,
                  std::string& error) const;
  bool compile(const std::vector<std::string>& arguments, const std::string& messages) const;

  std::string compiler_;
  std::string linker_;
  std::unique_ptr<CompileServers> servers_;
  bool checks_ = false;
  std::string folder_;  // for this compiler, these flags and this standard library
};

// 128 bits, in hexadecimal.
std::string hash_of(const std::string& text);

}  // namespace metal_emulator
