package engine

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// NoReexecEnv, when set, keeps Reexec from doing anything.
const NoReexecEnv = "PRENAS_NO_REEXEC"

// tunables of glibc's malloc: transparent huge pages for its memory, and
// thresholds so high that freed buffers are kept for the next step. XLA takes
// its buffers from malloc at every run of a program; without these, a quarter
// to a half of a train step on the CPU goes into page faults.
const tunables = "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=8589934592:glibc.malloc.trim_threshold=17179869184"

const tunablesEnv = "GLIBC_TUNABLES"

// Reexec replaces the process by itself, once, with huge pages for malloc,
// which glibc reads at the start of a process only. It does nothing where
// glibc does not offer them (before 2.35, other systems), where they are set
// already, or where PRENAS_NO_REEXEC is set. Call it first thing in main.
func Reexec() {
	if runtime.GOOS != "linux" || os.Getenv(NoReexecEnv) != "" || HugePages() || !glibcOffersHugePages() {
		return
	}
	executable, err := os.Executable()
	if err != nil {
		return
	}
	value := tunables
	if theirs := os.Getenv(tunablesEnv); theirs != "" {
		value = theirs + ":" + tunables
	}
	env := []string{tunablesEnv + "=" + value}
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, tunablesEnv+"=") {
			env = append(env, kv)
		}
	}
	// Exec returns only if it failed: then go on as we are.
	_ = syscall.Exec(executable, os.Args, env)
}

// HugePages tells whether the process was started with huge pages for malloc.
func HugePages() bool {
	return strings.Contains(os.Getenv(tunablesEnv), "glibc.malloc.hugetlb=")
}

// glibcOffersHugePages asks the system's own tool for glibc's version, which
// musl and other libraries do not have.
func glibcOffersHugePages() bool {
	out, err := exec.Command("getconf", "GNU_LIBC_VERSION").Output()
	if err != nil {
		return false
	}
	major, minor, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(string(out)), "glibc "), ".")
	if !ok {
		return false
	}
	a, errA := strconv.Atoi(major)
	b, errB := strconv.Atoi(minor)
	return errA == nil && errB == nil && (a > 2 || a == 2 && b >= 35)
}
