// What Cython needs of the core, in functions without templates: owned raw pointers in
// place of Ref, pointers and counts in place of spans.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <typeinfo>
#include <vector>

#include "cpu/blas.h"
#include "cpu/device.h"
#include "cpu/pool.h"
#include "cpu/program.h"
#include "cpu/simd/dispatch.h"
#include "metal/start.h"
#include "nitinol/device.h"
#include "nitinol/graph.h"
#include "nitinol/host.h"
#include "nitinol/node.h"
#include "nitinol/retry.h"
#include "nitinol/room.h"
#include "nitinol/schedule.h"
#include "nitinol/scope.h"
#include "nitinol/trace.h"
#include "nitinol/watch.h"

namespace nitinol::bridge {

// What a device lacks; Cython makes a TypeError of it.
class Lack : public std::bad_cast {
 public:
  Lack(const Device& device, const char* what, const char* besides = "")
      : text_(std::string(device.name()) + " has no " + what + ": " + besides +
              "move the arrays with to_device('cpu') and compute there.") {}
  const char* what() const noexcept override { return text_.c_str(); }

 private:
  std::string text_;
};

inline void check(const Device& device, DType dtype) {
  if (device.lacks(dtype)) throw Lack(device, name(dtype), "choose another dtype, or ");
}

// The first device is the default one.
inline void start() {
  if (!Device::all().empty()) return;
  Device::add(&cpu::CpuDevice::shared());
#if NITINOL_METAL
  if (Device* metal = metal::system_device()) Device::add(metal);
#endif
}

inline std::size_t device_count() { return Device::all().size(); }
inline Device* device_at(std::size_t i) { return Device::all()[i]; }

inline Layout make_layout(const std::int64_t* shape, int ndim, DType dtype) {
  return checked_layout({shape, static_cast<std::size_t>(ndim)}, dtype);
}

inline Node* make_elementwise(Op op, DType in, DType out, Node* const* inputs, std::size_t count,
                              Stream* stream) {
  check(*stream->device, in);
  check(*stream->device, out);
  return nitinol::make_elementwise(op, in, out, {inputs, count}, stream).detach();
}

inline Node* make_node(Op op, DType dtype, const std::int64_t* shape, int ndim, Stream* stream,
                       Node* const* inputs, std::size_t count, const std::int64_t* ints,
                       std::size_t int_count, const double* floats, std::size_t float_count,
                       const char* text, void* callback, Device* memory = nullptr) {
  // First, so that the reference is given back whatever is thrown below.
  Ref<Keep> keep = callback ? Ref<Keep>::adopt(new Keep(callback)) : nullptr;
  if (stream->device->lacks(op)) throw Lack(*stream->device, info(op).name);
  check(*stream->device, dtype);
  for (std::size_t i = 0; i < count; ++i) check(*stream->device, inputs[i]->dtype());
  Ref<Params> params;
  if (int_count || float_count || text) {
    params = Ref<Params>::adopt(new Params);
    params->ints.assign(ints, ints + int_count);
    params->floats.assign(floats, floats + float_count);
    if (text) params->text = text;
    params->memory = memory;
  }
  Ref<Node> node = Node::make(op, dtype, make_layout(shape, ndim, dtype), stream, {inputs, count},
                              std::move(params));
  if (keep) node->set_callback(std::move(keep));
  return node.detach();
}

inline Node* make_view(Node* of, const std::int64_t* shape, const std::int64_t* strides, int ndim,
                       std::int64_t offset) {
  const auto n = static_cast<std::size_t>(ndim);
  return Node::make_view(of, Layout({shape, n}, {strides, n}, offset)).detach();
}

// A leaf with fresh memory, to be filled by the caller before anybody sees it; null
// when the memory cannot be had.
inline Node* make_leaf(DType dtype, const std::int64_t* shape, int ndim, Stream* stream) {
  check(*stream->device, dtype);
  Layout layout = make_layout(shape, ndim, dtype);
  const std::size_t bytes = static_cast<std::size_t>(layout.size()) * itemsize(dtype);
  Ref<Buffer> buffer = Buffer::allocate(stream->device->memory, bytes);
  if (!buffer) return nullptr;
  return Node::make_data(dtype, std::move(layout), stream, std::move(buffer)).detach();
}

// A leaf over memory that `owner` keeps alive. Strides in elements.
inline Node* make_borrowed(DType dtype, const std::int64_t* shape, const std::int64_t* strides,
                           int ndim, void* data, Stream* stream, void* owner) {
  auto keep = Ref<Keep>::adopt(new Keep(owner));
  check(*stream->device, dtype);
  if (!stream->device->borrows()) {
    throw std::invalid_argument(std::string(stream->device->name()) +
                                " can't use memory that is not its own without a copy, and "
                                "copy=False was asked for.");
  }
  const auto n = static_cast<std::size_t>(ndim);
  Layout layout({shape, n}, {strides, n}, 0);
  Ref<Buffer> buffer = Buffer::borrow(data, 0, std::move(keep));
  return Node::make_data(dtype, std::move(layout), stream, std::move(buffer)).detach();
}

inline int schedule(Node* const* roots, std::size_t count, bool may_run_inline, Scope* scope,
                    Evaluation** evaluation) {
  ScheduleResult result = nitinol::schedule({roots, count}, may_run_inline, scope);
  *evaluation = result.evaluation.detach();
  return static_cast<int>(result.refusal);
}

inline Evaluation* pending_work(Device* device, Stream* stream) {
  return nitinol::pending_work(device, stream).detach();
}
inline Evaluation* pending_in(const Scope* scope) { return nitinol::pending_work(*scope).detach(); }
// Takes nothing over: `target` comes back from Watch::take_fired.
inline void watch(Evaluation* evaluation, void* target) {
  (new Watch(Ref<Evaluation>::share(evaluation), target))->start();
}

inline Scope* make_scope(const char* name, std::size_t length) {
  return new Scope(std::string(name, length));
}
inline std::vector<Report*> reports_of(const Scope* scope, bool unobserved) {
  std::vector<Report*> reports;
  auto found = scope->reports();
  if (unobserved) {
    std::erase_if(found, [](const auto& report) { return report->observer() != Observer::nobody; });
  }
  reports.reserve(found.size());
  for (auto& report : found) reports.push_back(report.detach());
  return reports;
}
inline const Scope* scope_of(const Report* report) { return report->scope.get(); }
inline Report* take_error(Device* device) { return device->notices.take_error().detach(); }

// Why a retry was refused, in the terms of Python's sentence.
struct Retried {
  int refusal;
  Device* device;
  Node* array;  // owned, as below; null unless donated
  Node* taker;
};
// The nodes that replace the roots are written to `made`, each an owned reference.
inline Retried retry(Node* const* roots, std::size_t count, Node** made) {
  RetryResult result = nitinol::retry({roots, count});
  for (std::size_t i = 0; i < result.nodes.size(); ++i) made[i] = result.nodes[i].detach();
  return {static_cast<int>(result.refusal), result.device, result.array.detach(),
          result.taker.detach()};
}

// An immortal line, for the caller to keep: it is not looked up.
inline const SourceLine* source_line(const char* file, const char* function, int line) {
  return new SourceLine{file, function, line};
}
inline std::vector<RefusedDonations::Entry> take_refused_donations() {
  return RefusedDonations::shared().take();
}
inline bool any_refused_donations() noexcept { return RefusedDonations::shared().any(); }

inline std::size_t poison_size(const Node* node) { return node->poison()->roots().size(); }
inline Report* poison_report(const Node* node, std::size_t i) {
  return Ref<Report>(node->poison()->roots()[i]).detach();
}

inline void add_unobserved(Device* device, Observer by, std::int64_t stream,
                           std::vector<Report*>& into) {
  auto found = device->record.unobserved(by, stream);
  into.reserve(into.size() + found.size());
  for (auto& report : found) into.push_back(report.detach());
}

inline void* exception_of(const Report* report) {
  return report->exception ? report->exception->object() : nullptr;
}

inline void* translation_of(const Report* report) {
  const Keep* kept = report->translation.load(std::memory_order_acquire);
  return kept ? kept->object() : nullptr;
}
// The object that is kept from now on: `object`, or that of whoever came first. The
// report's reference to it is the caller's to make.
inline void* keep_translation(const Report* report, void* object) {
  auto* keep = new Keep(object);
  Keep* first = nullptr;
  if (report->translation.compare_exchange_strong(first, keep, std::memory_order_acq_rel)) {
    return object;
  }
  Keep::free(keep);
  return first->object();
}

inline void register_loop(Op op, DType in, void* run, void* context, void* auxiliary) {
  cpu::register_loop(op, in, {reinterpret_cast<cpu::StridedLoop>(run), context, auxiliary, false});
}
// The instruction set that the kernels compiled for several of them use here.
inline const char* instruction_set() {
#define NITINOL_X(name) #name,
  static constexpr const char* names[] = {NITINOL_FOR_EACH_ISA(NITINOL_X)};
#undef NITINOL_X
  return names[static_cast<int>(cpu::simd::best_isa())];
}
inline bool has_loop(Op op, DType in, DType out) {
  return cpu::loop_for(op, in, out).run != nullptr;
}

}  // namespace nitinol::bridge
