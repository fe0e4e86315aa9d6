"""Refuses in Metal kernels what Apple's compiler would: the emulator's is a C++ compiler and lets
much more pass.

See the Metal Shading Language Specification, sections 1.5 (restrictions) and 4 (address spaces).
"""

import re

ADDRESS_SPACES = {"device", "constant", "thread", "threadgroup", "threadgroup_imageblock"}
SCALAR = r"(?:bool|u?char|u?short|u?int|u?long|half|float|size_t|ptrdiff_t|u?int(?:8|16|32|64)_t)"
BUILTIN_TYPE = re.compile(
    rf"(?:packed_)?{SCALAR}[234]?|(?:half|float)[234]x[234]|vec|atomic_\w+|atomic"
    r"|simdgroup_\w+|auto|void"
)
FORBIDDEN = {
    r"\bdouble\w*\b": "MSL has no double",
    r"\blong\s+long\b": "MSL has no long long",
    r"\bstd\s*::": "MSL has no std",
    r"\b(?:new|delete)\b": "MSL has no dynamic memory",
    r"\b(?:throw|try|catch)\b": "MSL has no exceptions",
    r"\b(?:virtual|dynamic_cast|typeid)\b": "MSL has no dynamic types",
    r"\bgoto\b": "MSL has no goto",
    r"\basm\b|__asm": "MSL has no assembly",
    r"\b(?:thread_local|static)\s+(?!constexpr|constant|inline|assert)\w": "MSL has no static "
    "variables",
    r"\b(?:printf|malloc|free|memcpy|memset|assert)\s*\(": "MSL has no C library",
    r"\[[&=]\]|\[[&=]?\w*\]\s*\(": "MSL has no lambdas",
    r"\(\s*\*\s*\w+\s*\)\s*\(": "MSL has no function pointers",
    r"\batomic_u?long\b|\batomic<u?long>": "Apple7 has no 64-bit atomics",
    r"\b__attribute__|\b__builtin_\w+": "compilers' own extensions are not MSL",
    r"\bextern\b": "a library has no other parts",
}
INCLUDES = {"metal_stdlib", "metal_simdgroup_matrix", "metal_simdgroup", "metal_atomic"}


def strip(text: str) -> str:
    """Return the text with comments blanked, of the same length line by line."""
    return re.sub(
        r"//[^\n]*|/\*.*?\*/",
        lambda m: re.sub(r"[^\n]", " ", m.group()),
        text,
        flags=re.DOTALL,
    )


def check(text: str) -> list[str]:
    """Return what is wrong with a kernel's text, each with its line number.

    Parameters
    ----------
    text : str
        The whole text that the compiler sees, or one file of it.
    """
    code = strip(text)
    found = []
    for pattern, reason in FORBIDDEN.items():
        for match in re.finditer(pattern, code):
            if match.group().startswith("[") and "[[" in code[match.start() - 1 : match.end() + 1]:
                continue  # an attribute
            found.append(_at(code, match.start(), f"{reason}: {match.group().strip()!r}"))
    for match in re.finditer(r"#\s*(?:include|import)\s*[<\"]([^>\"]*)", code):
        if match.group(1) not in INCLUDES:
            found.append(_at(code, match.start(), f"no such header: {match.group(1)!r}"))
    # Directives are no code, and a type in them is not used.
    plain = re.sub(r"^\s*#[^\n]*(?:\\\n[^\n]*)*", "", code, flags=re.MULTILINE)
    found += _without_address_space(plain)
    found += _recursion(plain)
    return found


def _at(code: str, position: int, problem: str) -> str:
    return f"line {code.count(chr(10), 0, position) + 1}: {problem}"


def _types(code: str) -> set[str]:
    """Return the words that name types here: structs, aliases, parameters and macros."""
    names = set(re.findall(r"\b(?:struct|union|enum(?: class)?)\s+(\w+)", code))
    names |= set(re.findall(r"\btypedef\s+[^;]*?(\w+)\s*;", code))
    names |= set(re.findall(r"\busing\s+(\w+)\s*=", code))
    names |= set(re.findall(r"\b(?:typename|class)\s+(\w+)", code))
    # Macros that stand for types show themselves behind an address space.
    spaces = "|".join(ADDRESS_SPACES)
    names |= set(re.findall(rf"\b(?:{spaces})\s+(?:const\s+)?([A-Z]\w*)\b", code))
    return names


def _without_address_space(code: str) -> list[str]:
    """Pointers and references must say where what they refer to lies."""
    types = _types(code)
    found = []
    declarator = re.compile(
        r"(?P<before>(?:\b[A-Za-z_]\w*\s+)*)(?P<type>\b[A-Za-z_]\w*)(?:<[^<>;(){}]*>)?\s*(?:const\s*)?"
        r"(?P<operator>[*&])\s*(?:const\b|restrict\b|__restrict\b|\s)*(?P<name>[A-Za-z_]\w*)?"
        r"\s*(?=[,)=;\[:]|$)"
    )
    for match in declarator.finditer(code):
        word = match.group("type")
        if not (BUILTIN_TYPE.fullmatch(word) or word in types):
            continue
        words = match.group("before").split()
        if "return" in words or "operator" in words:
            continue
        if not ADDRESS_SPACES & set(words):
            found.append(_at(code, match.start(), f"no address space: {match.group().strip()!r}"))
    return found


def _functions(code: str) -> list[tuple[str, str]]:
    """Return the name and the body of each function, in order."""
    found = []
    words = {"if", "for", "while", "switch", "return", "sizeof", "defined", "else", "do"}
    for match in re.finditer(r"\b([A-Za-z_]\w*)\s*\(", code):
        if match.group(1) in words:
            continue
        end = _close(code, match.end() - 1)
        rest = re.compile(r"\s*(?:const\s*)?\{").match(code, end + 1)
        if rest:
            last = _close(code, rest.end() - 1)
            found.append((match.group(1), code[rest.end() : last]))
    return found


def _close(code: str, at: int) -> int:
    """Return the place of what closes the bracket at ``at``; the end where nothing does."""
    opening = code[at]
    closing = {"(": ")", "{": "}"}[opening]
    depth = 0
    for i in range(at, len(code)):
        if code[i] == opening:
            depth += 1
        elif code[i] == closing:
            depth -= 1
            if depth == 0:
                return i
    return len(code)


def _recursion(code: str) -> list[str]:
    """Functions may not call themselves, through others neither.

    A call of its own name in a function is one of an overload where one stands before it.
    """
    functions = _functions(code)
    numbers: dict[str, list[int]] = {}
    for number, (name, _) in enumerate(functions):
        numbers.setdefault(name, []).append(number)
    calls: list[set[int]] = []
    for number, (name, body) in enumerate(functions):
        reached: set[int] = set()
        for called in re.findall(r"\b(\w+)\s*\(", body):
            candidates = numbers.get(called, [])
            before = [other for other in candidates if other < number]
            reached.update(before if called == name and before else candidates)
        calls.append(reached)
    found = []
    for number, (name, _) in enumerate(functions):
        seen: set[int] = set()
        waiting = list(calls[number])
        while waiting:
            called = waiting.pop()
            if called == number:
                found.append(f"recursion: {name}")
                break
            if called not in seen:
                seen.add(called)
                waiting += calls[called]
    return found
