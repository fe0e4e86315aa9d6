cdef int start_notifier() except -1
cdef int call_safely(object function, tuple arguments) except -1
