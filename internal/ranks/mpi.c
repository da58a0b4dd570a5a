//go:build linux && cgo

#include "mpi.h"

#include <dlfcn.h>
#include <signal.h>
#include <string.h>

// Handles are pointers in Open MPI and in the ABI of MPI 5, ints in MPICH. As arguments both go in one register.
typedef uintptr_t handle;

static struct {
	void *library;
	int (*init_thread)(int *, char ***, int, int *);
	int (*finalize)(void);
	int (*abort)(handle, int);
	int (*comm_rank)(handle, int *);
	int (*comm_size)(handle, int *);
	int (*version)(char *, int *);
	int (*bcast)(void *, int, handle, int, handle);
	int (*allgather)(const void *, int, handle, void *, int, handle, handle);
	int (*alltoallv)(const void *, const int *, const int *, handle, void *, const int *, const int *, handle, handle);
	int (*split)(handle, int, int, handle *);
	int (*send)(const void *, int, handle, int, int, handle);
	int (*recv)(void *, int, handle, int, int, handle, void *);
	int (*iprobe)(int, int, handle, int *, void *);
	handle world, byte, number; // number: of 32 bits
	handle all, host;           // the ranks in our order, and those of this one's host
	int rank, size, tells_late;
	const char *file;
	char name[8193]; // MPI_MAX_LIBRARY_VERSION_STRING is 8192 at most
} mpi;

// Greater than MPI_Status of every ABI, which is not read.
static char status[256];

// MPI_Init_thread, with the process's signals as they were before. MPICH takes SIGUSR1, and hands it on to Go's own handler on
// whatever stack the thread has: on a goroutine's Go ends the process. signal.Notify does not take it back, since Go holds
// that its handler is there.
static int init(void) {
	enum { SERIALIZED = 2, MULTIPLE = 3 }; // the same in all, and 2 and 3 are in this order
	int provided = 0;
	struct sigaction before[NSIG];
	for (int s = 1; s < NSIG; s++) {
		sigaction(s, NULL, &before[s]); // fails for those of libc, as below
	}
	int code = mpi.init_thread(NULL, NULL, MULTIPLE, &provided);
	for (int s = 1; s < NSIG; s++) {
		sigaction(s, &before[s], NULL);
	}
	return code;
}

const char *prenas_mpi_open(const char *const *files, int count) {
	void *library = NULL;
	for (int i = 0; i < count && !library; i++) {
		// Open MPI's own plug-ins look for its symbols among the global ones.
		library = dlopen(files[i], RTLD_NOW | RTLD_GLOBAL);
		mpi.file = files[i];
	}
	if (!library) {
		return count == 1 ? dlerror() : "no MPI library is installed";
	}
	const struct { void *to; const char *name; } wanted[] = {
		{&mpi.init_thread, "MPI_Init_thread"}, {&mpi.finalize, "MPI_Finalize"}, {&mpi.abort, "MPI_Abort"},
		{&mpi.comm_rank, "MPI_Comm_rank"}, {&mpi.comm_size, "MPI_Comm_size"}, {&mpi.version, "MPI_Get_library_version"},
		{&mpi.bcast, "MPI_Bcast"}, {&mpi.allgather, "MPI_Allgather"}, {&mpi.alltoallv, "MPI_Alltoallv"},
		{&mpi.split, "MPI_Comm_split"},
		{&mpi.send, "MPI_Send"}, {&mpi.recv, "MPI_Recv"}, {&mpi.iprobe, "MPI_Iprobe"},
	};
	for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
		if (!(*(void **)wanted[i].to = dlsym(library, wanted[i].name))) {
			return "the library lacks functions of MPI";
		}
	}
	mpi.library = library;
	mpi.tells_late = 1;
	if ((mpi.world = (handle)dlsym(library, "ompi_mpi_comm_world"))) { // Open MPI
		mpi.tells_late = 0;
		mpi.byte = (handle)dlsym(library, "ompi_mpi_byte"), mpi.number = (handle)dlsym(library, "ompi_mpi_float");
	} else if (strstr(mpi.file, "mpi_abi")) { // MPI 5.0, its appendix on the ABI
		mpi.world = 0x101, mpi.byte = 0x247, mpi.number = 0x210;
	} else { // MPICH's mpi.h, and what has its ABI
		mpi.world = 0x44000000, mpi.byte = 0x4c00010d, mpi.number = 0x4c00040a;
	}
	if (init()) {
		return "MPI_Init_thread failed";
	}
	int length = 0;
	if (mpi.version(mpi.name, &length) || mpi.comm_rank(mpi.world, &mpi.rank) || mpi.comm_size(mpi.world, &mpi.size)) {
		return "MPI does not say which rank this is";
	}
	mpi.name[strcspn(mpi.name, "\n")] = 0;
	mpi.all = mpi.world;
	return NULL;
}

int prenas_mpi_arrange(int place, int host) {
	handle all = 0; // of which MPICH writes an int
	int code = mpi.split(mpi.world, 0, place, &all);
	if (code || (code = mpi.split(all, host, place, &mpi.host))) {
		return code;
	}
	mpi.all = all;
	return mpi.comm_rank(all, &mpi.rank);
}

int prenas_mpi_rank(void) { return mpi.rank; }
int prenas_mpi_size(void) { return mpi.size; }
const char *prenas_mpi_name(void) { return mpi.name; }
const char *prenas_mpi_file(void) { return mpi.file; }

int prenas_mpi_broadcast(void *bytes, int count, int from) { return mpi.bcast(bytes, count, mpi.byte, from, mpi.all); }

int prenas_mpi_gather(const void *own, void *all, int count) {
	return mpi.allgather(own, count, mpi.byte, all, count, mpi.byte, mpi.all);
}

int prenas_mpi_exchange(int host, const float *from, const int *sent, const int *sent_at, float *to, const int *got, const int *got_at) {
	return mpi.alltoallv(from, sent, sent_at, mpi.number, to, got, got_at, mpi.number, host ? mpi.host : mpi.all);
}

int prenas_mpi_send(const void *bytes, int count, int to, int tag) { return mpi.send(bytes, count, mpi.byte, to, tag, mpi.all); }

int prenas_mpi_arrived(int from, int tag, int *has) { return mpi.iprobe(from, tag, mpi.all, has, status); }

int prenas_mpi_receive(void *bytes, int count, int from, int tag) {
	return mpi.recv(bytes, count, mpi.byte, from, tag, mpi.all, status);
}

void prenas_mpi_abort(int code) { mpi.abort(mpi.world, code); }

void prenas_mpi_close(void) {
	mpi.finalize();
	// MPICH, from 4.2 on, tells the launcher only when the library ends, by atexit. Go ends a process without, which the
	// launcher takes for a crash.
	if (mpi.tells_late) {
		dlclose(mpi.library);
	}
}
