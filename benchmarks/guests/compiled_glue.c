/* The lower bound of marshalling: environ to record, call, edits to environ, all in C as a Python extension.
   One instance, no checks of what the guest returns, no deadline. Built and loaded by compiled.py. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

typedef void *(*call_unchecked)(void *context, const void *function, void *values, size_t count, void **trap);

static struct {
  call_unchecked call;
  void *context;
  const void *function;
  uint8_t *memory;
  uint32_t buffer;
  PyObject *bytes_io, *input_key, *length_key, *read, *first[3];
} self;

static const char *const first_names[] = {":method", ":path", ":query"};

enum { MAX_FIELDS = 128, CAPACITY = 65536 };

typedef struct {
  uint32_t count, names_size, values_size;
  uint32_t name_len[MAX_FIELDS], value_len[MAX_FIELDS];
  uint8_t names[8192], values[32768];
} fields;

static int add_value(fields *f, PyObject *value) {
  if (!PyUnicode_Check(value) || PyUnicode_KIND(value) != PyUnicode_1BYTE_KIND) return -1;
  uint32_t size = (uint32_t)PyUnicode_GET_LENGTH(value);
  if (f->count == MAX_FIELDS || f->values_size + size > sizeof f->values) return -1;
  memcpy(f->values + f->values_size, PyUnicode_1BYTE_DATA(value), size);
  f->values_size += size;
  f->value_len[f->count++] = size;
  return 0;
}

/* Reads the environ's fields; -1 with an exception set when one is of no use. */
static int collect(PyObject *environ, fields *f) {
  PyObject *key, *value;
  Py_ssize_t position = 0;
  f->count = f->names_size = f->values_size = 0;
  for (int i = 0; i < 3; i++) {
    uint32_t size = (uint32_t)strlen(first_names[i]);
    memcpy(f->names + f->names_size, first_names[i], size);
    f->names_size += size, f->name_len[f->count] = size;
    value = PyDict_GetItemWithError(environ, self.first[i]);
    if (!value || add_value(f, value)) goto bad;
  }
  while (PyDict_Next(environ, &position, &key, &value)) {
    if (!PyUnicode_IS_COMPACT_ASCII(key)) continue;
    Py_ssize_t size = PyUnicode_GET_LENGTH(key) - 5;
    const char *text = (const char *)PyUnicode_1BYTE_DATA(key);
    if (size <= 0 || memcmp(text, "HTTP_", 5)) continue;
    if (f->count == MAX_FIELDS || f->names_size + size > sizeof f->names) goto bad;
    for (Py_ssize_t i = 0; i < size; i++) {
      char c = text[5 + i];
      f->names[f->names_size++] = c == '_' ? '-' : c >= 'A' && c <= 'Z' ? c | 32 : c;
    }
    f->name_len[f->count] = (uint32_t)size;
    if (add_value(f, value)) goto bad;
  }
  return 0;
bad:
  if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "a header is not Latin-1 text, or too large");
  return -1;
}

/* The request's body as bytes, or NULL: with an exception set if that went wrong. */
static PyObject *read_body(PyObject *environ) {
  PyObject *length = PyDict_GetItemWithError(environ, self.length_key);
  if (!length) return NULL;
  PyObject *number = PyLong_FromUnicodeObject(length, 10);
  if (!number) return NULL;
  PyObject *input = PyDict_GetItemWithError(environ, self.input_key);
  PyObject *body = input ? PyObject_CallMethodOneArg(input, self.read, number) : NULL;
  Py_DECREF(number);
  return body;
}

static uint32_t write_record(const fields *f, PyObject *body) {
  uint8_t *at = self.memory + self.buffer, *start = at;
  uint32_t names_size = (f->names_size + 3) & ~3u, size = body ? (uint32_t)PyBytes_GET_SIZE(body) : 0;
  uint32_t head[2] = {1 | 1 << 8 | f->count << 16, names_size}, variable[3] = {body != NULL, 0, size};
  memcpy(at, head, 8), at += 8;
  memcpy(at, f->name_len, 4 * f->count), at += 4 * f->count;
  memcpy(at, f->names, f->names_size), memset(at + f->names_size, 0, names_size - f->names_size);
  at += names_size;
  memcpy(at, variable, 12), at += 12;
  memcpy(at, f->value_len, 4 * f->count), at += 4 * f->count;
  memcpy(at, f->values, f->values_size), at += f->values_size;
  if (size) memcpy(at, PyBytes_AS_STRING(body), size), at += size;
  return (uint32_t)(at - start);
}

