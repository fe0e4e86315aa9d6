// Recycler: the memory of one submission on a device that runs what it was given later, in
// order: what nobody reads any more may be written by later units of the same submission,
// and by nobody else before it has ended.
#pragma once

#include <cstddef>
#include <vector>

#include "nitinol/buffer.h"
#include "nitinol/submission.h"

namespace nitinol {

class Recycler {
 public:
  // Throw std::bad_alloc; nothing below allocates. `grow` is for one more buffer than the
  // outputs of the submission.
  void reserve(const Submission& submission);
  void grow();

  void put(Ref<Buffer> buffer) noexcept;
  // Of the same size class; null when there is none.
  Ref<Buffer> take(std::size_t bytes) noexcept;

  // The value must stay what it is until the submission has ended.
  void hold(const Node* storage) noexcept;
  bool holds(const Node* storage) const noexcept;

  void clear() noexcept { free_.clear(); }
  // Leaves the memory to the end of the process: who knows what still writes to it.
  void abandon() noexcept;

 private:
  std::size_t most_ = 0;  // buffers that may be put here
  std::vector<Ref<Buffer>> free_;
  std::vector<const Node*> held_;
};

}  // namespace nitinol
