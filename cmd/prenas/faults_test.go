//go:build linux && amd64

package main

import (
	"errors"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"prenas/internal/faults"
)

func init() { programs[faults.TracedName] = faults.BecomeTraced }

// A few of the faults that go run ./bench/faults tries, of every command that is quick.
func TestNothingIsLostWhateverFails(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	program, err := exec.LookPath("prenas")
	if err != nil {
		t.Fatal(err)
	}
	c := faults.Campaign{Program: program, Kinds: faults.AllKinds, Sample: 48, At: -1}
	var report strings.Builder
	failed, err := c.Run(t.Context(), &report)
	if errors.Is(err, syscall.EPERM) {
		t.Skip("processes may not be traced here:", err)
	}
	if err != nil || failed > 0 {
		t.Errorf("%v\n%s", err, report.String())
	}
	t.Log(report.String())
}
