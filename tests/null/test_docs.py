"""The Python examples of the documentation run, and print what their comments say."""

import pathlib
import re

import pytest

import nitinol as nt
from nitinol import errors

ROOT = pathlib.Path(__file__).parents[2]
BLOCKS = [
    pytest.param(page, block, id=f"{page}-{number}")
    for page in ("README.md", "docs/errors.md")
    for number, block in enumerate(
        re.findall(
            r"```python\n.*?```(?:\n\n```text\n.*?```)?",
            (ROOT / page).read_text(encoding="utf-8"),
            re.DOTALL,
        )
    )
]


@pytest.fixture(autouse=True)
def healthy():
    """The device is as in a new process, whatever tests injected before."""
    for step in range(8):
        nt.eval(nt.ones(3) + step)
    assert nt.Device("cpu").state == "ok"


@pytest.mark.parametrize(("page", "block"), BLOCKS)
def test_example(page, block, capsys):
    """Run a block; it prints the comments behind its prints, or the text in the next block."""
    block, *output = re.findall(r"```(?:python|text)\n(.*?)```", block, re.DOTALL)
    header = "" if "import nitinol" in block else "import nitinol as nt\n"
    exec(compile(header + block, page, "exec"), {"__name__": "__main__"})
    expected = re.findall(r"^ *print\(.*\)  # (.*)$", block, re.MULTILINE)
    expected += "".join(output).splitlines()
    assert capsys.readouterr().out.splitlines() == expected


def test_the_table_of_codes_is_whole():
    """Each code once, with its class, and with what to do."""
    page = (ROOT / "docs/errors.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[a-z_]+`.*?) \| `(\w+)` \| (.+?) \| (.+?) \|$", page, re.MULTILINE)
    found = {code: name for codes, name, *_ in rows for code in re.findall(r"`(\w+)`", codes)}
    assert found == {code: errors.exception_class(code).__name__ for code in errors.CODES}
