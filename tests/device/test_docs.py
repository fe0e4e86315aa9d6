"""The Python examples of the documentation run on every device, and print what they say."""

import pathlib
import re

import pytest

import nitinol as nt
from nitinol import errors
from processes import succeed

ROOT = pathlib.Path(__file__).parents[2]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").iterdir())]
}
BLOCK = re.compile(r"^```python\n(.*?)^```(?:\n\n```text\n(.*?)^```)?", re.DOTALL | re.MULTILINE)
# A block that opens with a docstring is a whole program: it runs in a process of its own.
EXAMPLES = [
    pytest.param(page, code, output, id=f"{page}-{number}")
    for page, text in PAGES.items()
    for number, (code, output) in enumerate(BLOCK.findall(text))
    if not code.startswith('"""')
]
RECIPES = [
    pytest.param(code, output, id=re.search(r"^### (.*)$", section, re.MULTILINE)[1])
    for section in re.split(r"^(?=### )", PAGES["docs/errors.md"], flags=re.MULTILINE)
    for code, output in BLOCK.findall(section)
    if code.startswith('"""')
]
# As `python program.py DEVICE`, with that device as the default one.
PROGRAM = """
import __main__
program, device = sys.argv[1:]
sys.argv = [program, device]
nt.set_default_device(device)
__main__.__file__ = program  # where multiprocessing looks for it
exec(compile(open(program, encoding="utf-8").read(), program, "exec"))
"""


@pytest.fixture(params=nt.devices(), ids=str)
def device(request):
    """Each device in turn is the default one, and healthy, whatever tests injected before."""
    before = nt.default_device()
    nt.set_default_device(request.param)
    for step in range(8):
        nt.eval(nt.ones(3) + step)
    assert request.param.state == "ok"
    yield request.param
    nt.set_default_device(before)


@pytest.mark.parametrize(("page", "code", "output"), EXAMPLES)
def test_example(device, page, code, output, capsys):
    """It prints the comments behind its prints ('...' is any end), or the next block."""
    if page == "docs/metal.md" and device.kind != "metal":
        pytest.skip("An example for the Metal device.")
    header = "" if "import nitinol" in code else "import nitinol as nt\n"
    exec(compile(header + code, page, "exec"), {"__name__": "__main__"})
    expected = re.findall(r"^ *print\(.*\)  # (.*)$", code, re.MULTILINE)
    expected += output.splitlines()
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == len(expected)
    for line, told in zip(printed, expected, strict=True):
        assert line == told or (told.endswith("...") and line.startswith(told[:-3]))


@pytest.mark.parametrize(("code", "output"), RECIPES)
def test_recipe(device, code, output, tmp_path):
    """A program that a reader may copy says what the page says, and nothing else."""
    program = tmp_path / "program.py"
    program.write_text(code, encoding="utf-8")
    assert output
    assert "NITINOL_FAULTS" in code or "nt.testing.inject" in code
    assert succeed(PROGRAM, program, device.name) == output


def test_the_recipes_are_there():
    """Those that issue a promise to whoever runs a server."""
    assert [each.id for each in RECIPES] == [
        "The request loop of an inference server",
        "asyncio",
        "Replacing poisoned weights",
        "Restart policy",
    ]


def test_no_code_escapes():
    """Every block is one that runs, or the output of one."""
    for page, text in PAGES.items():
        assert set(re.findall(r"^```(\w*)$", BLOCK.sub("", text), re.MULTILINE)) == set(), page


def test_planned_failures_are_understood():
    """What the pages give as NITINOL_FAULTS."""
    found = [each for text in PAGES.values() for each in re.findall(r'FAULTS="([^"]+)"', text)]
    assert found
    for text in found:
        for planned in nt.testing.inject_from(text):
            planned.__exit__()


def test_the_table_of_codes_is_whole():
    """Each code once, with its class, and with what to do."""
    page = PAGES["docs/errors.md"]
    rows = re.findall(r"^\| (`[a-z_]+`.*?) \| `(\w+)` \| (.+?) \| (.+?) \|$", page, re.MULTILINE)
    found = {code: name for codes, name, *_ in rows for code in re.findall(r"`(\w+)`", codes)}
    assert found == {code: errors.exception_class(code).__name__ for code in errors.CODES}
