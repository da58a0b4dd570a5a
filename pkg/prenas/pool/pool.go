// Package pool puts a pool for large blocks under the malloc of the process. A program opts in by an import
// of no name, in its package main:
//
//	import _ "prenas/pkg/prenas/pool"
//
// XLA asks malloc for all memory of a program anew in each run, gigabytes of it, and the kernel clears those
// pages each time. With the pool they stay with the process, in huge pages: a train step takes a fifth less time
// (docs/speed.md; docs/speed-log.md has other allocators beside it). The program prenas has it. A model that only classifies gains little, and a program
// that keeps many large blocks of its own through cgo pays for it: so this is the program's choice, not
// package prenas's.
//
// On Linux with glibc and cgo, malloc, free and their family are then defined in the executable, which cannot be
// linked statically. Blocks of 64 KB and more, of any library in the process, lie in a range of addresses that is
// reserved at its start: four times the machine's memory in addresses, none in pages. The environment variable
// PRENAS_SYSTEM_MALLOC, set to anything, leaves all to glibc, as does a limit of address space (ulimit -v).
// On other systems, and in builds without cgo, the package does nothing.
package pool

import (
	"prenas/internal/engine"
	"prenas/internal/memory"
)

func init() { engine.UseAllocator(memory.Pool{}) }
