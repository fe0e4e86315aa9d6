// The execution of recorded commands.
#include "commands.h"

#include <cstring>

namespace metal_emulator {
namespace {

void execute(const Command& command) {
  if (const auto* dispatch = std::get_if<Dispatch>(&command)) {
    run(*dispatch);
  } else if (const auto* copy = std::get_if<Copy>(&command)) {
    std::memmove(copy->to, copy->from, copy->size);
  } else if (const auto* fill = std::get_if<Fill>(&command)) {
    std::memset(fill->at, fill->value, fill->size);
  }
}

bool is_barrier(const Command& command) { return std::holds_alternative<Barrier>(command); }

}  // namespace

void execute(const EncoderRecord& record) {
  const auto& commands = record.commands;
  if (!record.concurrent) {
    for (const Command& command : commands) {
      execute(command);
    }
    return;
  }
  // Dispatches between two barriers have no order: run them backwards, so that a missing
  // barrier shows.
  for (std::size_t begin = 0; begin < commands.size();) {
    std::size_t end = begin;
    while (end < commands.size() && !is_barrier(commands[end])) {
      ++end;
    }
    for (std::size_t i = end; i-- > begin;) {
      execute(commands[i]);
    }
    begin = end + 1;
  }
}

}  // namespace metal_emulator
