package memory

import (
	"os"
	"strings"
)

// Pool is the pool of the process, or nothing where there is none. It is an engine.Allocator.
type Pool struct{}

// Trim gives the pages of freed blocks back to the kernel, for the next block to be touched anew.
// It takes milliseconds. Call it after work that leaves much behind and comes seldom, such as compiling a program.
func (Pool) Trim() { trim() }

// HugePages tells whether large blocks lie in huge pages: there is the pool, and the
// kernel has not been told never to make them.
func (Pool) HugePages() bool {
	setting, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/enabled")
	return err == nil && pooled() && !strings.Contains(string(setting), "[never]")
}
