// misuse: ends the process with a sentence, where Apple's validation layer would.
#pragma once

namespace metal_emulator {

[[noreturn]] void misuse(const char* format, ...) __attribute__((format(printf, 1, 2)));

}  // namespace metal_emulator
