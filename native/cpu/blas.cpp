// Loading OpenBLAS and calling it: the only file that knows its symbol names and index widths.
#include "cpu/blas.h"

#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdio>
#include <limits>
#include <mutex>
#include <semaphore>

namespace nitinol::cpu::blas {
namespace {

// What LAPACK calls a length argument: Fortran passes one behind the arguments for each string.
using FortranLength = std::size_t;

// CBLAS takes real scalars by value and complex ones by address.
template <class T>
struct ScalarArgument {
  using type = T;
  static T of(const T& x) noexcept { return x; }
};
template <class R>
struct ScalarArgument<std::complex<R>> {
  using type = const std::complex<R>*;
  static type of(const std::complex<R>& x) noexcept { return &x; }
};

enum : int { row_major = 101, no_transpose = 111, transposed = 112 };

// Routines of one element type, in a library whose index type is Int.
template <class Int, class T>
struct Routines {
  using Value = typename ScalarArgument<T>::type;
  void (*gemm)(int, int, int, Int, Int, Int, Value, const T*, Int, const T*, Int, Value, T*, Int);
  void (*gemv)(int, int, Int, Int, Value, const T*, Int, const T*, Int, Value, T*, Int);
  void (*getrf)(const Int*, const Int*, T*, const Int*, Int*, Int*);
  void (*getrs)(const char*, const Int*, const Int*, const T*, const Int*, const Int*, T*,
                const Int*, Int*, FortranLength);
  void (*getri)(const Int*, T*, const Int*, const Int*, T*, const Int*, Int*);
  void (*potrf)(const char*, const Int*, T*, const Int*, Int*, FortranLength);
};

template <class Int>
struct Table {
  Routines<Int, float> s;
  Routines<Int, double> d;
  Routines<Int, std::complex<float>> c;
  Routines<Int, std::complex<double>> z;

  template <class T>
  const Routines<Int, T>& of() const noexcept {
    if constexpr (std::is_same_v<T, float>) {
      return s;
    } else if constexpr (std::is_same_v<T, double>) {
      return d;
    } else if constexpr (std::is_same_v<T, std::complex<float>>) {
      return c;
    } else {
      return z;
    }
  }
};

enum class Width : int { none, narrow, wide };

// Written once under the mutex before `width` is published.
Table<std::int64_t> wide_table;
Table<std::int32_t> narrow_table;
std::atomic<Width> width{Width::none};
std::mutex load_mutex;
char error_text[512] = "no library has been asked for";

// How the two packages spell a symbol.
struct Naming {
  const char* cblas;
  const char* lapack;
  const char* set_threads;
};
constexpr Naming wide_naming = {"scipy_cblas_%c%s64_", "scipy_%c%s_64_",
                                "scipy_openblas_set_num_threads64_"};
constexpr Naming narrow_naming = {"scipy_cblas_%c%s", "scipy_%c%s_",
                                  "scipy_openblas_set_num_threads"};

class Loader {
 public:
  Loader(void* handle, const Naming& naming) noexcept : handle_(handle), naming_(naming) {}

  template <class Int, class T>
  bool fill(char letter, Routines<Int, T>& r) noexcept {
    return find(naming_.cblas, letter, "gemm", r.gemm) &&
           find(naming_.cblas, letter, "gemv", r.gemv) &&
           find(naming_.lapack, letter, "getrf", r.getrf) &&
           find(naming_.lapack, letter, "getrs", r.getrs) &&
           find(naming_.lapack, letter, "getri", r.getri) &&
           find(naming_.lapack, letter, "potrf", r.potrf);
  }

 private:
  template <class F>
  bool find(const char* pattern, char letter, const char* routine, F& function) noexcept {
    char symbol[64];
    std::snprintf(symbol, sizeof symbol, pattern, letter, routine);
    function = reinterpret_cast<F>(dlsym(handle_, symbol));
    if (!function) {
      std::snprintf(error_text, sizeof error_text, "the library has no symbol %s", symbol);
    }
    return function != nullptr;
  }

  void* handle_;
  const Naming& naming_;
};

template <class Int>
bool fill(void* handle, const Naming& naming, Table<Int>& table) noexcept {
  Loader loader(handle, naming);
  return loader.fill('s', table.s) && loader.fill('d', table.d) && loader.fill('c', table.c) &&
         loader.fill('z', table.z);
}

// OpenBLAS has 128 work buffers: calls beyond that from further threads at a time print a warning,
// and some hundreds end the process. So only while there are few threads is everybody let in.
constexpr int most_free_threads = 64;
constinit std::atomic<int> threads_seen{0};  // that have called and are alive
std::counting_semaphore<most_free_threads / 2> permits{most_free_threads / 2};

struct SeenThread {
  SeenThread() noexcept { threads_seen.fetch_add(1, std::memory_order_relaxed); }
  ~SeenThread() { threads_seen.fetch_sub(1, std::memory_order_relaxed); }
  int others() const noexcept { return threads_seen.load(std::memory_order_relaxed) - 1; }
};
thread_local const SeenThread this_thread;

class Admission {
 public:
  Admission() noexcept : permitted_(this_thread.others() >= most_free_threads) {
    if (permitted_) permits.acquire();
  }
  ~Admission() {
    if (permitted_) permits.release();
  }
  Admission(const Admission&) = delete;
  Admission& operator=(const Admission&) = delete;

