// Package rankstest starts programs by the launchers of MPI that a machine has.
package rankstest

import (
	"os"
	"os/exec"
	"strconv"
	"testing"
)

// NeedEnv set makes a test fail where a launcher is missing.
const NeedEnv = "PRENAS_NEED_MPI"

// Launcher is a mpirun.
type Launcher struct {
	Name    string // "openmpi" or "mpich"
	program string
}

// Each runs a test under every launcher that there is; it is skipped where there is none.
func Each(t *testing.T, test func(t *testing.T, l Launcher)) {
	t.Helper()
	for _, name := range []string{"openmpi", "mpich"} {
		t.Run(name, func(t *testing.T) { test(t, Find(t, name)) })
	}
}

// Find is the launcher of a name, as Debian has it.
func Find(t *testing.T, name string) Launcher {
	t.Helper()
	program, err := exec.LookPath("mpirun." + name)
	switch {
	case err == nil:
	case os.Getenv(NeedEnv) != "":
		t.Fatalf("there is no mpirun.%s: apt-get install openmpi-bin mpich", name)
	default:
		t.Skipf("there is no mpirun.%s: what several processes do is not tested", name)
	}
	return Launcher{name, program}
}

// Command starts n ranks of a program.
func (l Launcher) Command(n int, program string, args ...string) *exec.Cmd {
	given := []string{"-n", strconv.Itoa(n)}
	if l.Name == "openmpi" {
		given = append(given, "--oversubscribe", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1")
	}
	c := exec.Command(l.program, append(append(given, program), args...)...)
	c.Env = append(os.Environ(), "OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1")
	return c
}
