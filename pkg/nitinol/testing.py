"""Failures on purpose, so that users can test what their programs do about real ones."""

import os

from nitinol import _runtime, errors
from nitinol._device import Device
from nitinol._text import shown

__all__ = ["inject", "inject_from"]

PHASES = ("encode", "commit", "completion")
_LARGEST = 2**63 - 1
_LONGEST_ENTRY = 200  # no device, code and numbers are longer


class inject:
    """Make units of work fail, as a context manager.

    A unit is one kernel or one fused chain of elementwise operations. Only units that start with
    healthy inputs are counted, in the order in which they start. A unit that the device tries again
    by itself, as its `RecoveryPolicy` says, is counted again (on Metal all units of its command
    buffer are): for such a failure to show, there must be enough of them. A device that was lost by
    this injection is there again after the block.

    Parameters
    ----------
    device : Device or str
    code : str
        One of `nitinol.errors.CODES`.
    at : int
        The first unit to fail, counted from 1.
    times : int
        How many units in a row fail.
    phase : {"completion", "encode", "commit"}
        When the failure strikes: while the unit is encoded, when it is committed (it never runs in
        both cases), or after it ran.
    raw : int
        The driver's own number, for the report.

    Attributes
    ----------
    seen, fired : int
        After the block: how many units were counted, and how many of them failed.

    Raises
    ------
    ValueError
        For an unknown code or phase, or numbers below 1.

    Examples
    --------
    >>> import nitinol as nt
    >>> with nt.testing.inject("cpu", "page_fault"):
    ...     try:
    ...         nt.eval(nt.ones(3) + 1)
    ...     except nt.errors.KernelFaultError as error:
    ...         print(error.report.code)
    page_fault
    """

    def __init__(self, device, code, at=1, times=1, phase="completion", raw=0):
        self.device = Device(device)
        if code not in errors.CODES:
            raise ValueError(
                f"{shown(code)} is no failure code; there are: {', '.join(errors.CODES)}."
            )
        if phase not in PHASES:
            raise ValueError(f"{shown(phase)} is no phase; there are: {', '.join(PHASES)}.")
        for name, value, least in (("at", at, 1), ("times", times, 1), ("raw", raw, -_LARGEST)):
            if not isinstance(value, int) or not least <= value <= _LARGEST:
                raise ValueError(
                    f"{name} is an integer from {least} to {_LARGEST}, not {shown(value)}."
                )
        self.code, self.at, self.times, self.phase, self.raw = code, at, times, phase, raw
        self.seen = self.fired = 0
        self._number = None

    def __enter__(self):
        """Start to count."""
        if self._number is not None:
            raise RuntimeError("This injection is already active.")
        self._number = _runtime.add_rule(
            self.device, self.code, self.phase, self.at, self.times, self.raw
        )
        return self

    def __exit__(self, *exc):
        """Stop, and keep the counts."""
        self.seen, self.fired = _runtime.remove_rule(self.device, self._number)
        self._number = None


def inject_from(text):
    """Plan the failures of a string such as ``"cpu:out_of_memory@37,cpu:innocent_victim@80"``.

    Each entry is ``device:code@unit``; ``xN`` behind it makes N units in a row fail, ``/phase``
    chooses the phase: ``cpu:page_fault@3x2/encode``. The environment variable ``NITINOL_FAULTS``
    is read this way when nitinol is imported.

    Parameters
    ----------
    text : str

    Returns
    -------
    list of inject
        Active ones.

    Raises
    ------
    ValueError
        If an entry isn't of this form, naming it.
    """
    planned = [_parse(entry.strip()) for entry in text.split(",")] if text.strip() else []
    for each in planned:
        each.__enter__()
    return planned


def _parse(entry):
    rest, slash, phase = entry.partition("/")
    place, at_sign, numbers = rest.partition("@")
    device, colon, code = place.rpartition(":")
    at, cross, times = numbers.partition("x")
    numbered = at.isdecimal() and (not cross or times.isdecimal())
    if not (at_sign and colon and numbered and len(entry) <= _LONGEST_ENTRY):
        raise ValueError(
            f"{shown(entry)} is no planned failure; 'device:code@unit' is expected, such as "
            "'cpu:out_of_memory@37'."
        )
    try:
        return inject(device, code, int(at), int(times or 1), phase if slash else "completion")
    except ValueError as error:
        raise ValueError(f"{shown(entry)} is no planned failure: {error}") from None


def _from_environment():
    text = os.environ.get("NITINOL_FAULTS", "")
    try:
        return inject_from(text)
    except ValueError as error:
        raise ValueError(f"NITINOL_FAULTS: {error}") from None


#: What ``NITINOL_FAULTS`` asked for.
FROM_ENVIRONMENT = _from_environment()
