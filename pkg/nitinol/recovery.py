"""What a device does about failures by itself, before anybody sees them."""

import dataclasses

__all__ = ["RecoveryPolicy"]

_TOO_LONG = ("split", "fail")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryPolicy:
    """What a device tries again by itself, and when it stops; see `Device.recovery`.

    What is tried again and succeeds raises nowhere. It is counted, as ``recovered`` in
    `Device.error_counts`.

    On the CPU one kernel is tried again by itself; on Metal the command buffer that failed, with
    all that it holds. What wrote to the memory of its input, and would differ if that were
    repeated, is not tried again: it fails.

    Parameters
    ----------
    victim_retries : int
        How often in a row work is tried again that the device dropped because other work failed
        (``innocent_victim``), from 0 to 100.
    victim_backoff : float
        Seconds before the first of these retries, from 0 to 1; they double each time, up to 1.
    out_of_memory_retry : bool
        Whether work that memory could not be had for is tried once more, after cached memory was
        freed.
    internal_retry : bool
        Whether work that failed with ``internal`` is tried once more.
    impacting_interactivity : {"split", "fail"}
        What is done about work that the device ended because it kept a display waiting: it is run
        in smaller pieces, with the same limit and pauses as for victims, or reported.
    timeout : {"fail", "split"}
        What is done about work that a watchdog ended: it is reported, or run once more in smaller
        pieces, one kernel at a time. What is one kernel already is reported: the same work is never
        submitted again as it was.
    culprit_budget : int or None
        The number of failures within `culprit_window`, from 1 to 64, at which the device is
        suspended: it takes no more work until `Device.reset`. Only failures count that the work
        itself is to blame for and that hurt the device, such as ``timeout`` and ``page_fault``. A
        driver that sees too many of them shuts the process out for good. None: no limit.
    culprit_window : float
        Seconds, more than 0.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Examples
    --------
    >>> import nitinol as nt
    >>> nt.Device("cpu").recovery = nt.RecoveryPolicy(victim_retries=5, culprit_budget=3)
    >>> nt.Device("cpu").recovery.culprit_budget
    3
    """

    victim_retries: int = 3
    victim_backoff: float = 0.001
    out_of_memory_retry: bool = True
    internal_retry: bool = True
    impacting_interactivity: str = "split"
    timeout: str = "fail"
    culprit_budget: int | None = None
    culprit_window: float = 60.0

    def __post_init__(self):
        """Check every field."""
        _check("victim_retries", self.victim_retries, int, 0, 100)
        _check("victim_backoff", self.victim_backoff, (int, float), 0, 1)
        _check("culprit_window", self.culprit_window, (int, float), 1e-9, 1e9)
        if self.culprit_budget is not None:
            _check("culprit_budget", self.culprit_budget, int, 1, 64)
        for name in ("out_of_memory_retry", "internal_retry"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} is True or False, not {getattr(self, name)!r}.")
        for name in ("impacting_interactivity", "timeout"):
            if getattr(self, name) not in _TOO_LONG:
                raise ValueError(f"{name} is 'split' or 'fail', not {getattr(self, name)!r}.")

    @classmethod
    def none(cls):
        """Return the policy that tries nothing again and never suspends the device.

        Returns
        -------
        RecoveryPolicy
        """
        return cls(
            victim_retries=0,
            out_of_memory_retry=False,
            internal_retry=False,
            impacting_interactivity="fail",
        )


def _check(name, value, types, least, most):
    if isinstance(value, bool) or not isinstance(value, types) or not least <= value <= most:
        kind = "an integer" if types is int else "a number"
        raise ValueError(f"{name} is {kind} from {least} to {most}, not {value!r}.")
