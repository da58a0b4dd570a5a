// MPI, loaded when it is needed. Calls are in pieces that fit an int.
#ifndef PRENAS_MPI_H
#define PRENAS_MPI_H

#include <stdint.h>

// Loads the first of count libraries that there is, and joins the other processes. NULL, or why not:
// the message stays for ever.
const char *prenas_mpi_open(const char *const *files, int count);
int prenas_mpi_rank(void);
int prenas_mpi_size(void);
// Puts this rank into its place among all, and together with the ranks of the same host: 0, or MPI's error code.
int prenas_mpi_arrange(int place, int host);
const char *prenas_mpi_name(void); // of the library, as it says itself
const char *prenas_mpi_file(void); // that was loaded

// Each is 0, or MPI's error code. Counts are of bytes, below 2^31.
int prenas_mpi_broadcast(void *bytes, int count, int from);
int prenas_mpi_gather(const void *own, void *all, int count);     // count of each rank, to all ranks
// Numbers to and from each rank of this one's host, or of all: how many, and from which on.
int prenas_mpi_exchange(int host, const float *from, const int *sent, const int *sent_at, float *to, const int *got, const int *got_at);
int prenas_mpi_send(const void *bytes, int count, int to, int tag);
int prenas_mpi_arrived(int from, int tag, int *has);
int prenas_mpi_receive(void *bytes, int count, int from, int tag);

void prenas_mpi_abort(int code);
void prenas_mpi_close(void);
#endif