static int set(PyObject *environ, PyObject *key, PyObject *value) {
  int failed = !key || !value || PyDict_SetItem(environ, key, value);
  Py_XDECREF(key), Py_XDECREF(value);
  return failed ? -1 : 0;
}

static int set_header(PyObject *environ, const uint8_t *name, uint16_t size, PyObject *value) {
  char key[256] = "HTTP_";
  if (size > 200) return PyErr_SetString(PyExc_ValueError, "name too long"), -1;
  for (uint16_t i = 0; i < size; i++)
    key[5 + i] = name[i] == '-' ? '_' : name[i] >= 'a' && name[i] <= 'z' ? name[i] & ~32 : name[i];
  return set(environ, PyUnicode_FromStringAndSize(key, size + 5), value);
}

static int apply(PyObject *environ, const uint8_t *at, const uint8_t *end) {
  for (at += 4; at < end;) {
    uint16_t name_len;
    uint32_t value_len;
    memcpy(&name_len, at + 2, 2), memcpy(&value_len, at + 4, 4);
    const uint8_t *name = at + 8, *value = name + name_len;
    if (*at == 1) {
      if (set_header(environ, name, name_len, PyUnicode_DecodeLatin1((const char *)value, value_len, NULL)))
        return -1;
    } else {
      PyObject *input = PyObject_CallFunction(self.bytes_io, "y#", value, (Py_ssize_t)value_len);
      Py_INCREF(self.input_key), Py_INCREF(self.length_key);
      if (set(environ, self.input_key, input)) return -1;
      if (set(environ, self.length_key, PyUnicode_FromFormat("%u", value_len))) return -1;
    }
    at = value + value_len;
  }
  return 0;
}

/* edit(environ) -> environ */
static PyObject *edit(PyObject *module, PyObject *environ) {
  static fields f; /* guarded by the GIL, and of no use during the call */
  if (collect(environ, &f)) return NULL;
  PyObject *body = read_body(environ);
  if (!body && PyErr_Occurred()) return NULL;
  if (body && PyBytes_GET_SIZE(body) > CAPACITY - 42000) {
    Py_DECREF(body);
    return PyErr_SetString(PyExc_ValueError, "the body is too large"), NULL;
  }
  uint64_t values[4] = {write_record(&f, body)};
  Py_XDECREF(body);
  void *trap = NULL, *error;
  Py_BEGIN_ALLOW_THREADS
  error = self.call(self.context, self.function, values, 2, &trap);
  Py_END_ALLOW_THREADS
  if (error || trap) return PyErr_SetString(PyExc_RuntimeError, "the guest trapped"), NULL;
  const uint8_t *result = self.memory + (values[0] >> 32);
  if (values[0] && apply(environ, result, result + (values[0] & 0x7fffffff))) return NULL;
  return Py_NewRef(environ);
}

/* setup(call, context, function, memory, buffer, BytesIO): addresses, and the guest's buffer */
static PyObject *setup(PyObject *module, PyObject *args) {
  unsigned long long call, context, function, memory;
  if (!PyArg_ParseTuple(args, "KKKKIO", &call, &context, &function, &memory, &self.buffer, &self.bytes_io))
    return NULL;
  Py_INCREF(self.bytes_io);
  self.call = (call_unchecked)(uintptr_t)call;
  self.context = (void *)(uintptr_t)context, self.function = (void *)(uintptr_t)function;
  self.memory = (uint8_t *)(uintptr_t)memory;
  self.input_key = PyUnicode_InternFromString("wsgi.input");
  self.length_key = PyUnicode_InternFromString("CONTENT_LENGTH");
  self.read = PyUnicode_InternFromString("read");
  self.first[0] = PyUnicode_InternFromString("REQUEST_METHOD");
  self.first[1] = PyUnicode_InternFromString("PATH_INFO");
  self.first[2] = PyUnicode_InternFromString("QUERY_STRING");
  Py_RETURN_NONE;
}

static PyMethodDef methods[] = {{"edit", edit, METH_O, NULL}, {"setup", setup, METH_VARARGS, NULL}, {0}};
static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "compiled_glue", NULL, -1, methods};
PyMODINIT_FUNC PyInit_compiled_glue(void) { return PyModule_Create(&definition); }
