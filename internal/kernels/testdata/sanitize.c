// Calls every function of the package with shapes that fill its blocks and tiles and shapes that do not, on
// operands and results that end where their memory ends. kernels_test.go compiles it with
// the compiler's sanitizers, which end the program at the first read or write outside.

// Products, attention and branches, whose parts are summed, are called with one thread and with several, and the results must have the same bits.

#include "../amx.h"
#include "../call.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 40, THREADS = 3 };

static int64_t threads; // of a call
static bool shared;     // calls are made with THREADS too

static ffi_error *how_many(ffi_threads_args *args) {
	*args->threads = threads;
	return NULL;
}

typedef struct {
	void (*task)(void *data);
	void *data;
} job;

static void *run(void *data) {
	job j = *(job *)data;
	free(data);
	j.task(j.data);
	return NULL;
}

static ffi_error *schedule(ffi_schedule_args *args) {
	job *j = malloc(sizeof *j);
	*j = (job){args->task, args->data};
	pthread_t thread;
	if (pthread_create(&thread, NULL, run, j)) {
		exit(2);
	}
	pthread_detach(thread);
	return NULL;
}

static ffi_error *refused(ffi_error_create_args *args) {
	printf("refused: %s\n", args->message);
	exit(1);
}

static const ffi_api api = {.error_create = refused, .threads = how_many, .schedule = schedule};

typedef struct {
	int dtype;
	int64_t rank, dims[4];
} tensor;

static void call(ffi_handler *function, int operands, int results, tensor *tensors, int settings, const char **names, int64_t *values) {
	ffi_buffer buffers[MOST], *pointers[MOST];
	for (int i = 0; i < operands + results; i++) {
		int64_t count = 1;
		for (int64_t axis = 0; axis < tensors[i].rank; axis++) {
			count *= tensors[i].dims[axis];
		}
		void *data = malloc(count * (tensors[i].dtype == FFI_BF16 ? 2 : 4));
		for (int64_t j = 0; j < count; j++) {
			if (tensors[i].dtype == FFI_BF16) {
				((uint16_t *)data)[j] = 0x3f00 + j % 97; // 0.5 to 1
			} else {
				((float *)data)[j] = 0.5f + j % 97 / 194.0f;
			}
		}
		buffers[i] = (ffi_buffer){.struct_size = sizeof buffers[i], .dtype = tensors[i].dtype, .data = data, .rank = tensors[i].rank, .dims = tensors[i].dims};
		pointers[i] = &buffers[i];
	}
	ffi_scalar scalars[MOST];
	ffi_span spans[MOST], *span_pointers[MOST];
	void *attributes[MOST];
	int types[MOST];
	for (int i = 0; i < settings; i++) {
		scalars[i] = (ffi_scalar){.dtype = FFI_INT64, .value = &values[i]};
		spans[i] = (ffi_span){.ptr = names[i], .len = strlen(names[i])};
		attributes[i] = &scalars[i];
		span_pointers[i] = &spans[i];
		types[i] = FFI_ATTRIBUTE_SCALAR;
	}
	ffi_frame frame = {.struct_size = sizeof frame, .api = &api, .operands = {.size = operands, .buffers = pointers},
		.results = {.size = results, .buffers = pointers + operands},
		.attributes = {.size = settings, .types = types, .names = span_pointers, .attributes = attributes}};
	char *first[MOST];
	for (threads = 1; threads <= (shared ? THREADS : 1); threads += THREADS - 1) {
		function(&frame);
		for (int i = operands; i < operands + results; i++) {
			int64_t bytes = prenas_values(&buffers[i]) * (buffers[i].dtype == FFI_BF16 ? 2 : 4);
			if (threads == 1) {
				first[i] = memcpy(malloc(bytes), buffers[i].data, bytes);
			} else if (memcmp(first[i], buffers[i].data, bytes) != 0) {
				printf("result %d has other bits with %d threads\n", i - operands, THREADS);
				exit(1);
			}
		}
	}
	for (int i = 0; i < operands + results; i++) {
		free(buffers[i].data);
		if (i >= operands) {
			free(first[i]);
		}
	}
}

static void products(int dtype) {
	static const int64_t shapes[][3] = {{1, 2, 2}, {13, 10, 48}, {14, 32, 33}, {197, 240, 97}, {169, 16, 10}, {600, 66, 130}, {1025, 2, 4},
		{3, 700, 36}, {2001, 48, 20}, {33, 1300, 700}, {17001, 128, 130}};
	for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
		int64_t rows = shapes[i][0], depth = shapes[i][1], columns = shapes[i][2];
		for (int bf16 = 0; bf16 < 2; bf16++) {
			int result = bf16 && prenas_products(true) ? FFI_BF16 : FFI_FLOAT32;
			tensor of[][3] = {
				{{dtype, 2, {rows, depth}}, {dtype, 2, {depth, columns}}, {result, 2, {rows, columns}}},
				{{dtype, 2, {rows, depth}}, {dtype, 2, {columns, depth}}, {result, 2, {rows, columns}}},
				{{dtype, 2, {rows, depth}}, {dtype, 2, {rows, columns}}, {result, 2, {depth, columns}}},
			};
			for (int64_t over = PRENAS_OVER_BOTH; over <= PRENAS_OVER_ROWS; over++) {
				call(prenas_product, 2, 1, of[over], 1, (const char *[]){"over"}, &over);
			}
		}
	}
}

