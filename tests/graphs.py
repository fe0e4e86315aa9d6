"""Random graphs of arrays, with a model in NumPy that says what each must be or must raise."""

import contextlib
import dataclasses
from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st

import nitinol as nt
from nitinol import _runtime
from strategies import dtypes_of

N = 4
DTYPES = ("int64", "float32", "float64")
# Values are integers below these, so that every dtype computes them exactly.
EXACT = {"int64": 2**62, "float32": 2**24, "float64": 2**53}
WRAP = 97


class Boom(Exception):
    """What the failing host calls of a program raise; it names the step."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of step: what it takes and gives, on the device and in NumPy.

    Of the letters, n is a matrix, r a row, i a row of indices and m a mask. `unit` is the op that
    a report of its failure names; None if it is a view, which runs nothing.
    """

    takes: str
    gives: str
    unit: str | None
    make: Callable
    model: Callable
    bound: Callable = lambda *bounds: max(bounds)


def _update(x, y, start):
    start = int(np.clip(start[0], 0, N - 2))
    return np.concatenate([x[:start], y[:2], x[start + 2 :]])


def _set_row(x, row):
    x = x.copy()
    x[1] = row
    return x


def _scatter(x, i, y):
    x = x.copy()
    np.add.at(x, i, y)
    return x


KINDS = {
    "add": Kind("nn", "n", "add", lambda x, y: x + y, np.add, lambda a, b: a + b),
    "subtract": Kind("nn", "n", "subtract", lambda x, y: x - y, np.subtract, lambda a, b: a + b),
    "multiply": Kind("nn", "n", "multiply", lambda x, y: x * y, np.multiply, lambda a, b: a * b),
    "maximum": Kind("nn", "n", "maximum", nt.maximum, np.maximum),
    "negative": Kind("n", "n", "negative", lambda x: -x, np.negative),
    "wrap": Kind("n", "n", "remainder", lambda x: x % WRAP, lambda x: x % WRAP, lambda a: WRAP),
    "outer": Kind("rr", "n", "add", lambda r, s: r[:, None] + s, lambda r, s: r[:, None] + s,
                  lambda a, b: a + b),
    "greater": Kind("nn", "m", "greater", lambda x, y: x > y, np.greater),
    "where": Kind("mnn", "n", "where", nt.where, np.where, lambda m, a, b: max(a, b)),
    "sum": Kind("n", "r", "sum", lambda x: nt.sum(x, axis=0), lambda x: x.sum(axis=0),
                lambda a: N * a),
    "max": Kind("n", "r", "max", lambda x: nt.max(x, axis=1), lambda x: x.max(axis=1)),
    "matmul": Kind("nn", "n", "matmul", lambda x, y: x @ y, np.matmul, lambda a, b: N * a * b),
    "transpose": Kind("n", "n", None, lambda x: x.T, lambda x: x.T),
    "flip": Kind("n", "n", None, lambda x: x[::-1], lambda x: x[::-1]),
    "spread": Kind("r", "n", None, lambda r: nt.broadcast_to(r, (N, N)),
                   lambda r: np.broadcast_to(r, (N, N))),
    "row": Kind("n", "r", None, lambda x: x[2], lambda x: x[2]),
    "indices": Kind("n", "i", "argmax", lambda x: nt.argmax(x, axis=0), lambda x: x.argmax(axis=0)),
    "take": Kind("ni", "n", "take", lambda x, i: nt.take(x, i, axis=0), lambda x, i: x[i],
                 lambda a, i: a),
    "slice_update": Kind("nni", "n", "slice_update",
                         lambda x, y, i: nt.slice_update(x, y[:2], i[0]), _update,
                         lambda a, b, i: max(a, b)),
    "set_row": Kind("nr", "n", "strided_update", lambda x, r: x.at[1].set(r), _set_row),
    "scatter": Kind("nin", "n", "scatter", lambda x, i, y: x.at[i].add(y), _scatter,
                    lambda a, i, b: a + N * b),
    "join": Kind("nn", "n", "concatenate", lambda x, y: nt.concatenate([x[:2], y[2:]]),
                 lambda x, y: np.concatenate([x[:2], y[2:]])),
    "host_call": Kind("nn", "n", "host_call",
                      lambda x, y: nt.host_call(lambda a, b: a - 2 * b, (N, N), x.dtype, x, y),
                      lambda x, y: x - 2 * y, lambda a, b: a + 2 * b),
}  # fmt: skip


def unit_of(kind) -> str | None:
    """The op of the unit that a failure of the default device strikes in a step of this kind.

    A host call runs on the CPU; elsewhere the unit is the copy of its result.
    """
    if kind == "host_call" and nt.default_device().kind != "cpu":
        return "copy"
    return KINDS[kind].unit


# Steps that fail by themselves; built with their number, so that a report tells which one it was.
FAILING = {"host_error": "nn", "bad_take": "ni"}
VIEWS = frozenset(name for name, kind in KINDS.items() if kind.unit is None)


@dataclasses.dataclass(frozen=True)
class Step:
    """One operation of a program: its kind, the steps it reads, and its stream."""

    kind: str
    inputs: tuple[int, ...]
    stream: int

    @property
    def fails(self) -> bool:
        """Whether it fails by itself."""
        return self.kind in FAILING

    @property
    def runs(self) -> bool:
        """Whether it is a unit of work (leaves and views aren't)."""
        return self.kind not in VIEWS and self.kind != "leaf"


