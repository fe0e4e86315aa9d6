"""Streams, and which one an operation runs on."""

import contextvars

from nitinol cimport _native as native
from nitinol._core cimport check_forked
from nitinol._device cimport Device, wrap_device

cdef object _current = contextvars.ContextVar("nitinol_stream", default=None)
# Until somebody enters a stream, nobody needs to look the context variable up.
cdef bint _any_entered = False
cdef native.Stream* _default_stream = native.device_at(0).default_stream()
cdef bint _several_devices = native.device_count() > 1

cdef class Stream:
    """An order of work on a device: what is given to one stream runs in that order.

    Streams of one device run concurrently. As a context manager a stream takes the work of the
    operations created inside; any number of threads may enter the same one.

    Parameters
    ----------
    device : Device or str, optional
        The default device if not given.
    """

    def __cinit__(self, device=None, *, bint _default=False):
        check_forked()
        chosen = default_device() if device is None else Device(device)
        self.device = wrap_device((<Device> chosen).device)
        if _default:
            self.stream = self.device.device.default_stream()
        else:
            self.stream = self.device.device.make_stream()
        self.owned = not _default

    def __dealloc__(self):
        if self.owned and not native.forked():
            self.stream.device.recycle_stream(self.stream)

    @property
    def index(self):
        """The number of the stream on its device; 0 is the default stream."""
        return self.stream.index

    def __enter__(self):
        global _any_entered
        _any_entered = True
        # The token lives in the context that it belongs to, as one stream may be entered by many.
        previous = _current.get()
        _current.set((self, previous))
        return self

    def __exit__(self, *exc):
        entered = _current.get()
        if entered is None or entered[0] is not self:
            raise RuntimeError(f"{self!r} is left, but it isn't the stream that was entered last.")
        _current.set(entered[1])

    def __reduce__(self):
        raise TypeError("A stream belongs to its process: it can't be pickled or copied.")

    def __repr__(self):
        return f"nitinol.Stream({self.device.name!r}, index={self.index})"


cdef native.Stream* current_stream() except NULL:
    if _any_entered:
        entered = _current.get()
        if entered is not None:
            return (<Stream> (<tuple> entered)[0]).stream
    return _default_stream


cdef native.Stream* stream_of(native.Node** nodes, size_t count) except NULL:
    """Where an operation on these runs: the stream that was entered, or else their device."""
    cdef size_t i
    if _any_entered:
        entered = _current.get()
        if entered is not None:
            return (<Stream> (<tuple> entered)[0]).stream
    if _several_devices:
        for i in range(count):
            if nodes[i].stream().device != _default_stream.device:
                return nodes[i].stream().device.default_stream()
    return _default_stream


cdef native.Stream* stream_on(native.Device* device) except NULL:
    """The stream that was entered where that is of the device, or else the device's default one."""
    cdef native.Stream* current = current_stream()
    return current if current.device == device else device.default_stream()


def default_stream(device):
    """Return the default stream of a device, to enter it."""
    return Stream(device, _default=True)


def default_device():
    """Return the device that new arrays are made on.

    Returns
    -------
    Device
        That of the current stream, if one was entered; otherwise the one that was set, the CPU to
        begin with.
    """
    return wrap_device(current_stream().device)


def set_default_device(device):
    """Choose the device of all threads that have entered no stream.

    Parameters
    ----------
    device : Device or str
    """
    global _default_stream
    _default_stream = (<Device> Device(device)).device.default_stream()
