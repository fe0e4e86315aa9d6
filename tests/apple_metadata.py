"""What Apple's Metal declares, and what our Metal sources use, both read from text.

The wheel of pyobjc-framework-Metal, which is published for macOS but can be read anywhere,
describes Apple's enumerations, constants, functions and methods.
"""

import ast
import pathlib
import re
import subprocess
import sys
import types
import zipfile

REQUIREMENT = "pyobjc-framework-Metal==12.2.2"
PLATFORM = ["--platform", "macosx_11_0_universal2", "--python-version", "3.11"]

# Encodings of the types in our declarations; every enumeration is Q or q by its underlying type.
ENCODINGS = {
    "void": "v",
    "BOOL": "Z",
    "NSUInteger": "Q",
    "NSInteger": "q",
    "uint64_t": "Q",
    "CFTimeInterval": "d",
    "NSRange": "{_NSRange=QQ}",
    "MTLSize": "{_MTLSize=QQQ}",
    "MTLOrigin": "{_MTLOrigin=QQQ}",
    "uint8_t": "C",
}
QUALIFIERS = r"\b(nullable|nonnull|const|_Nullable|_Nonnull|__unsafe_unretained|NS_NOESCAPE)\b"


def download(folder: pathlib.Path) -> pathlib.Path:
    """Return the path of the wheel in ``folder``, which is fetched when it is not there.

    Raises
    ------
    OSError
        If the package index could not be reached, or does not have it.
    """
    wheels = list(folder.glob("pyobjc_framework_[mM]etal-*.whl"))
    if not wheels:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--only-binary=:all:", *PLATFORM, "--dest", str(folder), REQUIREMENT]
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode != 0:
            raise OSError(run.stderr.strip().splitlines()[-1] if run.stderr else "pip failed")
        wheels = list(folder.glob("pyobjc_framework_[mM]etal-*.whl"))
    return wheels[0]


class Metadata:
    """Apple's declarations.

    Attributes
    ----------
    enums : dict of str to int
        Every enumerator and its value.
    names : set of str
        Constants and functions.
    methods : dict of str to list of dict
        By selector, what is known of the methods of that name.
    classes : set of str
        Classes that are described.
    """

    def __init__(self, wheel: pathlib.Path):
        with zipfile.ZipFile(wheel) as archive:
            source = archive.read("Metal/_metadata.py").decode()
        self.methods: dict[str, list[dict]] = {}
        self.classes: set[str] = set()
        space = self._run(source)
        self.enums = {}
        for item in space["enums"].split("$"):
            name, _, value = item.partition("@")
            if value:
                self.enums[name] = int(value)
        for name, value in space["misc"].items():
            if isinstance(value, int):
                self.enums[name] = value
        constants = re.findall(r"\w+", space["constants"])
        self.names = {*constants, *space["functions"]}

    def _run(self, source: str) -> dict:
        """Run the file, which fills dictionaries and calls ``objc.registerMetaDataForSelector``."""

        def register(owner, selector, description):
            self.classes.add(owner.decode())
            self.methods.setdefault(selector.decode(), []).append(description)

        objc = types.SimpleNamespace(
            arch="arm64",
            registerMetaDataForSelector=register,
            _updatingMetadata=lambda _: None,
            createStructType=lambda *_: None,
            registerCFSignature=lambda *_: None,
            registerNewKeywordsFromSelector=lambda *_: None,
        )
        space: dict = {"__name__": "metadata"}
        before = sys.modules.get("objc")
        sys.modules["objc"] = objc  # type: ignore[assignment] (a namespace will do)
        try:
            exec(compile(ast.parse(source), "Metal/_metadata.py", "exec"), space)
        finally:
            if before is None:
                del sys.modules["objc"]
            else:
                sys.modules["objc"] = before
        return space


def without_comments(text: str) -> str:
    """Return the text with comments and the contents of string literals blanked."""
    pattern = r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"'
    return re.sub(
        pattern, lambda m: '""' if m.group().startswith('"') else " ", text, flags=re.DOTALL
    )


def declared_enums(text: str) -> dict[str, int]:
    """Return the enumerators that headers give a value, and the values."""
    found = {}
    for body in re.findall(r"NS_(?:ENUM|OPTIONS)\([^)]*\)\s*\{(.*?)\}", text, re.DOTALL):
        for name, value in re.findall(r"(\w+)\s*=\s*([^,]+)", body):
            number = value.strip()
            assert re.fullmatch(r"[\dxa-fULul<>+|() -]+", number), f"{name} = {number}"
            found[name] = eval(re.sub(r"(?<=\d)[ULul]+", "", number))
    return found


