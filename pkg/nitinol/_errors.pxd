from nitinol._native cimport Device, Node, Report, Scope

cdef int raise_poison(Node** nodes, size_t count) except -1
cdef object scope_name(const Scope* scope)
cdef object to_report(Report* report)
cdef object to_exception(Report* report)
cdef object group(list exceptions, object message=*)
