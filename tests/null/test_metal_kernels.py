"""The Metal kernels' text keeps to the Metal Shading Language, where the emulator would let more
pass."""

import pathlib

import pytest

import metal_lint

FOLDER = pathlib.Path(__file__).parents[2] / "native/metal/kernels"
KERNELS = sorted(FOLDER.glob("*.metal"))


def test_kernels_are_found():
    """The files are where they are looked for."""
    assert "common.metal" in {path.name for path in KERNELS}
    assert len(KERNELS) > 10


@pytest.mark.parametrize("path", KERNELS, ids=lambda path: path.stem)
def test_kernel(path):
    """A kernel file uses nothing that Apple's compiler refuses."""
    text = path.read_text(encoding="utf-8")
    if path.stem != "common":  # which stands in front of every other file
        text = (FOLDER / "common.metal").read_text(encoding="utf-8") + text
    assert metal_lint.check(text) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("kernel void f(device float* x) { double y = x[0]; }", "no double"),
        ("kernel void f(device float* x) { x[0] = std::sqrt(x[0]); }", "no std"),
        ("float f(float x) { return x > 0 ? f(x - 1) : x; }", "recursion: f"),
        ("float g(float x);\nfloat f(float x) { return g(x); }\n"
         "float g(float x) { return f(x); }", "recursion"),
        ("inline float f(float* x) { return x[0]; }", "no address space"),
        ("inline float f(const device float& x) { float& y = x; return y; }", "line 1: no address"),
        ("struct P { int a; };\ninline int f(P& p) { return p.a; }", "line 2: no address space"),
        ("inline void f(device T* x) { T* y = x; }", "no address space"),
        ("inline void f(device atomic_ulong* x) {}", "64-bit atomics"),
        ("#include <vector>", "no such header: 'vector'"),
        ("inline void f() { auto g = [&](int x) { return x; }; }", "no lambdas"),
        ("inline void f() { static int n = 0; }", "no static variables"),
    ],
)  # fmt: skip
def test_what_is_refused(text, problem):
    """Each kind of thing that MSL lacks is found."""
    assert any(problem in found for found in metal_lint.check(text))


@pytest.mark.parametrize(
    "text",
    [
        "// a double in a comment, std::vector too\ninline float f(float a) { return a * a; }",
        "inline float f(float a) { return a; }\ninline float2 f(float2 a) { return f(a.x); }",
        "kernel void f(device float* x [[buffer(0)]], uint i [[thread_position_in_grid]]) {\n"
        "  threadgroup float tile[32];\n  threadgroup float* t = tile;\n  x[i] = t[0] * x[i];\n}",
        "inline float f(thread const float2& a, constant long* shape) { return a.x * shape[0]; }",
        "inline uint f(uint a, uint b) { const uint c = a & b; return c; }",
    ],
)
def test_what_is_allowed(text):
    """What MSL has is not complained of."""
    assert metal_lint.check(text) == []