def enum_types(text: str) -> dict[str, str]:
    """Return the encoding of each declared enumeration type."""
    declared = re.findall(r"NS_(?:ENUM|OPTIONS)\(\s*(\w+)\s*,\s*(\w+)\s*\)", text)
    return {name: ENCODINGS[underlying] for underlying, name in declared}


def exported_names(text: str) -> set[str]:
    """Return the constants and functions that headers declare as exported."""
    return set(re.findall(r"FOUNDATION_EXPORT[^;]*?\b(MTL\w+)\s*(?:\([^;]*\)\s*\w*\s*)?;", text))


def encode(declared: str, types_of_enums: dict[str, str], blocks: set[str]) -> str:
    """Return the encoding of a type as Apple's metadata writes it."""
    text = re.sub(QUALIFIERS, "", declared)
    text = re.sub(r"<[^<>]*(?:<[^<>]*>)?[^<>]*>", "", text).strip()
    if text in blocks or "^" in text:
        return "@?"
    if text == "id" or re.fullmatch(r"(NS|MTL)\w+\s*\*", text) or text == "instancetype":
        return "@"
    if text.endswith(("*", "]")):
        return "^"  # a pointer: what it points to is not compared
    return types_of_enums.get(text) or ENCODINGS[text]


def declared_methods(text: str) -> list[tuple[str, str, list[str]]]:
    """Return (selector, type of the result, types of the arguments) of each declaration."""
    found = []
    for match in re.finditer(r"^[-+]\s*(\(.*?);", text, re.MULTILINE | re.DOTALL):
        parts = _parse_method(match.group(1))
        if parts:
            found.append(parts)
    for attributes, body in re.findall(
        r"^@property\s*(?:\(([^)]*)\))?\s*([^;]*);", text, re.MULTILINE | re.DOTALL
    ):
        name = re.search(r"(\w+)\s*$", body).group(1)
        kind = body[: body.rfind(name)].strip()
        getter = re.search(r"getter=(\w+)", attributes)
        found.append((getter.group(1) if getter else name, kind, []))
        if "readonly" not in attributes:
            found.append((f"set{name[0].upper()}{name[1:]}:", "void", [kind]))
    return found


def _closing(text: str, at: int) -> int:
    """Return the place of the parenthesis or bracket that closes the one at ``at``."""
    depth = 0
    for i in range(at, len(text)):
        depth += text[i] in "([{"
        depth -= text[i] in ")]}"
        if depth == 0:
            return i
    raise ValueError(f"Nothing closes {text[at : at + 40]!r}.")


def _parse_method(text: str) -> tuple[str, str, list[str]] | None:
    end = _closing(text, 0)
    result, rest = text[1:end], text[end + 1 :]
    selector, arguments = "", []
    at = 0
    while match := re.compile(r"\s*(\w*)\s*:\s*\(").match(rest, at):
        selector += match.group(1) + ":"
        close = _closing(rest, match.end() - 1)
        arguments.append(rest[match.end() : close].strip())
        at = re.compile(r"\s*\w+").match(rest, close + 1).end()
    if not arguments:
        selector = re.match(r"\s*(\w+)", rest).group(1)
    return selector, result.strip(), arguments


def sent_selectors(text: str) -> set[str]:
    """Return the selectors of the messages that Objective-C++ code sends."""
    found: set[str] = set()
    for match in re.finditer(r"\[", text):
        before = text[: match.start()].rstrip()[-1:]
        try:
            body = text[match.start() + 1 : _closing(text, match.start())]
        except ValueError:
            continue
        # A subscript or a lambda's captures are no message.
        if before and (before.isalnum() or before in "_]>"):
            continue
        selector = _selector(body.strip())
        if selector:
            found.add(selector)
    return found


def _selector(body: str) -> str | None:
    """Return the selector of ``receiver name`` or ``receiver name:... name:...``."""
    flat, at = "", 0  # the top level of the message, nested brackets replaced by a word
    while at < len(body):
        if body[at] in "([{":
            close = _closing(body, at)
            flat += "(x)" if body[at] == "(" else " x "
            at = close + 1
        else:
            flat += body[at]
            at += 1
    flat = re.sub(r"\w*::|\?[^:\]]*:", lambda m: "" if m.group().endswith("::") else " ", flat)
    flat = re.sub(r"(\w)\(x\)", r"\1", flat)  # a call is part of the word before it
    flat = re.sub(r"\(x\)(?=\s*\w)", "", flat)  # a cast is not
    flat = re.sub(r"\s*(->|\.)\s*", "_", flat).strip()
    match = re.match(r"\(?\*?[\w]+\)?\s+(\w+)\s*(:?)", flat)
    if not match:
        return None
    if not match.group(2):
        return match.group(1) if match.end() == len(flat) else None
    return "".join(name + ":" for name in re.findall(r"(\w*)\s*:", flat))
