//go:build linux && cgo

#include "call.h"

#include "numbers.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

bool prenas_described(ffi_frame *frame) {
	for (ffi_extension *e = frame->extension_start; e; e = e->next) {
		if (e->type == FFI_METADATA) {
			ffi_version *version = &((ffi_metadata_extension *)e)->metadata->api_version;
			version->major_version = FFI_MAJOR;
			// XLA takes the versions of before too, but none of after its own.
			int minor = frame->api ? frame->api->api_version.minor_version : FFI_MINOR_LAST;
			version->minor_version = minor < FFI_MINOR_LAST ? minor : FFI_MINOR_LAST;
			return true;
		}
	}
	return false;
}

ffi_error *prenas_error(ffi_frame *frame, int code, const char *message) {
	ffi_error_create_args args = {.struct_size = sizeof args, .message = message, .code = code};
	return frame->api->error_create(&args);
}

int64_t prenas_values(const ffi_buffer *b) {
	int64_t values = 1;
	for (int64_t axis = 0; axis < b->rank; axis++) {
		values *= b->dims[axis];
	}
	return values;
}

bool prenas_same_shape(const ffi_buffer *a, const ffi_buffer *b) {
	return a->rank == b->rank && memcmp(a->dims, b->dims, a->rank * sizeof *a->dims) == 0;
}

bool prenas_is_vector(const ffi_buffer *b, int64_t size) { return b->dtype == FFI_FLOAT32 && b->rank == 1 && b->dims[0] == size; }

int64_t prenas_attribute(ffi_frame *frame, const char *name, int64_t missing) {
	const ffi_attributes *all = &frame->attributes;
	for (int64_t i = 0; i < all->size; i++) {
		const ffi_scalar *scalar = all->attributes[i];
		if (all->names[i]->len == strlen(name) && memcmp(all->names[i]->ptr, name, all->names[i]->len) == 0 &&
		    all->types[i] == FFI_ATTRIBUTE_SCALAR && scalar->dtype == FFI_INT64) {
			return *(int64_t *)scalar->value;
		}
	}
	return missing;
}

int64_t prenas_lanes(int64_t most) {
#if defined(__x86_64__)
	if (most >= 16 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
	    __builtin_cpu_supports("avx512dq")) {
		return 16;
	}
	if (most >= 8 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
		return 8;
	}
#endif
	(void)most;
	return 4;
}

// The parts of one call. Threads that come when all parts are taken find this, so it
// lives until the last of them has gone; the work itself only until the last part is done.
typedef struct {
	void (*part)(void *, int64_t);
	void *work;
	int64_t parts;
	pthread_mutex_t mutex;
	pthread_cond_t finished;
	int64_t taken, done, holders; // under the mutex
} shared;

static void take_parts(shared *s) {
	pthread_mutex_lock(&s->mutex);
	while (s->taken < s->parts) {
		int64_t i = s->taken++;
		pthread_mutex_unlock(&s->mutex);
		s->part(s->work, i);
		pthread_mutex_lock(&s->mutex);
		if (++s->done == s->parts) {
			pthread_cond_signal(&s->finished);
		}
	}
	pthread_mutex_unlock(&s->mutex);
}

static void let_go(shared *s, int64_t holders) {
	pthread_mutex_lock(&s->mutex);
	bool last = (s->holders -= holders) == 0;
	pthread_mutex_unlock(&s->mutex);
	if (last) {
		pthread_mutex_destroy(&s->mutex);
		pthread_cond_destroy(&s->finished);
		free(s);
	}
}

static void helper(void *data) {
	take_parts(data);
	let_go(data, 1);
}

static void drop_error(const ffi_api *api, ffi_error *error) {
	api->error_destroy(&(ffi_error_destroy_args){.struct_size = sizeof(ffi_error_destroy_args), .error = error});
}

int64_t prenas_threads(ffi_frame *frame) {
	int64_t threads = 1;
	ffi_threads_args count = {.struct_size = sizeof count, .context = frame->context, .threads = &threads};
	ffi_error *error = frame->api->threads(&count);
	if (error) {
		drop_error(frame->api, error);
		return 1;
	}
	return at_least(1, threads);
}

void prenas_share(ffi_frame *frame, int64_t parts, void (*part)(void *, int64_t), void *work) {
	const ffi_api *api = frame->api;
	int64_t threads = prenas_threads(frame);
	shared *s = threads > 1 && parts > 1 ? malloc(sizeof *s) : NULL;
	if (!s) {
		for (int64_t i = 0; i < parts; i++) {
			part(work, i);
		}
		return;
	}
	int64_t helpers = (threads < parts ? threads : parts) - 1;
	*s = (shared){.part = part, .work = work, .parts = parts, .holders = helpers + 1};
	pthread_mutex_init(&s->mutex, NULL);
	pthread_cond_init(&s->finished, NULL);
	int64_t absent = 0;
	for (int64_t i = 0; i < helpers; i++) {
		ffi_schedule_args args = {.struct_size = sizeof args, .context = frame->context, .task = helper, .data = s};
		ffi_error *error = api->schedule(&args);
		if (error) {
			drop_error(api, error);
			absent++;
		}
	}
	take_parts(s);
	pthread_mutex_lock(&s->mutex);
	while (s->done < s->parts) {
		pthread_cond_wait(&s->finished, &s->mutex);
	}
	pthread_mutex_unlock(&s->mutex);
	let_go(s, absent + 1);
}

static const struct {
	const char *name;
	ffi_handler *handler;
} functions[] = {
	{"prenas_depthwise", prenas_depthwise},
	{"prenas_depthwise_kernel", prenas_depthwise_kernel},
	{"prenas_product", prenas_product},
	{"prenas_attention", prenas_attention},
	{"prenas_attention_adjoint", prenas_attention_adjoint},
	{"prenas_layer_norm", prenas_layer_norm},
	{"prenas_layer_norm_adjoint", prenas_layer_norm_adjoint},
	{"prenas_bias_gelu", prenas_bias_gelu},
	{"prenas_bias_gelu_adjoint", prenas_bias_gelu_adjoint},
	{"prenas_batch_norm", prenas_batch_norm},
	{"prenas_batch_norm_adjoint", prenas_batch_norm_adjoint},
	{"prenas_adamw", prenas_adamw},
	{"prenas_squares", prenas_squares},
	{"prenas_pack", prenas_pack},
	{"prenas_branch", prenas_branch},
	{"prenas_branch_adjoint", prenas_branch_adjoint},
};

const char *prenas_register(const char *plugin) {
	void *library = dlopen(plugin, RTLD_NOW | RTLD_NOLOAD);
	if (!library) {
		return "the plug-in is not loaded";
	}
	const pjrt_api *(*get)(void) = (const pjrt_api *(*)(void))dlsym(library, "GetPjrtApi");
	const pjrt_api *api = get ? get() : NULL;
	const ffi_extension *e = api ? api->extension_start : NULL;
	while (e && e->type != PJRT_EXTENSION_FFI) {
		e = e->next;
	}
	if (!e || e->struct_size < sizeof(pjrt_ffi_extension)) {
		return "the plug-in takes no functions";
	}
	const pjrt_ffi_extension *ffi = (const pjrt_ffi_extension *)e;
	for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
		pjrt_register_args args = {.struct_size = sizeof args, .name = functions[i].name, .name_size = strlen(functions[i].name),
			.handler = (void *)functions[i].handler, .platform = "Host", .platform_size = strlen("Host")};
		if (ffi->handler_register(&args)) {
			return "the plug-in refuses a function"; // its message is lost with the error, which is never freed
		}
	}
	return NULL;
}
