// What most sources include, to be parsed once (-Db_pch=true): sanitize.sh asks for it.
// (gcc warns of a `#pragma once` in what it precompiles.)
#ifndef NITINOL_PCH_CONTRACTS_H_
#define NITINOL_PCH_CONTRACTS_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cmath>
#include <complex>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "nitinol/graph.h"
#include "nitinol/resolver.h"
#include "nitinol/schedule.h"

#endif  // NITINOL_PCH_CONTRACTS_H_
