// The seams as text, for METAL_EMULATOR: items separated by semicolons, each
//   <what>[@<at>][*<times>][:<key>=<value>,...]
// fail_command_buffer (domain, code, raw, states=4+3+..., execute), fail_allocation, fail_library,
// fail_pipeline, fail_residency_set, no_residency_sets, drop_handlers, disorder (seed, delay_us),
// hold, working_set (bytes), count (the counters go to stderr when the process exits), traffic (so
// do the bytes that each kernel read and wrote in each of its buffers).
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string_view>

#include "misuse.h"
#include "seams.h"
#include "seams_internal.h"

namespace metal_emulator {
namespace {

std::string quoted(std::string_view text) {
  return std::string(1, '"').append(text).append(1, '"');
}

struct Item {
  std::string text;
  std::string what;
  Occasion occasion;
  std::map<std::string, std::string, std::less<>> options;

  [[noreturn]] void refuse(const std::string& why) const {
    throw std::invalid_argument(quoted(text) + " is no seam of the Metal emulator: " + why + ".");
  }
  std::int64_t number(std::string_view value) const {
    std::int64_t result = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), result);
    if (error != std::errc() || end != value.data() + value.size()) {
      refuse(quoted(value) + " is not a number");
    }
    return result;
  }
  std::uint64_t count(std::string_view value) const {
    const std::int64_t result = number(value);
    if (result < 1) {
      refuse(quoted(value) + " is less than 1");
    }
    return static_cast<std::uint64_t>(result);
  }
  // The option's value, taken out: what is left in the end nobody knew.
  std::optional<std::string> take(std::string_view key) {
    const auto found = options.find(key);
    if (found == options.end()) {
      return std::nullopt;
    }
    std::string value = std::move(found->second);
    options.erase(found);
    return value;
  }
  std::int64_t take_number(std::string_view key, std::int64_t otherwise) {
    const auto value = take(key);
    return value ? number(*value) : otherwise;
  }
};

// The text before the separator; `rest` becomes what follows it.
std::string_view cut(std::string_view& rest, char separator) {
  const std::size_t end = rest.find(separator);
  const std::string_view part = rest.substr(0, end);
  rest = end == rest.npos ? std::string_view() : rest.substr(end + 1);
  return part;
}

Item parse(std::string_view text) {
  Item item{std::string(text), {}, {}, {}};
  std::string_view options = text;
  std::string_view times = cut(options, ':');
  std::string_view at = cut(times, '*');
  item.what = cut(at, '@');
  if (!at.empty()) {
    item.occasion.at = item.count(at);
  }
  if (!times.empty()) {
    item.occasion.times = item.count(times);
  }
  while (!options.empty()) {
    std::string_view value = cut(options, ',');
    const std::string_view key = cut(value, '=');
    item.options.emplace(key, value);
  }
  return item;
}

void apply_failure(Item& item) {
  CommandBufferFailure failure;
  failure.occasion = item.occasion;
  if (auto domain = item.take("domain")) {
    failure.domain = *domain;
  }
  failure.code = item.take_number("code", failure.code);
  if (const auto raw = item.take("raw")) {
    failure.raw = item.number(*raw);
  }
  if (const auto states = item.take("states")) {
    for (std::string_view rest = *states; !rest.empty();) {
      failure.encoder_states.push_back(static_cast<int>(item.number(cut(rest, '+'))));
    }
  }
  failure.execute = item.take("execute").has_value();
  if (item.options.empty()) {
    fail_command_buffers(failure);
  }
}

void print_counters() {
  const Counters c = counters();
  std::fprintf(stderr,
               "metal_emulator: command_buffers=%llu encoders=%llu dispatches=%llu bytes_set=%llu "
               "bytes_blitted=%llu libraries=%llu fast_math_libraries=%llu\n",
               static_cast<unsigned long long>(c.command_buffers),
               static_cast<unsigned long long>(c.encoders),
               static_cast<unsigned long long>(c.dispatches),
               static_cast<unsigned long long>(c.bytes_set),
               static_cast<unsigned long long>(c.bytes_blitted),
               static_cast<unsigned long long>(c.libraries),
               static_cast<unsigned long long>(c.fast_math_libraries));
}

void print_traffic() {
  for (const Traffic& each : traffic()) {
    std::fprintf(stderr,
                 "metal_emulator: traffic kernel=%s buffer=%d dispatches=%llu bytes_read=%llu "
                 "bytes_written=%llu\n",
                 each.kernel.c_str(), each.buffer, static_cast<unsigned long long>(each.dispatches),
                 static_cast<unsigned long long>(each.bytes_read),
                 static_cast<unsigned long long>(each.bytes_written));
  }
}

void apply(Item& item) {
  if (item.what == "fail_command_buffer") {
    apply_failure(item);
  } else if (item.what == "fail_allocation") {
    fail_allocations(item.occasion);
  } else if (item.what == "fail_library") {
    fail_libraries(item.occasion);
  } else if (item.what == "fail_pipeline") {
    fail_pipelines(item.occasion);
  } else if (item.what == "fail_residency_set") {
    fail_residency_sets(item.occasion);
  } else if (item.what == "no_residency_sets") {
    remove_residency_sets();
  } else if (item.what == "drop_handlers") {
    drop_handlers(item.occasion);
  } else if (item.what == "disorder") {
    const auto seed = static_cast<std::uint64_t>(item.take_number("seed", 1));
    disorder_handlers(seed, static_cast<std::uint64_t>(item.take_number("delay_us", 1000)));
  } else if (item.what == "hold") {
    hold_gpu();
  } else if (item.what == "count") {
    std::atexit(print_counters);
  } else if (item.what == "traffic") {
    measure_traffic();
    std::atexit(print_traffic);
  } else if (item.what == "working_set") {
    set_working_set(static_cast<std::uint64_t>(item.take_number("bytes", 0)));
  } else {
    item.refuse(quoted(item.what) + " is unknown");
  }
  if (!item.options.empty()) {
    item.refuse(quoted(item.options.begin()->first) + " is no option of it");
  }
}

}  // namespace

void configure(const std::string& text) {
  for (std::string_view rest = text; !rest.empty();) {
    if (const std::string_view part = cut(rest, ';'); !part.empty()) {
      Item item = parse(part);
      apply(item);
    }
  }
}

void configure_from_environment() {
  static std::once_flag once;
  std::call_once(once, [] {
    if (const char* text = std::getenv("METAL_EMULATOR")) {
      try {
        configure(text);
      } catch (const std::invalid_argument& error) {
        misuse("METAL_EMULATOR: %s", error.what());
      }
    }
  });
}

}  // namespace metal_emulator
