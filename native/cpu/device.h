// The CPU device: streams run on a bounded number of threads, one unit after another.
#pragma once

#include <condition_variable>
#include <mutex>

#include "nitinol/device.h"
#include "nitinol/submission.h"

namespace nitinol::cpu {

class CpuDevice final : public Device {
 public:
  CpuDevice();

  void commit(Submission* submission) noexcept override;
  bool runs_inline(const Submission& submission) const noexcept override;
  void run_inline(Submission& submission) noexcept override;
  bool runs_on_caller(const Submission& submission) const noexcept override;
  void run_on_caller(Submission& submission) noexcept override { run(submission); }

  // The one of the process, made on first use, never destroyed.
  static CpuDevice& shared();

 private:
  void serve() noexcept;  // the life of one thread
  bool start_thread() noexcept;
  bool wants_thread() const noexcept;
  // A thread that waits for the outside world does not count as one that serves.
  void block(int threads) noexcept;
  void run(Submission& submission) noexcept;
  void units(Submission& submission, bool may_wait) noexcept;
  void pause(std::int64_t nanoseconds) noexcept;
  void launch(Unit& unit, const Fault& injected) noexcept;

  std::mutex mutex_;
  std::condition_variable work_;
  Submission* first_ = nullptr;
  Submission* last_ = nullptr;
  int threads_ = 0;
  int idle_ = 0;
  int blocked_ = 0;
  int queued_ = 0;
};

}  // namespace nitinol::cpu
