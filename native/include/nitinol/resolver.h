// Resolver: what happens after a completion, with ordinary locks: reports, poison,
// publication, dependents, wake-ups.
#pragma once

#include "nitinol/submission.h"

namespace nitinol {

class Device;

class Resolver {
 public:
  // Resolves everything in the device's completion list, and what that decides.
  static void resolve(Device& device) noexcept;

 private:
  friend class Planner;
  // Reports, poison and values; `dead` collects the nodes that nothing refers to then.
  static void settle(Submission& submission, Node*& dead) noexcept;
  static void publish(Node* output, const Ref<Poison>& poison, Node*& dead) noexcept;
  // The poison of an output that was not computed: of what it depends on, no more.
  static Ref<Poison> inherited(Node* output) noexcept;
  // Gives its place on the stream away, and counts down those that wait for it.
  static void retire(Submission& submission) noexcept;
  // Off the list of what a wait for the stream waits for.
  static void leave(Submission& submission) noexcept;
  // Commits what is ready at the head of the stream's queue.
  static void advance(Stream& stream) noexcept;
};

}  // namespace nitinol
