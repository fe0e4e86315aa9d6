from nitinol cimport _native as native

cdef native.Evaluation* submit(native.Node** nodes, size_t count, bint inline) except? NULL
cdef int wait_for_room(native.Node** nodes, size_t count) except -1
cdef void set_host_call(bint running) noexcept
cdef bint inside_host_call() noexcept
cdef double deadline_after(object timeout) except -1
cdef int wait_for(native.Evaluation* evaluation, object timeout, double deadline) except -1
cdef int check_settled(native.Node** nodes, size_t count) except -1
cdef int evaluate(native.Node** nodes, size_t count, object timeout, double deadline) except -1
