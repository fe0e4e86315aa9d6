from nitinol._device import Device
from nitinol._stream import Stream

def wait_for_work(
    device_or_stream: Device | Stream | str | None = None, timeout: float | None = None
) -> int: ...
def synchronize(
    device_or_stream: Device | Stream | str | None = None, timeout: float | None = None
) -> None: ...
