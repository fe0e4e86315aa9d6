// Watch: says that an evaluation is done, without a thread that waits for it.
#pragma once

#include <cstddef>

#include "nitinol/ref.h"

namespace nitinol {

class Evaluation;
class Submission;

// Waits at one submission of the evaluation after the other; when none is left it goes
// on a list that the other runtime's thread (Python's notifier) takes, after HostQueue
// was poked.
class Watch {
 public:
  // `target` is what the other runtime knows it by.
  Watch(Ref<Evaluation> evaluation, void* target) noexcept;
  ~Watch();

  // Once. The watch belongs to the core until it is taken from the list of the fired.
  void start() noexcept { advance(); }
  // Those that have fired, oldest first; the caller owns each.
  static Watch* take_fired() noexcept;

  void* target() const noexcept { return target_; }
  Watch* next() const noexcept { return next_; }

  // From the resolver, after a submission was marked as done.
  static void resolved(Submission& submission) noexcept;

 private:
  void advance() noexcept;

  Ref<Evaluation> evaluation_;
  void* target_;
  std::size_t at_ = 0;
  Watch* next_ = nullptr;  // at the submission, then among the fired
};

}  // namespace nitinol
