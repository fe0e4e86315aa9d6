"""Debugging: the lines of the user's program that nodes come from, and donations refused."""

import contextvars
import sys
import warnings

from libcpp.vector cimport vector

from nitinol cimport _native as native

from nitinol.errors import DonationWarning, SourceLine

cdef int TRACEBACK = 1
cdef int DONATIONS = 2

# What is on where nobody has entered anything, and, in a context, what was entered there.
cdef int _everywhere = 0
cdef object _current = contextvars.ContextVar("nitinol_debug", default=None)
cdef int _entered = 0  # how often, and not left yet
# Whether anybody debugs: all that a new array looks at.
cdef bint watching = False

# By file, function and line. Lines live as long as the process, for reports point to them.
cdef dict _lines = {}


cdef int mode() except -1:
    if _entered:
        entered = _current.get()
        if entered is not None:
            return entered
    return _everywhere


def options():
    """Return what is on in this context: traceback, donations."""
    cdef int now = mode()
    return now & TRACEBACK != 0, now & DONATIONS != 0


def everywhere():
    """Return the same where nobody has entered anything."""
    return _everywhere & TRACEBACK != 0, _everywhere & DONATIONS != 0


def set_everywhere(traceback, donations):
    """Turn both on or off where nobody has entered anything."""
    global _everywhere, watching
    _everywhere = (TRACEBACK if traceback else 0) | (DONATIONS if donations else 0)
    watching = _entered > 0 or _everywhere != 0


def enter(traceback, donations):
    """Turn both on or off in this context; return what brings back how they were."""
    global _entered, watching
    _entered += 1
    watching = True
    return _current.set((TRACEBACK if traceback else 0) | (DONATIONS if donations else 0))


def leave(token):
    """Bring back what was on before."""
    global _entered, watching
    _current.reset(token)
    _entered -= 1
    watching = _entered > 0 or _everywhere != 0


cdef const native.SourceLine* line_outside() except? NULL:
    """Return the innermost line that is not nitinol's, or NULL where all are."""
    cdef const native.SourceLine* found
    frame = sys._getframe()
    while frame is not None:
        name = frame.f_globals.get("__name__") or ""
        if name != "nitinol" and not name.startswith("nitinol."):
            break
        frame = frame.f_back
    if frame is None:
        return NULL
    code = frame.f_code
    key = code.co_filename, code.co_qualname, frame.f_lineno or 0
    known = _lines.get(key)
    if known is None:
        found = native.source_line(key[0].encode("utf-8", "surrogateescape"),
                                   key[1].encode("utf-8", "surrogateescape"), key[2])
        known = _lines.setdefault(key, <size_t> found)
    return <const native.SourceLine*> <size_t> known


cdef int trace(native.Node* node) except -1:
    """Note where a new node was made, if this context asks for it."""
    cdef int now = mode()
    if now:
        node.trace(line_outside(), now & DONATIONS != 0)
    return 0


cdef object source_of(const native.SourceLine* source):
    """Return a line as Python has it, or None."""
    if source == NULL:
        return None
    cdef bytes file = source.file
    cdef bytes function = source.function
    return SourceLine(file.decode("utf-8", "surrogateescape"), source.line,
                      function.decode("utf-8", "surrogateescape"))


# Why the memory was not to be had.
cdef dict _reasons = {
    "borrowed": "its memory is not nitinol's own: it was taken over from another library",
    "elsewhere": "its memory is another device's",
    "exported": "a NumPy array, a memoryview or a DLPack capsule that was made of it is alive",
    "part": "it is a view of a part of another array, or in another order",
    "handle": "another array object refers to it as well",
    "view": "a view of it is alive",
    "graph": "an operation that has not run yet reads it",
    "unknown": "something else refers to it; what, is known only of arrays made while "
               "nitinol.debug is on",
    "in_flight": "an operation reads it that the device has not finished",
}


cdef int warn_of_donations() except -1:
    """Issue a warning for each update that had to copy, at the line that it comes from."""
    cdef vector[native.RefusedDonation] found
    cdef size_t i
    if native.forked():
        return 0  # the lock may be held for good
    found = native.take_refused_donations()
    for i in range(found.size()):
        reason = native.refused_name(found[i].reason).decode()
        op = native.info(found[i].op).name.decode()
        made = DonationWarning(
            f"{op} copied {found[i].bytes} bytes instead of writing to the memory of the array "
            f"that it updates, because {_reasons[reason]}.", reason)
        source = source_of(found[i].source)
        if source is None:
            warnings.warn(made, stacklevel=2)
        else:
            warnings.warn_explicit(made, None, source.file, source.line)
    return 0
