package machine_test

import (
	"errors"
	"math"
	"os"
	"os/exec"
	"strings"
	"testing"

	"prenas/internal/machine"
)

func TestMemory(t *testing.T) {
	if os.Getenv("PRENAS_TEST_LIMIT") != "" {
		os.Stdout.WriteString(machine.Bytes(float64(machine.Memory())))
		return
	}
	if m := machine.Memory(); m < 64<<20 {
		t.Errorf("this machine has %d bytes", m)
	}
	c := exec.Command("sh", "-c", `ulimit -v 4000000 && exec "$0" -test.run '^TestMemory$'`, os.Args[0])
	c.Env = append(os.Environ(), "PRENAS_TEST_LIMIT=1")
	if text, err := c.Output(); err != nil || !strings.HasPrefix(string(text), "4.1 GB") {
		t.Errorf("with a limit of 4096 MB: %s, %v", text, err)
	}
}

func TestNeed(t *testing.T) {
	if err := machine.Need(1e6, "it", "take less"); err != nil {
		t.Error(err)
	}
	for _, bytes := range []float64{1e18, math.Inf(1)} {
		if err := machine.Need(bytes, "it", "take less"); !errors.Is(err, machine.ErrMemory) || !strings.Contains(err.Error(), ": take less") {
			t.Error(err)
		}
	}
}