static void attentions(int dtype) {
	static const int64_t shapes[][6] = { // images, heads, size, tokens, side, limit
		{2, 3, 64, 197, 14, 14}, {3, 2, 64, 50, 7, 14}, {1, 1, 16, 10, 3, 1}, {2, 1, 34, 2, 1, 2}, {1, 2, 32, 325, 18, 10}, {1, 1, 16, 1025, 32, 33},
		{1, 1, 6, 1157, 34, 5}, {1, 2, 20, 962, 31, 30}, {2, 5, 48, 23, 0, 0}, {1, 1, 2, 1, 0, 0}, {1, 2, 64, 57, 0, 0}, {16, 6, 64, 197, 0, 0}};
	for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
		const int64_t *s = shapes[i];
		int64_t values[] = {s[1], s[5], s[4]};
		int tables = s[4] ? 4 : 0;
		tensor qkv = {dtype, 3, {s[0], s[3], 3 * s[1] * s[2]}}, y = {dtype, 3, {s[0], s[3], s[1] * s[2]}};
		tensor table = {FFI_FLOAT32, 2, {2 * s[5] + 2, s[2]}};
		tensor forward[] = {qkv, table, table, table, table, y}, backward[] = {qkv, y, table, table, table, table, qkv, table, table, table, table};
		if (!tables) {
			forward[1] = y;
			backward[2] = qkv;
		}
		const char *names[] = {"heads", "limit", "side"};
		call(prenas_attention, 1 + tables, 1, forward, 3, names, values);
		call(prenas_attention_adjoint, 2 + tables, 1 + tables, backward, 3, names, values);
	}
}

static int64_t whole(int64_t size) { return (size + 31) / 32 * 32; }

static void branches(void) {
	static const int64_t shapes[][4] = { // samples, tokens, size, inner
		{1, 1, 1, 1}, {1, 3, 2, 5}, {2, 5, 16, 33}, {3, 17, 33, 16}, {1, 197, 48, 130}, {2, 300, 240, 96}, {1, 33, 624, 700}, {5, 250, 20, 48}, {64, 577, 40, 20}};
	for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
		const int64_t *s = shapes[i];
		tensor x = {FFI_FLOAT32, 3, {s[0], s[1], s[2]}}, z = {FFI_BF16, 3, {s[0], s[1], s[3]}}, of_size = {FFI_FLOAT32, 1, {s[2]}}, of_inner = {FFI_FLOAT32, 1, {s[3]}};
		tensor scalar = {FFI_FLOAT32, 0, {0}}, factor = {FFI_FLOAT32, 1, {s[0]}}, w1 = {FFI_FLOAT32, 2, {s[3], s[2]}}, w2 = {FFI_FLOAT32, 2, {s[2], s[3]}};
		tensor to_inner = {FFI_BF16, 2, {whole(s[3]), whole(s[2])}}, to_size = {FFI_BF16, 2, {whole(s[2]), whole(s[3])}};
		int64_t over = PRENAS_OVER_COLUMNS;
		call(prenas_pack, 1, 1, (tensor[]){w1, to_inner}, 1, (const char *[]){"over"}, &over);
		over = PRENAS_OVER_BOTH;
		call(prenas_pack, 1, 1, (tensor[]){w1, to_size}, 1, (const char *[]){"over"}, &over);
		const char *names[] = {"first", "second", "tokens"};
		int64_t first[] = {1, 0, s[1]}, second[] = {0, 1, s[1]}, both[] = {1, 1, s[1]};
		call(prenas_branch, 6, 1, (tensor[]){x, of_size, of_size, scalar, to_inner, of_inner, z}, 3, names, first);
		call(prenas_branch, 5, 1, (tensor[]){x, z, to_size, of_size, factor, x}, 3, names, second);
		call(prenas_branch, 9, 1, (tensor[]){x, of_size, of_size, scalar, to_inner, of_inner, to_size, of_size, factor, x}, 3, names, both);
		call(prenas_branch_adjoint, 7, 5, (tensor[]){x, x, of_size, of_size, scalar, to_size, z, x, of_size, of_size, w1, of_inner}, 3, names, first);
		call(prenas_branch_adjoint, 4, 3, (tensor[]){x, to_inner, factor, z, w2, of_size, z}, 3, names, second);
		call(prenas_branch_adjoint, 10, 7,
			(tensor[]){x, x, of_size, of_size, scalar, to_size, to_inner, of_inner, to_inner, factor, x, of_size, of_size, w1, of_inner, w2, of_size}, 3, names, both);
	}
}

