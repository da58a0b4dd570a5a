package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets scripts run this very binary as prenas.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"prenas": func() { os.Exit(run()) }})
}

// TestScripts runs the command-line specifications in testdata/script: what is
// typed, what is printed where, and the exit code.
func TestScripts(t *testing.T) {
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	fixture := os.Getenv("PRENAS_FIXTURE")
	if fixture == "" {
		fixture = filepath.Join(root, "testdata", "micro")
	}
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			// Scripts have a home of their own, but share the cached plug-in.
			e.Setenv("XDG_CACHE_HOME", cache)
			e.Setenv("FIXTURE", fixture)
			e.Setenv("HOME", e.WorkDir)
			return nil
		},
	})
}
