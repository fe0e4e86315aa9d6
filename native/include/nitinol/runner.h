// Runner: what every device does around the launch of a unit: inherited failures,
// injected ones, output memory, donation, and the unit's status.
#pragma once

#include "nitinol/submission.h"

namespace nitinol {

class Device;
class Recycler;

// Devices that run units in turn call prepare and conclude around each. Those that run a
// submission later call prepare and `launched` for each unit, with a recycler; when it has
// ended, they ask whether it is to run `again`, and if not, call still_valid and succeed or
// fail, in the same order.
class Runner {
 public:
  // Before the first unit: marks the units whose outputs nobody refers to any more.
  static void skip_unwanted(Submission& submission) noexcept;

  // True when the unit is to be launched: its inputs are healthy and its outputs
  // have memory. Otherwise its status is set. An injected fault of the completion
  // phase comes back in `after`, to be given to `conclude` or `launched`.
  static bool prepare(Device& device, Unit& unit, Fault& after,
                      Recycler* recycler = nullptr) noexcept;

  // The status, and what the unit leaves behind. `wrote` says whether a donated buffer may
  // have been changed by a unit that failed. One that is to run again is waiting as before,
  // and attempts.pause says how soon: by itself where units run in turn. Elsewhere its failure
  // came before the launch, which is to be given up (`start_over`).
  static void conclude(Unit& unit, const Fault& fault, Phase phase, bool wrote,
                       Recycler* recycler = nullptr) noexcept;

  // The unit will run: transients that it reads last may be written to after it. `drawn` is
  // to strike it then (Code::none: nothing). Where no policy mends that, its readers need not
  // start.
  static void launched(Unit& unit, const Fault& drawn, Recycler& recycler) noexcept;
  // The submission has ended, and with it all that was launched. True when what failed is to
  // be mended: it is reopened, all units that were launched are waiting as before the launch,
  // and it is to be launched again after attempts.pause.
  static bool again(Submission& submission) noexcept;
  // A launch is given up: all units of it are waiting as before.
  static void start_over(Submission& submission) noexcept;
  // It ran before it was known what became of its inputs. True when it is healthy, or cut
  // down to outputs that depend on no failure; false when it is void.
  static bool still_valid(Unit& unit) noexcept;
  // What became of it, for good.
  static void succeed(Unit& unit, Recycler* recycler = nullptr) noexcept;
  static void fail(Unit& unit, const Fault& fault, Phase phase, bool wrote,
                   Recycler* recycler = nullptr) noexcept;
  // It may have run, or not: its submission failed as a whole.
  static void lose(Unit& unit) noexcept;
  // The device takes no work: marks what is skipped or void anyway, and leaves the rest.
  static void refuse(Unit& unit) noexcept;

  // The device may take no work at all: then the units that would have run are left
  // waiting, and the submission is completed with this. Code::none: it does.
  static Fault turn_away(Device& device, Submission& submission) noexcept;

  // Is a failure to be mended that struck before anything was launched?
  static bool mend(Submission& submission, const Fault& fault) noexcept;

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
  // Instead of consume, when the unit failed: the same update may be tried again later.
  static void leave_donor(Unit& unit) noexcept;
  static Submission& submission_of(const Unit& unit) noexcept;

  // mending.cpp
  // Leaves the unit waiting when its device is to run it again.
  static bool mend(Unit& unit, const Fault& fault, Phase phase, bool wrote) noexcept;
  static void rewind(Unit& unit) noexcept;
  static void close_attempts(Unit& unit, bool well) noexcept;
  // Can the work be run in smaller pieces?
  static bool divisible(const Submission& submission) noexcept;
  // Does an update in place give the same when it is repeated?
  static bool overwrites(const Unit& unit) noexcept;
  // Does a unit, when its whole submission is launched again?
  static bool repeatable(const Unit& unit) noexcept;
  // And by itself, in a submission to come?
  static bool repeatable_later(const Unit& unit) noexcept;
};

}  // namespace nitinol
