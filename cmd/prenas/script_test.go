package main

import (
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/testscript"

	"prenas/internal/rng"
)

// programs that this very binary is, by the name that it is started with.
var programs = map[string]func(){"prenas": func() { os.Exit(run()) }}

func TestMain(m *testing.M) { testscript.Main(m, programs) }

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
	group := memoryGroup(t)
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"pictures": pictures, "appears": appears, "narrow": narrow, "dots": dots, "flip": flip},
		Condition: func(name string) (bool, error) {
			if name != "memory-group" {
				return false, fmt.Errorf("unknown condition %q", name)
			}
			return group != "", nil
		},
		Setup: func(e *testscript.Env) error {
			// Scripts have a home of their own, but share the cached plug-in.
			e.Setenv("XDG_CACHE_HOME", cache)
			e.Setenv("FIXTURE", fixture)
			e.Setenv("PRETRAINED", filepath.Join(root, "internal", "job", "testdata", "pretrained"))
			e.Setenv("MEMORY_GROUP", group)
			e.Setenv("PTH", filepath.Join(root, "internal", "tensorfile", "testdata", "pth"))
			e.Setenv("HOME", e.WorkDir)
			return nil
		},
	})
}

// memoryGroup makes a control group whose memory can be limited, for the time of the test,
// and returns its folder, or nothing where that is not allowed.
func memoryGroup(t *testing.T) string {
	for _, root := range []string{"/sys/fs/cgroup/memory", "/sys/fs/cgroup"} { // version 1, version 2
		dir, err := os.MkdirTemp(root, "prenas-test-")
		if err != nil {
			continue
		}
		t.Cleanup(func() { _ = os.Remove(dir) })
		for _, file := range []string{"memory.limit_in_bytes", "memory.max"} {
			if _, err := os.Stat(filepath.Join(dir, file)); err == nil {
				return dir
			}
		}
	}
	return ""
}

// flip FILE is a command of scripts: it changes a bit in the middle of a file, or changes it
// back.
func flip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: flip FILE")
	}
	path := ts.MkAbs(args[0])
	text, err := os.ReadFile(path)
	ts.Check(err)
	text[len(text)/2] ^= 1
	ts.Check(os.WriteFile(path, text, 0o644))
}

// appears FILE is a command of scripts: it waits until something was written to FILE.
func appears(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: appears FILE")
	}
	const atMost = time.Minute
	for began := time.Now(); time.Since(began) < atMost; time.Sleep(time.Millisecond) {
		if info, err := os.Stat(ts.MkAbs(args[0])); err == nil && info.Size() > 0 {
			return
		}
	}
	ts.Fatalf("%s did not appear within %s", args[0], atMost)
}

// dots DIR CLASSES N WxH is a command of scripts: N pictures of so many pixels of each class c0000, c0001, ...,
// each class of one colour, but for some noise.
func dots(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: dots DIR CLASSES N WxH")
	}
	var classes, n, width, height int
	_, err := fmt.Sscanf(strings.Join(args[1:], " "), "%d %d %dx%d", &classes, &n, &width, &height)
	ts.Check(err)
	r := rng.New(1, "dots "+args[0])
	for class := range classes {
		dir := filepath.Join(ts.MkAbs(args[0]), fmt.Sprintf("c%04d", class))
		ts.Check(os.MkdirAll(dir, 0o755))
		for i := range n {
			img := image.NewNRGBA(image.Rect(0, 0, width, height))
			for k := range width * height {
				level := func(v int) uint8 { return uint8(v*25%200 + r.IntN(40)) }
				img.Set(k%width, k/width, color.NRGBA{level(class), level(class / 8), level(class / 64), 255})
			}
			file, err := os.Create(filepath.Join(dir, fmt.Sprintf("%d.png", i)))
			ts.Check(err)
			ts.Check(png.Encode(file, img))
			ts.Check(file.Close())
		}
	}
}

// narrow is a command of scripts: what the last program printed has no line of more than 80
// columns, but for those that are one word, a name or a path.
func narrow(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: narrow")
	}
	for _, stream := range []string{"stdout", "stderr"} {
		for line := range strings.Lines(ts.ReadFile(stream)) {
			line = strings.TrimRight(line, "\n ")
			if utf8.RuneCountInString(line) > columns && strings.ContainsRune(strings.TrimSpace(line), ' ') {
				ts.Fatalf("%s has a line of %d columns: %s", stream, utf8.RuneCountInString(line), line)
			}
		}
	}
}

// pictures DIR N is a command of scripts: N pictures of each of two classes, DIR/circle
// (reddish) and DIR/square (bluish), of several sizes and places.
func pictures(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: pictures DIR N")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	const size = 24
	for _, class := range []string{"circle", "square"} {
		dir := filepath.Join(ts.MkAbs(args[0]), class)
		ts.Check(os.MkdirAll(dir, 0o755))
		for i := range n {
			img := image.NewNRGBA(image.Rect(0, 0, size, size))
			middleX, middleY, radius := size/2+i%3-1, size/2+i/3%3-1, 7+i%4
			for y := range size {
				for x := range size {
					c := color.NRGBA{uint8(30 + i%5), 40, 50, 255}
					switch dx, dy := x-middleX, y-middleY; {
					case class == "circle" && dx*dx+dy*dy <= radius*radius:
						c = color.NRGBA{uint8(255 - 10*(i%9)), uint8(40 + 10*(i%7)), 60, 255}
					case class == "square" && max(dx, -dx, dy, -dy) <= radius:
						c = color.NRGBA{60, uint8(40 + 10*(i%7)), uint8(255 - 10*(i%9)), 255}
					}
					img.Set(x, y, c)
				}
			}
			file, err := os.Create(filepath.Join(dir, fmt.Sprintf("%d.png", i)))
			ts.Check(err)
			ts.Check(png.Encode(file, img))
			ts.Check(file.Close())
		}
	}
}
