"""Failures of all devices together: host calls fail on the CPU, wherever their results go."""

import nitinol as nt


def error_counts():
    """`Device.error_counts`, summed."""
    counts = [device.error_counts() for device in nt.devices()]
    return {name: sum(each[name] for each in counts) for name in counts[0]}


def drain_errors():
    """`Device.drain_errors`, of every device."""
    return [report for device in nt.devices() for report in device.drain_errors()]
