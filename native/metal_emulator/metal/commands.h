// What an encoder records, and how the GPU runs it. Plain C++.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <variant>
#include <vector>

#include "../compiler.h"

namespace metal_emulator {

struct Copy {
  const void* from;
  void* to;
  std::size_t size;
};
struct Fill {
  void* at;
  std::size_t size;
  std::uint8_t value;
};
struct Barrier {};

using Command = std::variant<Dispatch, Copy, Fill, Barrier>;

struct EncoderRecord {
  std::string label;
  std::vector<std::string> signposts;
  bool concurrent = false;
  std::vector<Command> commands;
  std::deque<std::vector<std::byte>> constants;  // of setBytes; they don't move
};

void execute(const EncoderRecord& record);

}  // namespace metal_emulator
