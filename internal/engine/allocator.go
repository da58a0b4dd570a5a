package engine

// Allocator is what the memory of a CPU's programs comes from: the malloc of the process, which XLA asks
// for everything. The engine knows no allocator; who owns the process chooses one (package prenas/pkg/prenas/pool).
type Allocator interface {
	// Trim gives back to the kernel the pages of what was freed. It is called after work that leaves
	// much behind and comes seldom, such as compiling a program.
	Trim()
	// HugePages tells whether large blocks lie in huge pages.
	HugePages() bool
}

var allocator Allocator = systemAllocator{}

// UseAllocator tells the engine whose malloc the process has. Call it from init or before the first Open;
// without it, malloc is the system's.
func UseAllocator(a Allocator) { allocator = a }

// HugePages tells whether large blocks of the process's allocator lie in huge pages.
func HugePages() bool { return allocator.HugePages() }

// systemAllocator is the system's malloc, which looks after itself.
type systemAllocator struct{}

func (systemAllocator) Trim()           {}
func (systemAllocator) HugePages() bool { return false }
