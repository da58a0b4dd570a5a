//go:build linux && cgo

package kernels

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// No function reads or writes outside of its operands and results. (What they compute is tested
// where they are called, in package engine.)
func TestFunctionsStayInTheirMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("long: it compiles all functions anew, with sanitizers")
	}
	program := filepath.Join(t.TempDir(), "sanitize")
	sanitizers := []string{"-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize=alignment", "-fno-sanitize-recover=all"}
	build := func(output string, sources ...string) ([]byte, error) {
		return exec.Command("gcc", append(append([]string{"-o", output}, sanitizers...), append(sources, "-ldl", "-lpthread", "-lm")...)...).CombinedOutput()
	}
	empty := filepath.Join(t.TempDir(), "empty.c")
	if err := os.WriteFile(empty, []byte("int main(void) { return 0; }\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if output, err := build(program, empty); err != nil {
		t.Skipf("gcc has no sanitizers here: %v: %s", err, output)
	}
	sources, err := filepath.Glob("*.c")
	if err != nil {
		t.Fatal(err)
	}
	if output, err := build(program, append(sources, "testdata/sanitize.c")...); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	if output, err := exec.Command(program).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	if AMX() != "" {
		return
	}
	without := exec.Command(program, "bf16")
	without.Env = append(os.Environ(), "PRENAS_NO_AMX=1")
	if output, err := without.CombinedOutput(); err != nil {
		t.Fatalf("without AMX: %v: %s", err, output)
	}
}