 private:
  const bool permitted_;
};

// Calls f with the table in use.
template <class F>
decltype(auto) with_table(F&& f) noexcept {
  const Admission admission;
  return width.load(std::memory_order_acquire) == Width::wide ? f(wide_table) : f(narrow_table);
}

template <class Int>
constexpr bool fits(std::initializer_list<std::int64_t> values) noexcept {
  return std::all_of(values.begin(), values.end(),
                     [](std::int64_t v) { return v >= 0 && v <= std::numeric_limits<Int>::max(); });
}

// For leading dimensions beyond the library's indices: rows more than 2^31 elements apart.
template <class T>
void plain_gemm(bool ta, bool tb, std::int64_t m, std::int64_t n, std::int64_t k, T alpha,
                const T* a, std::int64_t lda, const T* b, std::int64_t ldb, T beta, T* c,
                std::int64_t ldc) noexcept {
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      T sum{};
      for (std::int64_t l = 0; l < k; ++l) {
        sum += (ta ? a[l * lda + i] : a[i * lda + l]) * (tb ? b[j * ldb + l] : b[l * ldb + j]);
      }
      T& target = c[i * ldc + j];
      target = beta == T{} ? alpha * sum : alpha * sum + beta * target;
    }
  }
}

template <class Int>
constexpr std::int64_t longest = std::int64_t{1} << (sizeof(Int) == 4 ? 30 : 62);

}  // namespace

bool load(const char* library_path) noexcept {
  std::lock_guard lock(load_mutex);
  if (loaded()) return true;
  void* handle = dlopen(library_path, RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    const char* reason = dlerror();
    std::snprintf(error_text, sizeof error_text, "%s", reason ? reason : "dlopen failed");
    return false;
  }
  const bool wide = dlsym(handle, wide_naming.set_threads) != nullptr;
  const Naming& naming = wide ? wide_naming : narrow_naming;
  auto set_threads = reinterpret_cast<void (*)(int)>(dlsym(handle, naming.set_threads));
  if (!set_threads) {
    std::snprintf(error_text, sizeof error_text, "the library has no symbol %s",
                  naming.set_threads);
    dlclose(handle);
    return false;
  }
  if (!(wide ? fill(handle, naming, wide_table) : fill(handle, naming, narrow_table))) {
    dlclose(handle);
    return false;
  }
  // Its own threads would spin beside the pool's.
  set_threads(1);
  width.store(wide ? Width::wide : Width::narrow, std::memory_order_release);
  error_text[0] = '\0';
  return true;
}

bool loaded() noexcept { return width.load(std::memory_order_acquire) != Width::none; }

const char* load_error() noexcept { return error_text; }

const char* index_width() noexcept {
  switch (width.load(std::memory_order_acquire)) {
    case Width::wide:
      return "int64";
    case Width::narrow:
      return "int32";
    case Width::none:
      break;
  }
  return "";
}

