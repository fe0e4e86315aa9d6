// The shared object itself: an empty module whose file also holds the Cython
// modules, which nitinol/_bootstrap.py finds in it.
#include <Python.h>

static int add_version(PyObject* module) {
  return PyModule_AddStringConstant(module, "__version__", NITINOL_VERSION);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, reinterpret_cast<void*>(add_version)},
    {0, nullptr},
};
static PyModuleDef definition = {.m_base = PyModuleDef_HEAD_INIT,
                                 .m_name = "nitinol._native",
                                 .m_doc = "The shared object that holds the Cython modules.",
                                 .m_slots = slots};

PyMODINIT_FUNC PyInit__native() { return PyModuleDef_Init(&definition); }
