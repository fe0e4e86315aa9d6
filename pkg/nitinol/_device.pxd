from nitinol cimport _native as native

cdef class Device:
    cdef native.Device* device

cdef class Stream:
    cdef native.Stream* stream
    cdef readonly Device device
    cdef bint owned

cdef native.Stream* current_stream() except NULL
cdef native.Stream* stream_of(native.Node** nodes, size_t count) except NULL
cdef native.Stream* stream_on(native.Device* device) except NULL
cdef Device wrap_device(native.Device* device)
cdef int refuse(int reason) except -1
cdef double deadline_after(object timeout) except -1
cdef int check_forked() except -1
cdef int check_open() except -1
cdef void set_host_call(bint running) noexcept
cdef bint inside_host_call() noexcept
cdef int wait_for(native.Evaluation* evaluation, object timeout) except -1
cdef int check_settled(native.Node** nodes, size_t count) except -1
cdef int evaluate(native.Node** nodes, size_t count, object timeout) except -1
cdef native.Evaluation* submit(native.Node** nodes, size_t count, bint inline) except? NULL
cdef int reclaim() except -1
