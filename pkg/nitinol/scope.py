"""Error scopes: a name and a place for the failures of one request, job or test."""

import contextlib

from nitinol._evaluation import work_in
from nitinol._scope import ScopeHandle
from nitinol.errors import DeviceError

__all__ = ["error_scope"]


def _hurries(error):
    """Tell whether whoever left with this exception has no more time to wait."""
    out_of_time = isinstance(error, TimeoutError) and not isinstance(error, DeviceError)
    return out_of_time or (error is not None and not isinstance(error, Exception))


class error_scope:
    """Collect the failures of the work that is submitted in a block, and of no other.

    As a context manager (``with``, or ``async with`` in a coroutine) the scope owns what is
    submitted while it is the current one: by `eval`, by `async_eval`, by reading a value, wherever
    the arrays were made. Of nested scopes the innermost owns it. Asyncio tasks that are made inside
    inherit the scope, as they do every context variable; threads and executors join it with
    `attach`. Work that is only waited for, or retried elsewhere, belongs to whoever submitted it.

    Leaving the block waits for the scope's work and then raises what nobody has observed. When an
    exception leaves the block, that one goes on, with the failures added to it as notes; when it is
    no `Exception` (a cancelled task, Ctrl-C), or says that time ran out (`WaitTimeoutError` and
    other `TimeoutError`, but for `DeviceTimeoutError`), nothing is waited for.

    Failures of a scope are not raised by `synchronize`. They are still raised by the arrays that
    they spoilt.

    Parameters
    ----------
    name : str
        What reports say (``report.scope``): a request's number, for instance. Need not be unique.
    raise_on_exit : bool
        If False, failures are only collected, for `errors`.

    Raises
    ------
    DeviceError
        On leaving, for one unobserved failure; a `DeviceErrorGroup` for several.

    Examples
    --------
    >>> import nitinol as nt
    >>> with nt.error_scope("req-7", raise_on_exit=False) as scope:
    ...     started = nt.async_eval(nt.take(nt.arange(3), nt.asarray([7])))
    >>> [(report.code, report.scope) for report in scope.errors]
    [('index_out_of_range', 'req-7')]
    """

    def __init__(self, name, raise_on_exit=True):
        if not isinstance(name, str):
            raise TypeError(f"An error scope is named by a str, not by {type(name).__name__}.")
        self._name = name
        self._raise_on_exit = bool(raise_on_exit)
        self._handle = ScopeHandle(name)
        self._entered = False

    @property
    def name(self):
        """What the scope was named."""
        return self._name

    @property
    def errors(self):
        """The reports of all failures so far, oldest first. Reading them observes them."""
        return self._handle.reports()

    @contextlib.contextmanager
    def attach(self):
        """Join the scope from another thread, or from a task that was made outside.

        Returns
        -------
        context manager
            In its block the scope is the current one. It may be used any number of times, by any
            number of threads. Leaving it waits for nothing.
        """
        self._handle.enter()
        try:
            yield self
        finally:
            self._handle.leave()

    def __enter__(self):
        """Make the scope the current one."""
        if self._entered:
            raise RuntimeError(
                f"The error scope {self._name!r} was entered before: make another, or join it with "
                "attach()."
            )
        self._handle.enter()
        self._entered = True
        return self

    def __exit__(self, kind, error, trace):
        """Wait for the scope's work, and raise what nobody has observed."""
        self._handle.leave()
        if self._waits(error):
            work_in(self._handle).wait()
            self._finish(error)

    async def __aenter__(self):
        """Make the scope the current one."""
        return self.__enter__()

    async def __aexit__(self, kind, error, trace):
        """Await the scope's work, and raise what nobody has observed."""
        self._handle.leave()
        if self._waits(error):
            await work_in(self._handle)
            self._finish(error)

    def _waits(self, error):
        return not _hurries(error) and self._handle.belongs_here()

    def _finish(self, error):
        if error is not None:
            for report in self._handle.take_reports():
                error.add_note(f"In the error scope {self._name!r}: {report.message}")
        elif self._raise_on_exit:
            failure = self._handle.take_exception()
            if failure is not None:
                raise failure

    def __del__(self):
        """Leave what nobody has observed to the device."""
        handle = getattr(self, "_handle", None)
        if handle is not None:
            handle.abandon()

    def __reduce__(self):
        """Refuse: a copy that goes would give the scope's failures away."""
        raise TypeError("An error scope belongs to its process: it can't be pickled or copied.")

    def __repr__(self):
        """Return the call that makes such a scope."""
        return f"nitinol.error_scope({self._name!r}, raise_on_exit={self._raise_on_exit})"