static void convolutions(int dtype, int64_t lanes) {
	for (int64_t k = 1; k <= 9; k += 2) {
		for (int64_t stride = 1; stride <= 3; stride++) {
			for (int64_t features = 1; features < 40; features += 13) {
				for (int64_t width = 1; width < 32; width += 5) {
					int64_t height = width % 7 + 1;
					tensor x = {dtype, 4, {2, height, width, features}}, kernel = {FFI_FLOAT32, 4, {k, k, 1, features}};
					tensor y = {dtype, 4, {2, (height + stride - 1) / stride, (width + stride - 1) / stride, features}};
					const char *names[] = {"dilation", "lanes", "pad", "stride"};
					int64_t values[] = {1, lanes, k / 2, stride}, of_adjoint[] = {stride, lanes, k / 2, 1};
					call(prenas_depthwise, 2, 1, (tensor[]){x, kernel, y}, 4, names, values);
					call(prenas_depthwise, 2, 1, (tensor[]){y, kernel, x}, 4, names, of_adjoint);
					call(prenas_depthwise_kernel, 2, 1, (tensor[]){x, y, kernel}, 4, names, values);
				}
			}
		}
	}
}

static void by_rows(int64_t lanes) {
	static const int64_t shapes[][2] = {{1, 1}, {3, 7}, {5, 16}, {2, 33}, {300, 130}, {130, 1200}};
	for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
		for (int dtype = FFI_FLOAT32; dtype <= FFI_BF16; dtype += FFI_BF16 - FFI_FLOAT32) {
			tensor x = {FFI_FLOAT32, 2, {shapes[i][0], shapes[i][1]}}, y = {dtype, 2, {shapes[i][0], shapes[i][1]}};
			tensor vector = {FFI_FLOAT32, 1, {shapes[i][1]}}, scalar = {FFI_FLOAT32, 0, {0}};
			const char *names[] = {"lanes"};
			call(prenas_layer_norm, 4, 1, (tensor[]){x, vector, vector, scalar, y}, 1, names, &lanes);
			call(prenas_layer_norm_adjoint, 4, 3, (tensor[]){x, vector, scalar, y, x, vector, vector}, 1, names, &lanes);
			call(prenas_bias_gelu, 2, 1, (tensor[]){y, vector, y}, 1, names, &lanes);
			call(prenas_bias_gelu_adjoint, 3, 2, (tensor[]){y, vector, y, y, vector}, 1, names, &lanes);
			for (int64_t activation = 0; activation < 3; activation++) {
				const char *both[] = {"activation", "lanes"};
				int64_t values[] = {activation, lanes};
				call(prenas_batch_norm, 4, 3, (tensor[]){y, vector, vector, scalar, y, vector, vector}, 2, both, values);
				call(prenas_batch_norm_adjoint, 7, 3, (tensor[]){y, y, vector, vector, vector, vector, scalar, y, vector, vector}, 2, both, values);
			}
		}
	}
}

static void updates(int64_t lanes) {
	static const tensor weights[] = {{FFI_FLOAT32, 1, {1}}, {FFI_FLOAT32, 2, {13, 1030}}, {FFI_FLOAT32, 4, {3, 2, 5, 4}}, {FFI_FLOAT32, 2, {70, 1024}}};
	static const tensor corners[] = {{FFI_FLOAT32, 1, {1}}, {FFI_FLOAT32, 2, {12, 1025}}, {FFI_FLOAT32, 4, {2, 2, 3, 4}}, {FFI_FLOAT32, 2, {69, 1024}}};
	enum { COUNT = sizeof weights / sizeof *weights };
	const char *names[] = {"lanes"};
	for (int groups = 3; groups <= 4; groups++) {
		for (int cut = 0; cut < 2; cut++) {
			tensor all[MOST];
			int n = 0;
			for (int group = 0; group <= groups; group++, n += COUNT) {
				memcpy(all + n, group || !cut ? weights : corners, sizeof weights);
			}
			all[n++] = (tensor){FFI_FLOAT32, 2, {3, COUNT}};
			all[n++] = (tensor){FFI_FLOAT32, 1, {7}};
			int operands = n;
			for (int group = 0; group < groups; group++, n += COUNT) {
				memcpy(all + n, weights, sizeof weights);
			}
			call(prenas_adamw, operands, n - operands, all, 1, names, &lanes);
			tensor sum[COUNT + 1];
			memcpy(sum, cut ? corners : weights, sizeof weights);
			sum[COUNT] = weights[0];
			call(prenas_squares, COUNT, 1, sum, 1, names, &lanes);
		}
	}
}

// With an argument only what products of bf16 are taken for.
int main(int count, char **arguments) {
	(void)arguments;
	for (int64_t lanes = count > 1 ? 32 : 4; lanes <= 16; lanes *= 2) {
		convolutions(FFI_FLOAT32, lanes);
		convolutions(FFI_BF16, lanes);
		by_rows(lanes);
		updates(lanes);
	}
	shared = true;
	for (int bf16 = count > 1; bf16 < 2; bf16++) {
		if (prenas_products(bf16)) {
			products(bf16 ? FFI_BF16 : FFI_FLOAT32);
			attentions(bf16 ? FFI_BF16 : FFI_FLOAT32);
		}
	}
	if (prenas_amx()) {
		branches();
	}
	return 0;
}
