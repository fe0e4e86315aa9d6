"""``python -m nitinol``: what a bug report should say of the devices and the installation."""

import argparse
import ctypes
import importlib.metadata
import os
import platform
import sys

import numpy

import nitinol
from nitinol import _native, _openblas, _runtime


def openblas() -> str:
    """Describe the OpenBLAS library: its package, and what it says of itself."""
    path = _openblas.library_path()
    package = os.path.basename(os.path.dirname(os.path.dirname(path)))
    version = importlib.metadata.version(package.replace("_", "-"))
    library = ctypes.CDLL(path)
    for name in ("scipy_openblas_get_config64_", "scipy_openblas_get_config"):
        function = getattr(library, name, None)
        if function is not None:
            function.restype = ctypes.c_char_p
            return f"{function().decode().strip()} ({package} {version})"
    return f"{package} {version}"


def processor() -> str:
    """Name the machine's processor, as far as the system tells."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                key, _, value = line.partition(":")
                if key.strip() == "model name":
                    return value.strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def describe(device: nitinol.Device) -> list[str]:
    """Describe a device in lines."""
    stats = device.stats()
    failures = ", ".join(f"{code} {n}" for code, n in stats["failures"].items()) or "none"
    mib = {name: value / 2**20 for name, value in stats.items() if name.startswith("bytes_")}
    return [
        f"{device}: {device.state}",
        f"  memory: {mib['bytes_in_use']:.1f} MiB in use, {mib['bytes_cached']:.1f} cached, "
        f"{mib['bytes_peak']:.1f} at the peak, limit {mib['bytes_limit']:.0f}",
        *([f"  {stats['residency']}"] if stats["residency"] else []),
        f"  work: {stats['submissions']} submissions, {stats['units']} units",
        f"  failures: {failures}; unobserved: {stats['unobserved']}",
    ]


def main() -> int:
    """Print the report."""
    argparse.ArgumentParser(
        prog="python -m nitinol",
        description="Prints what a bug report should say of the devices and the installation.",
    ).parse_args()
    planned = os.environ.get("NITINOL_FAULTS")
    lines = [
        f"nitinol {nitinol.__version__} ({os.path.dirname(os.path.abspath(nitinol.__file__))})",
        f"build: {_native.__build__}",
        f"Python {platform.python_version()} ({platform.python_implementation()})",
        f"NumPy {numpy.__version__}",
        f"BLAS: {openblas()}",
        f"system: {platform.platform()}",
        f"processor: {processor()}, {os.cpu_count()} cores; nitinol uses {_runtime.threads()} "
        f"threads, instruction set {_runtime.instruction_set()}",
        f"NITINOL_FAULTS: {planned!r}" if planned else "NITINOL_FAULTS: not set",
    ]
    for device in nitinol.devices():
        lines += describe(device)
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
