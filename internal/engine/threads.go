package engine

import (
	"os"
	"runtime"
	"strconv"
)

// threadsEnv is how XLA is told how many threads a CPU has; it has no other way.
const threadsEnv = "PJRT_NPROC"

// SetThreads says how many threads of a CPU share the work of programs, of engines that are opened later. Without
// it there are as many as this process may run at once: the processors of its affinity, fewer where its cgroup has a quota.
func SetThreads(n int) error { return os.Setenv(threadsEnv, strconv.Itoa(n)) }

// tellThreads tells XLA the default, until restore is called, where nobody has set another: by itself it knows of no quota.
func tellThreads() (restore func() error, err error) {
	if _, set := os.LookupEnv(threadsEnv); set {
		return func() error { return nil }, nil
	}
	return func() error { return os.Unsetenv(threadsEnv) }, SetThreads(runtime.GOMAXPROCS(0))
}
