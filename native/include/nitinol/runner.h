// Runner: what every device does around the launch of a unit: inherited failures,
// injected ones, output memory, donation, and the unit's status.
#pragma once

#include "nitinol/submission.h"

namespace nitinol {

class Device;

class Runner {
 public:
  // Before the first unit: marks the units whose outputs nobody refers to any more.
  static void skip_unwanted(Submission& submission) noexcept;

  // True when the unit is to be launched: its inputs are healthy and its outputs
  // have memory. Otherwise its status is set. An injected fault of the completion
  // phase comes back in `after`, to be given to `conclude` once the unit ran.
  static bool prepare(Device& device, Unit& unit, Fault& after) noexcept;

  // After the launch: the status, and what the unit leaves behind. `wrote` says
  // whether a donated buffer may have been changed by a unit that failed.
  static void conclude(Unit& unit, const Fault& fault, Phase phase, bool wrote) noexcept;

  // Instead of that: the unit was launched but never did anything, and never will.
  static void abandon(Unit& unit) noexcept;

 private:
  static bool spoilt(const Node* input) noexcept;
  // Cuts a fused unit down to the outputs that depend on no failure. False when there
  // are none.
  static bool narrow(Unit& unit) noexcept;
  static void doom(Unit& unit, UnitStatus status) noexcept;
  static void release(Unit& unit) noexcept;
  static void find_donor(Unit& unit) noexcept;
};

}  // namespace nitinol
