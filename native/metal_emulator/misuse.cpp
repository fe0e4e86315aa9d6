// The end of a process that broke a rule of Foundation or Metal.
#include "misuse.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>

namespace metal_emulator {

void misuse(const char* format, ...) {
  // One write, so that several threads' sentences don't mix.
  char text[1024];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  std::fprintf(stderr, "Metal emulator: API misuse: %s\n", text);
  std::fflush(stderr);
  std::abort();
}

}  // namespace metal_emulator
