// The shared object itself: an empty module whose file also holds the Cython
// modules, which nitinol/_bootstrap.py finds in it.
#include <Python.h>

static int add_constants(PyObject* module) {
  if (PyModule_AddStringConstant(module, "__version__", NITINOL_VERSION) < 0) return -1;
  return PyModule_AddStringConstant(module, "__build__", NITINOL_BUILD);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, reinterpret_cast<void*>(add_constants)},
    {0, nullptr},
};
static PyModuleDef definition = {.m_base = PyModuleDef_HEAD_INIT,
                                 .m_name = "nitinol._native",
                                 .m_doc = "The shared object that holds the Cython modules.",
                                 .m_slots = slots};

PyMODINIT_FUNC PyInit__native() { return PyModuleDef_Init(&definition); }
