"""Aids to find a mistake, at a cost: where arrays were made, and which updates had to copy."""

import warnings
from contextvars import Token
from typing import Self

from nitinol import _debug

__all__ = ["debug", "set_debug"]


class debug:
    """Turn debugging aids on for a block, in this thread or asyncio task.

    They concern the arrays made inside, wherever these are computed and read. Threads and executors
    don't inherit them: `set_debug` is for a whole process. While an aid is off it costs nothing.

    Parameters
    ----------
    traceback : bool, optional
        Have the report of a failure name the line of your program that made each of its arrays:
        ``report.arrays[i].source``, and the last sentence of the message. As outside the block if
        not given. Costs less than a microsecond an operation.
    donations : bool, optional
        Issue a `DonationWarning` when an update (``x.at[...]``, `slice_update`, ``x[...] = v``)
        copies an array whose memory it might have taken over, and say why. It is issued by whoever
        waits for work next, for the line that made the update.

    Examples
    --------
    >>> import nitinol as nt
    >>> with nt.debug(traceback=True):
    ...     x = nt.linalg.inv(nt.zeros((2, 2)))
    >>> error = nt.async_eval(x).exception()  # ... Made at train.py:2 in <module>.
    """

    def __init__(self, *, traceback: bool | None = None, donations: bool | None = None):
        _check(traceback, donations)
        self._given = traceback, donations
        self._tokens: list[Token[int]] = []
        self._entered = False

    def __enter__(self) -> Self:
        """Turn them on, or off."""
        self._entered = True
        self._tokens.append(_debug.enter(*_merged(self._given, _debug.options())))
        return self

    def __exit__(self, *exc: object) -> None:
        """Go back to what was on before."""
        _debug.leave(self._tokens.pop())

    def __del__(self) -> None:
        """Say so when it was a mistake for `set_debug`."""
        if not getattr(self, "_entered", True):
            warnings.warn(
                "nitinol.debug(...) was never entered: write 'with nitinol.debug(...):', or call "
                "nitinol.set_debug(...) for the whole process.",
                RuntimeWarning,
                stacklevel=2,
            )


def set_debug(*, traceback: bool | None = None, donations: bool | None = None) -> None:
    """Turn debugging aids on or off in the whole process, but where a `debug` block says otherwise.

    Parameters
    ----------
    traceback, donations : bool, optional
        As in `debug`; left as it is if not given.
    """
    _check(traceback, donations)
    _debug.set_everywhere(*_merged((traceback, donations), _debug.everywhere()))


def _check(traceback: object, donations: object) -> None:
    for name, value in (("traceback", traceback), ("donations", donations)):
        if value is not None and not isinstance(value, bool):
            raise TypeError(f"{name} is True, False or None, not {value!r}.")


def _merged(given: tuple[bool | None, bool | None], before: tuple[bool, bool]) -> tuple[bool, bool]:
    traceback, donations = given
    return (
        before[0] if traceback is None else traceback,
        before[1] if donations is None else donations,
    )
