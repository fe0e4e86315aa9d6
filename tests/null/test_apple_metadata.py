"""The names, numbers and signatures that the Metal sources rely on are those of Apple's Metal.

Nothing of Apple's is needed to run this: the public metadata in the wheel of
pyobjc-framework-Metal says what Metal declares.
"""

import os
import pathlib
import re

import pytest

import apple_metadata as apple

ROOT = pathlib.Path(__file__).parents[2]
HEADERS = "\n".join(
    apple.without_comments(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "native/metal_emulator/include/Metal").glob("*.h"))
)
FOUNDATION = "\n".join(
    apple.without_comments(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "native/metal_emulator/include/Foundation").glob("*.h"))
)
SOURCES = sorted(
    [*(ROOT / "native/metal").glob("*.mm"), *(ROOT / "native/metal").glob("*.h")],
)

# Setters of classes; the metadata describes the methods of protocols, and of classes those only
# that take or give a BOOL or a block.
OF_CLASSES = {
    "setErrorOptions:",
    "setLanguageVersion:",
    "setMathMode:",
    "setPreprocessorMacros:",
    "languageVersion",
    "mathMode",
    "preprocessorMacros",
}
# Methods of two protocols under one name, of which the metadata describes one: here it is
# MTLIOCommandBuffer's, whose status is signed.
SHARED = {"status"}


@pytest.fixture(scope="module")
def metadata(request):
    """Apple's declarations, from the wheel."""
    folder = request.config.cache.mkdir("pyobjc-framework-Metal")
    try:
        return apple.Metadata(apple.download(folder))
    except OSError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"Apple's metadata could not be downloaded: {error}")


def test_enumerators(metadata):
    """Each enumerator of the emulator's headers has Apple's value."""
    declared = apple.declared_enums(HEADERS)
    assert len(declared) > 60
    assert {name: metadata.enums.get(name) for name in declared} == declared


def test_names(metadata):
    """Each exported constant and function is one of Apple's."""
    declared = apple.exported_names(HEADERS)
    assert {"MTLCreateSystemDefaultDevice", "MTLCommandBufferErrorDomain"} <= declared
    assert declared - metadata.names == set()


def _mismatches(methods, metadata, enums, blocks):
    for selector, result, arguments in methods:
        if selector in OF_CLASSES | SHARED:
            continue
        described = metadata.methods.get(selector)
        if described is None:
            yield f"{selector} is not a method of Metal's"
            continue
        reasons = []
        for description in described:
            reason = _difference(description, result, arguments, enums, blocks)
            reasons.append(reason)
        if all(reasons):
            yield f"{selector}: {reasons[0]}"


def _difference(description, result, arguments, enums, blocks):
    """Return how a declaration differs from Apple's, or None."""
    expected = description.get("retval", {}).get("type")
    own = apple.encode(result, enums, blocks)
    if expected and not _same(own, expected):
        return f"gives {own}, Apple's {expected}"
    for position, described in description.get("arguments", {}).items():
        if position - 2 >= len(arguments):
            return f"has {len(arguments)} arguments, Apple's more"
        own = apple.encode(arguments[position - 2], enums, blocks)
        if "type" in described and not _same(own, described["type"]):
            return f"argument {position - 1} is {own}, Apple's {described['type']}"
    return None


def _same(own, expected):
    if isinstance(expected, bytes):
        expected = expected.decode()
    expected = expected.lstrip("nNorRV")  # in, out, by reference
    if expected == "z":  # how PyObjC calls a char that is a number
        return own in "cC"
    if own == "^":
        return expected[:1] in "^*["
    if own.startswith("{"):
        # The name of the structure may be that of its tag or of its typedef.
        return expected.startswith("{") and own.split("=")[1] == expected.split("=")[-1]
    return own == expected


def test_methods(metadata):
    """Each method and property of the emulator's headers has a selector and types of Apple's."""
    enums = apple.enum_types(HEADERS)
    blocks = set(re.findall(r"typedef\s+\w+\s+\(\^(\w+)\)", HEADERS))
    methods = [
        method
        for method in apple.declared_methods(HEADERS)
        if not re.search(r"copyWithZone|^init|^new$", method[0])
    ]
    assert len(methods) > 60
    assert list(_mismatches(methods, metadata, enums, blocks)) == []


def test_blocks(metadata):
    """The handler of a command buffer takes what Apple's passes: the buffer, and gives nothing."""
    (description,) = metadata.methods["addCompletedHandler:"]
    block = description["arguments"][2]["callable"]
    assert block["retval"]["type"] == b"v"
    assert [block["arguments"][i]["type"] for i in sorted(block["arguments"])] == [b"^v", b"@"]
    typedef = re.search(r"typedef void \(\^MTLCommandBufferHandler\)\(([^)]*)\)", HEADERS)
    assert typedef
    assert re.match(r"id<MTLCommandBuffer>", typedef.group(1))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_sources(metadata, path):
    """The Metal backend names nothing and sends nothing that Apple's headers don't have."""
    text = apple.without_comments(path.read_text(encoding="utf-8"))
    known = {selector for selector, _, _ in apple.declared_methods(FOUNDATION)}
    known |= set(metadata.methods) | OF_CLASSES
    known |= {"alloc", "init", "retain", "release", "autorelease", "drain", "respondsToSelector:"}
    assert apple.sent_selectors(text) - known == set()
    for name in re.findall(r"\bMTL[A-Z]\w*\b", text):
        is_value = name in metadata.enums or name in metadata.names
        is_type = name in metadata.classes or re.search(
            rf"@(?:protocol|interface|class) {name}\b|\b{name}\)?\s*\(?\{{|\}} {name};|{name}\(",
            HEADERS,
        )
        assert is_value or is_type, f"{name} is not in Apple's metadata"


def test_a_wrong_name_is_found(metadata):
    """The checks above see a wrong selector, a wrong number and a wrong type."""
    assert apple.sent_selectors("x = [[queue commandBuffer] commitNow];") == {
        "commandBuffer",
        "commitNow",
    }
    assert apple.sent_selectors("[e setBytes:a(b, c) length:n ? 1 : 2 atIndex:i];") == {
        "setBytes:length:atIndex:"
    }
    assert "commitNow" not in metadata.methods
    wrong = [("newBufferWithLength:options:", "id<MTLBuffer>", ["NSInteger", "NSUInteger"])]
    assert list(_mismatches(wrong, metadata, {}, set()))
    assert apple.declared_enums("NS_ENUM(NSUInteger, A){ B = (3 << 16) + 1, }") == {"B": 196609}
