"""The Cython modules import one way, so that each can be read knowing only those before it."""

import graphlib
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "pkg" / "nitinol"
# At the top level only: what a function imports when it is called may come later.
IMPORT = re.compile(r"^from nitinol(?:\.(\w+))? c?import (.*)$", re.MULTILINE)


def imported_by(path):
    names = set()
    for module, listed in IMPORT.findall(path.read_text()):
        names |= {module} if module else set(re.findall(r"\w+", listed))
    return names


def rooms():
    return {path.stem: imported_by(path) for path in PACKAGE.glob("_*.pyx")}


def test_the_imports_are_found():
    assert imported_by(PACKAGE / "_array.pyx") >= {"_native", "_graph", "_wait", "_methods"}


def test_no_cython_module_imports_one_that_imports_it():
    within = {name: imports & rooms().keys() for name, imports in rooms().items()}
    try:
        order = list(graphlib.TopologicalSorter(within).static_order())
    except graphlib.CycleError as error:
        pytest.fail("These import each other in a circle: " + " -> ".join(error.args[1]))
    assert order.index("_graph") < order.index("_array") < order.index("_operations")


def test_architecture_lists_every_cython_module_after_those_that_it_imports():
    text = (PACKAGE.parents[1] / "docs" / "architecture.md").read_text()
    table = text.split("The rooms of the Cython layer")[1].split("\n\n")[1]
    listed = [
        name for row in table.splitlines()[2:] for name in re.findall(r"`(_\w+)", row.split("|")[1])
    ]
    assert sorted(set(listed) - {"_native"}) == sorted(rooms())
    for name, imports in rooms().items():
        for other in imports & rooms().keys():
            assert listed.index(other) < listed.index(name), f"{name} imports {other}"
