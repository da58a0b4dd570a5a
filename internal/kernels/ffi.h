// What is used of two stable interfaces of XLA, in C: its plug-ins' (PJRT), by which
// a function becomes known to a plug-in under a name, and its calls of such functions (FFI).
// The names are those of pjrt_c_api.h, pjrt_c_api_ffi_extension.h and xla/ffi/api/c_api.h, without their
// prefixes; what is not used is left out where it is at the end, or an untyped pointer.

#ifndef PRENAS_FFI_H
#define PRENAS_FFI_H

#include <stddef.h>
#include <stdint.h>

// Versions of FFI whose structures are those below.
enum { FFI_MAJOR = 0, FFI_MINOR_FIRST = 1, FFI_MINOR_LAST = 4 };

typedef struct ffi_extension {
	size_t struct_size;
	int type;
	struct ffi_extension *next;
} ffi_extension;

typedef struct {
	size_t struct_size;
	ffi_extension *extension_start;
	int major_version;
	int minor_version;
} ffi_version;

enum { FFI_METADATA = 1 };

// Asked of a function once, when it is registered.
typedef struct {
	ffi_extension base;
	struct {
		size_t struct_size;
		ffi_version api_version; // out
		uint32_t traits;
	} *metadata;
} ffi_metadata_extension;

enum { FFI_FLOAT32 = 11, FFI_BF16 = 16, FFI_INT64 = 5, FFI_ATTRIBUTE_SCALAR = 3 };

// A tensor, its rows one after the other: operands and results have this layout
// because the call says so.
typedef struct {
	size_t struct_size;
	ffi_extension *extension_start;
	int dtype;
	void *data;
	int64_t rank;
	int64_t *dims;
} ffi_buffer;

typedef struct {
	size_t struct_size;
	ffi_extension *extension_start;
	int64_t size;
	int *types;
	ffi_buffer **buffers;
} ffi_buffers;

typedef struct {
	int dtype;
	void *value;
} ffi_scalar;

typedef struct {
	const char *ptr;
	size_t len;
} ffi_span;

// Attributes, sorted by name.
typedef struct {
	size_t struct_size;
	ffi_extension *extension_start;
	int64_t size;
	int *types;
	ffi_span **names;
	void **attributes;
} ffi_attributes;

typedef struct ffi_error ffi_error;
typedef struct ffi_context ffi_context;

enum { FFI_INVALID_ARGUMENT = 3, FFI_RESOURCE_EXHAUSTED = 8 };

typedef struct {
	size_t struct_size;
	ffi_extension *extension_start;
	const char *message;
	int code;
} ffi_error_create_args;

typedef struct {
	size_t struct_size;
	ffi_extension *extension_start;
	ffi_error *error;
} ffi_error_destroy_args;

typedef struct {
	size_t struct_size;
	ffi_extension *extension_start;
	ffi_context *context;
	void (*task)(void *data);
	void *data;
} ffi_schedule_args;

typedef struct {
	size_t struct_size;
	ffi_extension *extension_start;
	ffi_context *context;
	int64_t *threads; // out
} ffi_threads_args;

typedef struct {
	size_t struct_size;
	ffi_extension *extension_start;
	ffi_version api_version;
	const void *internal_api;
	ffi_error *(*error_create)(ffi_error_create_args *);
	void *error_message;
	void (*error_destroy)(ffi_error_destroy_args *);
	void *handler_register;
	void *stream_get;
	void *type_register;
	void *context_get;
	void *state_set;
	void *state_get;
	void *memory_allocate;
	void *memory_free;
	ffi_error *(*schedule)(ffi_schedule_args *);
	ffi_error *(*threads)(ffi_threads_args *);
} ffi_api;

typedef struct {
	size_t struct_size;
	ffi_extension *extension_start;
	const ffi_api *api;
	ffi_context *context;
	int stage;
	ffi_buffers operands;
	ffi_buffers results;
	ffi_attributes attributes;
} ffi_frame;

typedef ffi_error *ffi_handler(ffi_frame *);

enum { PJRT_EXTENSION_FFI = 5 };

typedef struct {
	size_t struct_size;
	const char *name;
	size_t name_size;
	void *handler;
	const char *platform;
	size_t platform_size;
	int traits;
} pjrt_register_args;

typedef struct {
	ffi_extension base; // laid out as PJRT's own
	void *type_register;
	void *user_data_add;
	void *(*handler_register)(pjrt_register_args *); // an error, or NULL
} pjrt_ffi_extension;

typedef struct {
	size_t struct_size;
	ffi_extension *extension_start;
} pjrt_api;

#endif
