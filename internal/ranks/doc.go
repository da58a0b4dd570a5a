// Package ranks joins the processes that a launcher of MPI started: mpirun, srun, an MPIJob.
//
// The engine is MPI, whose library is loaded when it is needed: none is needed to build or to
// run alone. It moves bytes and nothing else. What is added is added by the callers, in an
// order of their own, so that no sum depends on the MPI in use (package trainstep).
//
// Before each exchange the ranks meet: each tells rank 0 where it is, which answers when all
// are there. So a rank that is late, or somewhere else, is named, and none waits for ever.
package ranks
