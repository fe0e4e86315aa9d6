// Compiling and running of small kernels, for the tests of the kernel compiler.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "../../tests/check.h"
#include "../compiler.h"

namespace metal_emulator {

inline std::string with_head(const std::string& text) {
  return "#include <metal_stdlib>\nusing namespace metal;\n#line 1\n" + text;
}

inline std::shared_ptr<const Library> compile(const std::string& text) {
  std::string error;
  auto library = Library::compile(with_head(text), error);
  if (library == nullptr) std::fprintf(stderr, "%s\n%s\n", text.c_str(), error.c_str());
  CHECK(library != nullptr);
  return library;
}

// The message that such a text does not compile with.
inline std::string error_of(const std::string& text) {
  std::string error;
  CHECK(Library::compile(with_head(text), error) == nullptr);
  CHECK(!error.empty());
  return error;
}

inline bool contains(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return true;
  std::fprintf(stderr, "'%s' is not in:\n%s\n", part.c_str(), text.c_str());
  return false;
}

// Runs the kernel `f` of the text in one dimension, with these buffers at 0, 1, ...
inline void launch(const std::string& text, std::uint32_t groups, std::uint32_t threads,
                   const std::vector<void*>& buffers) {
  Dispatch dispatch;
  const auto library = compile(text);
  dispatch.function = library->find("f");
  CHECK(dispatch.function != nullptr);
  for (std::size_t i = 0; i < buffers.size(); ++i) dispatch.buffers[i] = buffers[i];
  dispatch.threadgroups.x = groups;
  dispatch.threads_per_threadgroup.x = threads;
  run(dispatch);
}

// What `out[i] = expression` gives for each of `count` threads; the expression may use i
// (the thread's position, which is its lane for up to 32 threads).
template <class T>
std::vector<T> evaluate(const std::string& type, const std::string& expression,
                        std::uint32_t count = 32, const std::string& before = "") {
  std::vector<T> out(count);
  launch(before + "\nkernel void f(device " + type +
             "* out [[buffer(0)]], uint i [[thread_position_in_grid]]) { out[i] = " + expression +
             "; }\n",
         1, count, {out.data()});
  return out;
}

}  // namespace metal_emulator
