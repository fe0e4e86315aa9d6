from libcpp.vector cimport vector

from nitinol._native cimport Node, Observer, Report, Scope

cdef int raise_poison(Node** nodes, size_t count, Node** read=*) except -1
cdef object scope_name(const Scope* scope)
cdef object to_report(Report* report)
cdef list translate(const vector[Report*]& found, bint raising)
cdef list observe(const vector[Report*]& found, Observer by, list told)
cdef object raise_later(const vector[Report*]& found, object message=*)
cdef void let_go(const vector[Report*]& found) noexcept
