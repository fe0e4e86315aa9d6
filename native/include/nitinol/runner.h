// Runner: what every device does around the launch of a unit: inherited failures,
// injected ones, output memory, donation, and the unit's status.
#pragma once

#include "nitinol/submission.h"

namespace nitinol {

class Device;
class Recycler;

// Devices that run a unit at once call prepare and conclude around it. Those that run a
// submission later call prepare and `launched` for each unit, with a recycler, and
// then still_valid and conclude, in the same order, when it has ended.
class Runner {
 public:
  // Before the first unit: marks the units whose outputs nobody refers to any more.
  static void skip_unwanted(Submission& submission) noexcept;

  // True when the unit is to be launched: its inputs are healthy and its outputs
  // have memory. Otherwise its status is set. An injected fault of the completion
  // phase comes back in `after`, to be given to `conclude` once the unit ran.
  static bool prepare(Device& device, Unit& unit, Fault& after,
                      Recycler* recycler = nullptr) noexcept;

  // After the launch: the status, and what the unit leaves behind. `wrote` says
  // whether a donated buffer may have been changed by a unit that failed. A unit that is
  // to run again, after its `pause`, is waiting as before (see Device::runs_in_turn).
  static void conclude(Unit& unit, const Fault& fault, Phase phase, bool wrote,
                       Recycler* recycler = nullptr) noexcept;

  // The unit will run: transients that it reads last may be written to after it. `fails`
  // says that a fault will strike it whatever happens, so that its readers need not start.
  static void launched(Unit& unit, bool fails, Recycler& recycler) noexcept;
  // It ran before it was known what became of its inputs. True when it is healthy, or cut
  // down to outputs that depend on no failure; false when it is void.
  static bool still_valid(Unit& unit) noexcept;
  // It may have run, or not: its submission failed as a whole.
  static void lose(Unit& unit) noexcept;
  // The device takes no work: marks what is skipped or void anyway, and leaves the rest.
  static void refuse(Unit& unit) noexcept;

  // The device may take no work at all: then the units that would have run are left
  // waiting, and the submission is completed with this. Code::none: it does.
  static Fault turn_away(Device& device, Submission& submission) noexcept;

  // Instead of conclude: the unit was launched but never did anything, and never will.
  static void abandon(Unit& unit) noexcept;

 private:
  static bool spoilt(const Node* input) noexcept;
  // Cuts a fused unit down to the outputs that depend on no failure. False when there
  // are none.
  static bool narrow(Unit& unit) noexcept;
  static void doom(Unit& unit, UnitStatus status, Recycler* recycler) noexcept;
  static void release(Unit& unit, Recycler* recycler) noexcept;
  static Refused refused(const Device& device, const Unit& unit, const Recycler* recycler) noexcept;
  // Of what only references keep: which kind they are.
  static Refused shared_by(const Node& input) noexcept;
  static void find_donor(const Device& device, Unit& unit, const Recycler* recycler) noexcept;
  static void consume(Unit& unit) noexcept;
  // Leaves the unit waiting when its device is to run it again.
  static bool again(Unit& unit, const Fault& fault, Phase phase, bool wrote) noexcept;
  static void give_up(Unit& unit) noexcept;
  // Does an update in place give the same when it is repeated?
  static bool overwrites(const Unit& unit) noexcept;
  static bool repeatable_later(const Unit& unit) noexcept;
};

}  // namespace nitinol