template <Scalar T>
void gemm(bool transpose_a, bool transpose_b, std::int64_t m, std::int64_t n, std::int64_t k,
          T alpha, const T* a, std::int64_t lda, const T* b, std::int64_t ldb, T beta, T* c,
          std::int64_t ldc) noexcept {
  with_table([&]<class Int>(const Table<Int>& table) {
    if (!fits<Int>({lda, ldb, ldc})) {
      plain_gemm(transpose_a, transpose_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
      return;
    }
    using Argument = ScalarArgument<T>;
    constexpr std::int64_t most = longest<Int>;
    for (std::int64_t i = 0; i < m; i += most) {
      for (std::int64_t j = 0; j < n; j += most) {
        for (std::int64_t l = 0; l < k || l == 0; l += most) {
          const T scale = l == 0 ? beta : T{1};
          table.template of<T>().gemm(
              row_major, transpose_a ? transposed : no_transpose,
              transpose_b ? transposed : no_transpose, static_cast<Int>(std::min(most, m - i)),
              static_cast<Int>(std::min(most, n - j)), static_cast<Int>(std::min(most, k - l)),
              Argument::of(alpha), a + (transpose_a ? l * lda + i : i * lda + l),
              static_cast<Int>(lda), b + (transpose_b ? j * ldb + l : l * ldb + j),
              static_cast<Int>(ldb), Argument::of(scale), c + i * ldc + j, static_cast<Int>(ldc));
        }
      }
    }
  });
}

template <Scalar T>
void gemv(bool transpose, std::int64_t m, std::int64_t n, const T* a, std::int64_t lda, const T* x,
          std::int64_t incx, T* y) noexcept {
  // Some kernels scale y even by zero, which keeps a NaN that was there: start from zeros.
  std::fill_n(y, transpose ? n : m, T{});
  with_table([&]<class Int>(const Table<Int>& table) {
    if (!fits<Int>({lda, m, n, incx})) {
      if (transpose) {
        plain_gemm(true, false, n, std::int64_t{1}, m, T{1}, a, lda, x, incx, T{}, y,
                   std::int64_t{1});
      } else {
        plain_gemm(false, false, m, std::int64_t{1}, n, T{1}, a, lda, x, incx, T{}, y,
                   std::int64_t{1});
      }
      return;
    }
    const T one{1};
    using Argument = ScalarArgument<T>;
    table.template of<T>().gemv(row_major, transpose ? transposed : no_transpose,
                                static_cast<Int>(m), static_cast<Int>(n), Argument::of(one), a,
                                static_cast<Int>(lda), x, static_cast<Int>(incx), Argument::of(one),
                                y, Int{1});
  });
}

// An order beyond the index type would be a matrix of 2^62 elements: refused like LAPACK refuses
// a bad argument, never truncated.
template <Scalar T>
std::int64_t getrf(std::int64_t n, T* a, std::int64_t lda, std::int64_t* pivots) noexcept {
  return with_table([&]<class Int>(const Table<Int>& table) -> std::int64_t {
    if (!fits<Int>({n, lda})) return -1;
    const Int order = static_cast<Int>(n), leading = static_cast<Int>(lda);
    Int info = 0;
    table.template of<T>().getrf(&order, &order, a, &leading, reinterpret_cast<Int*>(pivots),
                                 &info);
    return info;
  });
}

template <Scalar T>
std::int64_t getrs(bool transpose, std::int64_t n, std::int64_t columns, const T* lu,
                   std::int64_t lda, const std::int64_t* pivots, T* b, std::int64_t ldb) noexcept {
  return with_table([&]<class Int>(const Table<Int>& table) -> std::int64_t {
    if (!fits<Int>({n, lda, ldb})) return -1;
    const Int order = static_cast<Int>(n), leading = static_cast<Int>(lda);
    const Int leading_b = static_cast<Int>(ldb);
    for (std::int64_t j = 0; j < columns; j += longest<Int>) {
      const Int count = static_cast<Int>(std::min(longest<Int>, columns - j));
      Int info = 0;
      table.template of<T>().getrs(transpose ? "T" : "N", &order, &count, lu, &leading,
                                   reinterpret_cast<const Int*>(pivots), b + j * ldb, &leading_b,
                                   &info, 1);
      if (info != 0) return info;
    }
    return 0;
  });
}

template <Scalar T>
std::int64_t getri(std::int64_t n, T* lu, std::int64_t lda, const std::int64_t* pivots, T* work,
                   std::int64_t work_size) noexcept {
  return with_table([&]<class Int>(const Table<Int>& table) -> std::int64_t {
    if (!fits<Int>({n, lda})) return -1;
    const Int order = static_cast<Int>(n), leading = static_cast<Int>(lda);
    const Int size = static_cast<Int>(std::min(work_size, longest<Int>));
    Int info = 0;
    table.template of<T>().getri(&order, lu, &leading, reinterpret_cast<const Int*>(pivots), work,
                                 &size, &info);
    return info;
  });
}

template <Scalar T>
std::int64_t potrf(bool upper, std::int64_t n, T* a, std::int64_t lda) noexcept {
  return with_table([&]<class Int>(const Table<Int>& table) -> std::int64_t {
    if (!fits<Int>({n, lda})) return -1;
    const Int order = static_cast<Int>(n), leading = static_cast<Int>(lda);
    Int info = 0;
    table.template of<T>().potrf(upper ? "U" : "L", &order, a, &leading, &info, 1);
    return info;
  });
}

std::int64_t pivot(const std::int64_t* pivots, std::int64_t i) noexcept {
  if (width.load(std::memory_order_acquire) == Width::wide) return pivots[i] - 1;
  return reinterpret_cast<const std::int32_t*>(pivots)[i] - 1;
}

#define NITINOL_INSTANTIATE(T)                                                               \
  template void gemm<T>(bool, bool, std::int64_t, std::int64_t, std::int64_t, T, const T*,   \
                        std::int64_t, const T*, std::int64_t, T, T*, std::int64_t) noexcept; \
  template void gemv<T>(bool, std::int64_t, std::int64_t, const T*, std::int64_t, const T*,  \
                        std::int64_t, T*) noexcept;                                          \
  template std::int64_t getrf<T>(std::int64_t, T*, std::int64_t, std::int64_t*) noexcept;    \
  template std::int64_t getrs<T>(bool, std::int64_t, std::int64_t, const T*, std::int64_t,   \
                                 const std::int64_t*, T*, std::int64_t) noexcept;            \
  template std::int64_t getri<T>(std::int64_t, T*, std::int64_t, const std::int64_t*, T*,    \
                                 std::int64_t) noexcept;                                     \
  template std::int64_t potrf<T>(bool, std::int64_t, T*, std::int64_t) noexcept;
NITINOL_INSTANTIATE(float)
NITINOL_INSTANTIATE(double)
NITINOL_INSTANTIATE(std::complex<float>)
NITINOL_INSTANTIATE(std::complex<double>)
#undef NITINOL_INSTANTIATE

}  // namespace nitinol::cpu::blas
