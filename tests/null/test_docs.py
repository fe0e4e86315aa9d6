"""The Python examples of the documentation run, and print what their comments say."""

import pathlib
import re

import pytest

from nitinol import errors

ROOT = pathlib.Path(__file__).parents[2]
BLOCKS = [
    pytest.param(page, block, id=f"{page}-{number}")
    for page in ("README.md", "docs/errors.md")
    for number, block in enumerate(
        re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    )
]


@pytest.mark.parametrize(("page", "block"), BLOCKS)
def test_example(page, block, capsys):
    """Run a block; each print with a comment behind it must print that comment."""
    header = "" if "import nitinol" in block else "import nitinol as nt\n"
    exec(compile(header + block, page, "exec"), {"__name__": "__main__"})
    expected = re.findall(r"^ *print\(.*\)  # (.*)$", block, re.MULTILINE)
    assert capsys.readouterr().out.splitlines() == expected


def test_the_table_of_codes_is_whole():
    """Each code once, with its class, and with what to do."""
    page = (ROOT / "docs/errors.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[a-z_]+`.*?) \| `(\w+)` \| (.+?) \| (.+?) \|$", page, re.MULTILINE)
    found = {code: name for codes, name, *_ in rows for code in re.findall(r"`(\w+)`", codes)}
    assert found == {code: errors.exception_class(code).__name__ for code in errors.CODES}
