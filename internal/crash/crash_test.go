package crash_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"prenas/internal/crash"
)

const where = "PRENAS_TEST_PANIC_IN"

// TestMain is also the process that panics.
func TestMain(m *testing.M) {
	if os.Getenv(where) == "" {
		os.Exit(m.Run())
	}
	crash.Handle(func(why any, stack []byte) {
		fmt.Fprintf(os.Stderr, "told: %v\n%s", why, stack)
		os.Exit(70)
	})
	defer crash.Recover()
	if os.Getenv(where) == "main" {
		nothing()
	}
	crash.Go(nothing)
	select {}
}

func nothing() { _ = []int{}[len(os.Args)] }

// The handler ends the process, wherever it panics.
func TestPanicsEndAtTheHandler(t *testing.T) {
	for _, place := range []string{"main", "goroutine"} {
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), where+"="+place)
		text, _ := c.CombinedOutput()
		if code := c.ProcessState.ExitCode(); code != 70 || !strings.HasPrefix(string(text), "told: runtime error: index out of range") || !strings.Contains(string(text), "nothing") {
			t.Errorf("%s: exit code %d, %s", place, code, text)
		}
	}
}
