package memory

import (
	"os"
	"strings"
)

// HugePages tells whether large blocks lie in huge pages: there is the pool, and the
// kernel has not been told never to make them.
func HugePages() bool {
	setting, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/enabled")
	return err == nil && pooled() && !strings.Contains(string(setting), "[never]")
}
