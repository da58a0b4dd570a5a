// Package pytools gives tests a Python with packages, to compare with what the field
// uses. Nothing but tests needs Python's packages.
package pytools

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"prenas/internal/fsys"
)

// patience with pip: an index that sends nothing must not end the whole test run.
const patience = 5 * time.Minute

// Python returns the path of a Python interpreter that has the packages of a pip
// requirements text, every one of them, dependencies too, with its version and the
// SHA-256 of its wheels:
//
//	numpy==2.4.6 --hash=sha256:89cd...
//
// The environment is made once in the user's cache folder. Where Python or a package
// cannot be had the test is skipped, saying why, or fails if PRENAS_NEED_PYTHON is 1,
// as in .ci/run; a wheel of another checksum always fails it.
func Python(tb testing.TB, requirements string) string {
	tb.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		tb.Fatalf("no cache folder: %v; set XDG_CACHE_HOME", err)
	}
	sum := sha256.Sum256([]byte(requirements))
	dir := filepath.Join(cache, "prenas", "python", hex.EncodeToString(sum[:8]))
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		tb.Fatal(err)
	}
	// Tests of several packages run at once.
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	unlock, err := fsys.Lock(ctx, dir+".lock")
	if err != nil {
		tb.Fatal(err)
	}
	defer unlock()
	python, ready := filepath.Join(dir, "bin", "python3"), filepath.Join(dir, "ready")
	if _, err := os.Stat(ready); err == nil {
		return python
	}
	if err := os.RemoveAll(dir); err != nil {
		tb.Fatal(err)
	}
	if text, err := exec.CommandContext(ctx, "python3", "-m", "venv", dir).CombinedOutput(); err != nil {
		skip(tb, "python3 with venv cannot be had: %v: %s", err, lastLine(text))
	}
	list := filepath.Join(dir, "requirements.txt")
	if err := os.WriteFile(list, []byte(requirements), 0o644); err != nil {
		tb.Fatal(err)
	}
	text, err := exec.CommandContext(ctx, python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
		"--no-deps", "--only-binary=:all:", "--require-hashes", "-r", list).CombinedOutput()
	switch {
	case err != nil && strings.Contains(string(text), "DO NOT MATCH THE HASHES"):
		tb.Fatalf("a Python package is not the pinned one:\n%s", text)
	case err != nil:
		skip(tb, "pip cannot get the Python packages of this test: %v: %s", err, lastLine(text))
	}
	if err := os.WriteFile(ready, nil, 0o644); err != nil {
		tb.Fatal(err)
	}
	return python
}

// skip says why there is no Python.
func skip(tb testing.TB, format string, args ...any) {
	tb.Helper()
	if os.Getenv("PRENAS_NEED_PYTHON") == "1" {
		tb.Fatalf(format, args...)
	}
	tb.Skipf(format, args...)
}

// Run runs a Python program with bytes on its standard input and returns its standard
// output. A program that fails ends the test.
func Run(tb testing.TB, python, program string, input []byte) []byte {
	tb.Helper()
	c := exec.CommandContext(tb.Context(), python, "-c", program)
	var out, complaint bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = bytes.NewReader(input), &out, &complaint
	if err := c.Run(); err != nil {
		tb.Fatalf("Python: %v\n%s", err, complaint.String())
	}
	return out.Bytes()
}

func lastLine(text []byte) string {
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[len(lines)-1]
}
