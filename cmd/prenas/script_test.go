package main

import (
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strconv"
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
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"pictures": pictures},
		Setup: func(e *testscript.Env) error {
			// Scripts have a home of their own, but share the cached plug-in.
			e.Setenv("XDG_CACHE_HOME", cache)
			e.Setenv("FIXTURE", fixture)
			e.Setenv("HOME", e.WorkDir)
			return nil
		},
	})
}

// pictures DIR N is a command of scripts: N pictures of each of two classes, DIR/circle
// and DIR/square, in colours of their own.
func pictures(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: pictures DIR N")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	const size, radius = 20, 6
	for class, inside := range map[string]func(x, y int) bool{
		"circle": func(x, y int) bool { return x*x+y*y < radius*radius },
		"square": func(x, y int) bool { return max(x, -x, y, -y) < radius },
	} {
		dir := filepath.Join(ts.MkAbs(args[0]), class)
		ts.Check(os.MkdirAll(dir, 0o755))
		for i := range n {
			img := image.NewNRGBA(image.Rect(0, 0, size, size))
			for y := range size {
				for x := range size {
					if inside(x-size/2, y-size/2) {
						img.Set(x, y, color.NRGBA{uint8(40 * i), 200, uint8(255 - 20*i), 255})
					}
				}
			}
			file, err := os.Create(filepath.Join(dir, fmt.Sprintf("%d.png", i)))
			ts.Check(err)
			ts.Check(png.Encode(file, img))
			ts.Check(file.Close())
		}
	}
}
