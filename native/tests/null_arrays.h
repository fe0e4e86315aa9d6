// Small arrays of the tests' device: made, run, and looked at.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "null_device.h"

namespace nitinol::testing {

inline Ref<Node> leaf(NullDevice& device, std::int64_t first = 10, std::int64_t n = 2) {
  const std::int64_t shape[] = {n};
  Ref<Buffer> buffer = Buffer::allocate(device.memory, static_cast<std::size_t>(n) * 8);
  Ref<Node> node =
      Node::make_data(DType::int64, Layout(shape), device.default_stream(), std::move(buffer));
  for (std::int64_t e = 0; e < n; ++e) store(*node, e, first + e);
  return node;
}

// Without a stream, on the device's default one.
inline Ref<Node> make(NullDevice& device, Op op, std::vector<Node*> inputs, std::int64_t number,
                      Stream* stream = nullptr) {
  auto params = Ref<Params>::adopt(new Params);
  params->ints = {number};
  params->text = "model.gguf";  // for reports to repeat
  return Node::make(op, DType::int64, Layout(inputs.at(0)->layout().shape()),
                    stream ? stream : device.default_stream(), inputs, std::move(params));
}

inline ScheduleResult run(NullDevice& device, std::vector<Node*> roots) {
  ScheduleResult result = schedule(roots, false);
  device.run_all();
  return result;
}

inline std::vector<std::int64_t> values(const Ref<Node>& node) {
  CHECK(node->state() == State::ready);
  std::vector<std::int64_t> found;
  for (std::int64_t e = 0; e < node->layout().size(); ++e) {
    found.push_back(load(*node, node->layout().shape(), e));
  }
  return found;
}

}  // namespace nitinol::testing
