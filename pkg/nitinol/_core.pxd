cdef int refuse(int reason) except -1
cdef int check_forked() except -1
cdef int check_open() except -1
cdef int reclaim() except -1
