// Planner: one pass from lazy roots to submissions. Internal to the core.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "nitinol/device.h"
#include "nitinol/schedule.h"

namespace nitinol {

// All of it under the graph lock. Steps: walk -> count -> group (fuse) -> split into
// submissions -> build units -> claim. Whatever may throw comes before `claim`.
class Planner {
 public:
  ScheduleResult run(std::span<Node* const> roots, bool may_run_inline, Scope* scope);
  // Of null: of every device, every stream, whatever scope.
  static Ref<Evaluation> pending(Device* device, Stream* stream, const Scope* scope);
  // The one planner, its vectors kept between calls; the graph lock is held.
  static Planner& shared();

 private:
  static constexpr std::uint32_t none = 0xffffffffu;

  struct Item {  // a node of the walk
    Node* node;
    std::uint32_t edges = 0;  // inputs of planned nodes that are this node
    std::uint32_t group = none;
    std::uint32_t next = none;  // in its group
    std::uint32_t uses = 0;     // reads inside its program that are still to come
    std::uint16_t value = 0;    // its slot in its program
    bool internal = false;      // no reference but the planned readers'
    bool materialise = false;   // read by another unit
    bool transient = false;     // internal, and every reader is in its submission
    bool crosses = false;       // read by another submission of this plan
    bool released = false;      // its last reader is known
  };

  struct Group {  // of nodes that run as one unit
    std::uint32_t parent;
    std::uint32_t head, tail;
    std::uint32_t count = 1;
    std::uint32_t part;
    std::uint32_t deepest = none;  // the latest group it reads
    std::uint32_t submission = none;
    bool fusable;  // nodes may join it
  };

  struct Part {  // what one stream may run without waiting for another in between
    Stream* stream;
    std::uint32_t depth;
    std::vector<std::uint32_t> groups;
  };

  struct Plan {  // a submission in the making
    Ref<Submission> submission;
    std::vector<Submission*> dependencies;
    std::span<Submission::Edge> edges;
    std::uint64_t stamp = 0;
  };

  void walk(std::span<Node* const> roots);
  void push(Node* node);
  void count();
  void group();
  std::uint32_t part_of(const Item& item);
  std::uint32_t find(std::uint32_t group);
  bool join(std::uint32_t index, std::uint32_t part);
  std::uint32_t meet(const Item& item, std::uint32_t part, std::uint32_t latest);
  void merge(std::uint32_t into, std::uint32_t from);
  void note_reads(const Item& item);
  void split();
  void classify();
  void build();
  void build_kernel(Plan& plan, const Group& group, Unit& unit);
  void build_program(Plan& plan, const Group& group, Unit& unit);
  void set_outputs(Plan& plan, Unit& unit);
  std::uint16_t input_slot(Node* node);
  std::uint16_t take_register(DType dtype);
  void plan_memory(Plan& plan);
  static std::size_t freed_peak(std::span<const Unit> units) noexcept;
  static std::size_t recycled_peak(std::span<const Unit> units);
  void depend(Plan& plan, Submission* on);
  bool planned(const Node* node) const { return node->mark_ == epoch_; }
  void claim() noexcept;
  void enqueue(Plan& plan) noexcept;
  static void hold(Submission& submission) noexcept;
  void reset();

  std::uint64_t epoch_ = 0;
  std::uint32_t limit_ = 0;  // of instructions a program
  std::uint64_t stamp_ = 0;
  std::vector<Item> items_;
  std::vector<std::pair<Node*, std::uint32_t>> stack_;
  std::vector<Group> groups_;
  std::vector<Part> parts_;
  std::unordered_map<std::uint64_t, std::uint32_t> part_index_;
  std::vector<std::uint32_t> part_depth_;  // of each item
  Stream* first_stream_ = nullptr;
  bool one_stream_ = true;  // all items are of the same stream
  std::vector<Plan> plans_;
  std::vector<Submission*> foreign_;  // in flight already, needed by the roots
  // Of the unit in the making.
  std::vector<Node*> inputs_;
  std::vector<Node*> outputs_;
  std::vector<DType> registers_;
  std::vector<std::uint16_t> free_registers_[5];  // by log2 of the item size
};

}  // namespace nitinol
