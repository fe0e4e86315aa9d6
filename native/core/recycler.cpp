// Memory that goes from unit to unit of one submission.
#include "nitinol/recycler.h"

#include <algorithm>

namespace nitinol {

void Recycler::reserve(const Submission& submission) {
  std::size_t inputs = 0;
  for (const Unit& unit : submission.units) {
    most_ += unit.outputs.size();
    inputs += unit.inputs.size();
  }
  free_.reserve(most_);
  held_.reserve(inputs);
}

void Recycler::grow() {
  if (most_ == free_.capacity()) free_.reserve(2 * most_ + 8);
  ++most_;
}

void Recycler::put(Ref<Buffer> buffer) noexcept {
  // Of a shared one the other owner takes care: an update in place took it over.
  if (!buffer || buffer->borrowed() || buffer->references() != 1) return;
  free_.push_back(std::move(buffer));
}

Ref<Buffer> Recycler::take(std::size_t bytes) noexcept {
  // The last ones come first, as they may be in a cache; a long list is not worth a search.
  constexpr std::size_t looked_at = 64;
  const std::size_t size = Buffer::footprint(bytes);
  const std::size_t end = free_.size() - std::min(free_.size(), looked_at);
  for (std::size_t i = free_.size(); i-- > end;) {
    if (Buffer::footprint(free_[i]->bytes()) != size) continue;
    Ref<Buffer> found = std::move(free_[i]);
    free_[i] = std::move(free_.back());
    free_.pop_back();
    return found;
  }
  return nullptr;
}

void Recycler::abandon() noexcept {
  for (Ref<Buffer>& buffer : free_) buffer.detach();
  free_.clear();
}

void Recycler::hold(const Node* storage) noexcept {
  if (held_.size() < held_.capacity()) held_.push_back(storage);
}

bool Recycler::holds(const Node* storage) const noexcept {
  return std::find(held_.begin(), held_.end(), storage) != held_.end();
}

}  // namespace nitinol