@dataclasses.dataclass(frozen=True)
class Program:
    """A graph: the dtype of its matrices, its leaves, and its steps, which begin with these."""

    dtype: str
    leaves: tuple[tuple[int, ...], ...]
    steps: tuple[Step, ...]
    streams: int

    def values(self) -> list[np.ndarray | None]:
        """What NumPy makes of each step; None where it or an ancestor fails by itself."""
        found = []
        for number, step in enumerate(self.steps):
            inputs = [found[i] for i in step.inputs]
            if step.kind == "leaf":
                found.append(self.leaf(number))
            elif step.fails or any(value is None for value in inputs):
                found.append(None)
            else:
                found.append(np.asarray(KINDS[step.kind].model(*inputs)))
        return found

    def leaf(self, number: int) -> np.ndarray:
        """The value of a leaf."""
        return np.array(self.leaves[number], self.dtype).reshape(N, N)

    def build(self, streams) -> list[nt.Array]:
        """The array of each step, unevaluated."""
        built = []
        for number, step in enumerate(self.steps):
            with streams[step.stream]:
                built.append(self._make(number, step, [built[i] for i in step.inputs]))
        return built

    def _make(self, number, step, inputs):
        if step.kind == "leaf":
            return nt.asarray(self.leaf(number))
        if step.kind == "host_error":

            def fail(*arrays):
                raise Boom(number)

            return nt.host_call(fail, (N, N), inputs[0].dtype, *inputs)
        if step.kind == "bad_take":
            return nt.take(inputs[0], inputs[1] + N * (number + 1), axis=0)
        return KINDS[step.kind].make(*inputs)

    def descendants(self, number: int) -> set[int]:
        """The steps that depend on a step, and itself."""
        found = {number}
        for later in range(number + 1, len(self.steps)):
            if found & set(self.steps[later].inputs):
                found.add(later)
        return found

    def roots(self) -> list[frozenset[int]]:
        """Of each step the failing ones that spoil it; one with spoilt inputs never runs."""
        found = []
        for number, step in enumerate(self.steps):
            inherited = frozenset().union(*[found[i] for i in step.inputs])
            found.append(frozenset({number}) if step.fails and not inherited else inherited)
        return found


def failing_step(error: nt.DeviceError) -> int:
    """The step that failed by itself, from its exception."""
    if error.report.code == "host_callback":
        assert isinstance(error.__cause__, Boom)
        return error.__cause__.args[0]
    assert error.report.code == "index_out_of_range"
    index, axis, size = error.report.args[:3]
    assert (axis, size) == (0, N)
    return index // N - 1


@st.composite
def programs(draw, failing=False, min_steps=4, max_steps=20, streams=3):
    """Draw a program; with `failing`, some of its steps fail by themselves."""
    dtype = draw(st.sampled_from(dtypes_of(nt.default_device(), DTYPES)))
    leaves = draw(st.lists(st.tuples(*[st.integers(-9, 9)] * (N * N)), min_size=1, max_size=3))
    used = draw(st.integers(1, streams))
    stream = st.integers(0, used - 1)
    steps = [Step("leaf", (), 0) for _ in leaves]
    gives = ["n"] * len(leaves)
    bounds = [9] * len(leaves)
    for _ in range(draw(st.integers(min_steps, max_steps))):
        letters = set(gives)
        names = [name for name, kind in KINDS.items() if set(kind.takes) <= letters]
        if failing:
            # Often enough that several meet.
            names += 2 * [name for name, takes in FAILING.items() if set(takes) <= letters]
        name = draw(st.sampled_from(names))
        kind = KINDS.get(name)
        takes = FAILING[name] if kind is None else kind.takes
        inputs = []
        for letter in takes:
            fitting = [i for i, each in enumerate(gives) if each == letter]
            # Towards the last ones, so that graphs grow deep.
            inputs.append(fitting[-1 - min(draw(st.integers(0, 5)), len(fitting) - 1)])
        bound = 9 if kind is None else kind.bound(*[bounds[i] for i in inputs])
        if bound >= EXACT[dtype]:
            # One of the inputs is reduced instead.
            widest = max((i for i in inputs if gives[i] == "n"), key=bounds.__getitem__, default=0)
            name, kind, inputs, bound = "wrap", KINDS["wrap"], [widest], WRAP
        steps.append(Step(name, tuple(inputs), draw(stream)))
        gives.append("n" if kind is None else kind.gives)
        bounds.append(bound)
    return Program(dtype, tuple(leaves), tuple(steps), used)


# How many operations may become one.
FUSION = st.sampled_from([1, 2, 3, 1000])


@contextlib.contextmanager
def fusion(limit):
    """Have programs of at most so many operations; 1: each is a unit of its own."""
    before = _runtime.set_fusion_limit(limit)
    try:
        yield
    finally:
        _runtime.set_fusion_limit(before)


def assert_value(array, expected):
    """An array has exactly the value that the model says."""
    found = np.asarray(array)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def reports_of(array) -> tuple:
    """The reports that reading an array raises; none if it is healthy."""
    try:
        np.asarray(array)
    except nt.DeviceError as error:
        return error.reports
    return ()


def errors_of(array) -> list[nt.DeviceError]:
    """The errors that reading an array raises, one a root; none if it is healthy."""
    try:
        np.asarray(array)
    except nt.DeviceErrorGroup as error:
        return list(error.exceptions)
    except nt.DeviceError as error:
        return [error]
    return []
