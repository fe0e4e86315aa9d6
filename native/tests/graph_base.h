// GraphBase: what random graphs of every device have: arrays by number, of which some are held, and
// a parent whose arrays are read as well.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "nitinol/node.h"

namespace nitinol::testing {

// What is known of an array; a graph of a kind adds what its oracle needs.
struct ArraySpec {
  Ref<Node> node;                   // none: nobody holds it
  std::vector<std::size_t> inputs;  // by number; the parent's come first
  std::vector<std::int64_t> value;
};

template <class Spec>
class GraphBase {
 public:
  // Nodes of `parent`, which has stopped changing, may be read as well.
  GraphBase(unsigned seed, const GraphBase* parent) : random_(seed), parent_(parent) {}

  std::mt19937& random() { return random_; }
  // Gives up the handle of one array; its readers keep it alive.
  void drop() {
    if (held_.size() > 3) drop_at(random_() % held_.size());
  }
  std::vector<Node*> pick(std::size_t most) {
    std::vector<Node*> roots;
    for (std::size_t i : pick_held(most)) roots.push_back(specs_[i].node.get());
    return roots;
  }
  std::vector<Node*> all() const {
    std::vector<Node*> roots;
    for (std::size_t i : held_) roots.push_back(specs_[i].node.get());
    return roots;
  }
  void forget() {
    held_.clear();
    for (Spec& spec : specs_) spec.node = nullptr;
  }

  std::int64_t poisoned = 0;  // of what was checked
  std::int64_t ready = 0;

 protected:
  std::size_t parents() const { return parent_ ? parent_->specs_.size() : 0; }
  const Spec& spec(std::size_t i) const {
    return i < parents() ? parent_->specs_[i] : specs_[i - parents()];
  }
  std::size_t keep(Spec made) {
    held_.push_back(specs_.size());
    specs_.push_back(std::move(made));
    return parents() + specs_.size() - 1;
  }
  // Places in `specs_`.
  std::vector<std::size_t> pick_held(std::size_t most) {
    std::vector<std::size_t> picked;
    for (std::size_t n = 1 + random_() % most; n > 0 && !held_.empty(); --n) {
      picked.push_back(held_[random_() % held_.size()]);
    }
    return picked;
  }
  // The number of an array that fits, mostly a recent one, so that chains get long.
  template <class Fits>
  std::optional<std::size_t> choose_held(Fits fits) {
    for (int tries = 0; tries < 60; ++tries) {
      const bool inherit = parent_ && !parent_->held_.empty() && random_() % 6 == 0;
      const GraphBase& from = inherit ? *parent_ : *this;
      if (from.held_.empty()) continue;
      const std::size_t count = from.held_.size();
      const std::size_t back =
          random_() % 3 == 0 ? random_() % count : random_() % std::min<std::size_t>(count, 5);
      const std::size_t i = from.held_[count - 1 - back];
      if (fits(from.specs_[i])) return inherit ? i : parents() + i;
    }
    return {};
  }
  // What was updated is often given up, so that its buffer may be taken over: but for one time in
  // `times`.
  void drop_updated(std::size_t i, unsigned times) {
    const auto own = std::find(held_.begin(), held_.end(), i - parents());
    if (i >= parents() && own != held_.end() && random_() % times) {
      drop_at(static_cast<std::size_t>(own - held_.begin()));
    }
  }

  std::mt19937 random_;
  const GraphBase* parent_;
  std::vector<Spec> specs_;
  std::vector<std::size_t> held_;

 private:
  void drop_at(std::size_t at) {
    specs_[held_[at]].node = nullptr;
    held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(at));
  }
};

}  // namespace nitinol::testing
