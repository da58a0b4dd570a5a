// Package memory keeps XLA's memory on a CPU.
//
// A program that imports it, through prenas/pkg/prenas/pool, gets a pool under malloc (pool.c, which says why and how): blocks of
// 64 KB and more come from there, in huge pages where the kernel has them, and their pages stay for the
// next step of a training until Pool.Trim gives them back. It needs Linux, glibc and
// cgo; elsewhere, or with PRENAS_SYSTEM_MALLOC set, malloc is the system's and nothing here does anything.
package memory
