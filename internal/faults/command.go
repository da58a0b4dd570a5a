//go:build linux && amd64

package faults

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Command is a prenas command that is to survive every fault.
type Command struct {
	Name string
	// Needs are commands that make its inputs, given in the same folder before it.
	Needs []string
	Line  string // the command itself, without the program
	// Again is how it goes on if Line is refused, because what it began is there.
	Again string
	// Looks are commands that a user may give between a fault and the next attempt. They
	// may say that there is nothing to see, and must not crash or hang.
	Looks []string
	// Check is the command that finds nothing damaged after each attempt that ended well.
	Check string
	// Unlike are files that no two runs write alike, for they hold times: paths, or *.ext.
	Unlike []string
	// Slow commands are tried at one operation of each place alone.
	Slow bool
}

const (
	search = "search --space space.yaml --out candidates.json"
	train  = "train --candidates candidates.json --data folder:pictures --recipe recipe.yaml --out run"
	export = "export run --arch all --out models"
)

// Commands are all commands of prenas that write something, and some that only read.
var Commands = []Command{
	{Name: "search", Check: "check candidates.json", Line: search + " --reduced reduced.yaml", Looks: []string{"explain --candidates candidates.json"}},
	{Name: "shortlist", Check: "check candidates.json", Line: search + " --data folder:many --proxy token_entropy --shortlist 2", Looks: []string{"explain --candidates candidates.json"}},
	{Name: "train", Check: "check run", Needs: []string{search}, Line: train, Again: "train --resume --out run",
		Looks: []string{"watch run --once", "report run", "eval run", "export run --arch all --out seen"}, Unlike: []string{"run/timing.jsonl", "run/tb/*"}},
	{Name: "finetune", Check: "check tuned", Needs: []string{search, train}, Line: "finetune run --arch 0.0012 --data folder:others --recipe recipe.yaml --image-size 12 --out tuned",
		Again: "train --resume --out tuned", Looks: []string{"watch tuned --once"}, Unlike: []string{"tuned/timing.jsonl", "tuned/tb/*"}},
	{Name: "quickstart", Check: "check quick", Line: "quickstart --small --data folder:many --out quick", Looks: []string{"report quick"}, Unlike: []string{"quick/timing.jsonl", "quick/tb/*", "quick/report.html"}, Slow: true},
	{Name: "audit", Check: "check benchmark.jsonl", Line: "audit --space wider.yaml --data folder:pictures --recipe recipe.yaml --archs 3 --seeds 2 --resamples 20 --out benchmark.jsonl",
		Looks: []string{"audit --benchmark benchmark.jsonl --resamples 20"}, Unlike: []string{"benchmark.jsonl"}},
	{Name: "eval", Check: "check run", Needs: []string{search, train}, Line: "eval run", Looks: []string{"report run", export}},
	{Name: "recalibrate", Check: "check run", Needs: []string{strings.ReplaceAll(search, "space.yaml", "conv.yaml"), train}, Line: "eval run --recalibrate 2", Looks: []string{export}},
	{Name: "report", Check: "check run", Needs: []string{search, train, "eval run"}, Line: "report run", Unlike: []string{"run/report.html"}},
	{Name: "export", Check: "check models", Needs: []string{search, train, "eval run"}, Line: export, Looks: []string{"predict models/e8-h2-r2.safetensors pictures/test"}},
	{Name: "onnx", Check: "check model.onnx", Needs: []string{search, train, "eval run"}, Line: "export run --format onnx --arch 0.0012 --out model.onnx"},
	{Name: "import", Check: "check imported.safetensors", Needs: []string{search, train, export}, Line: "import models/e8-h2-r2.safetensors --head-dim 4 --out imported.safetensors", Looks: []string{"spaces describe imported.space.yaml"}},
	{Name: "pack", Check: "check packed", Line: "data pack folder:pictures --size 6 --out packed", Looks: []string{"data info pack:packed"}},
	{Name: "info", Line: "data info folder:pictures --sheet sheet.png"},
	{Name: "check", Line: "data check folder:pictures"},
	{Name: "latency", Check: "check cache", Line: "spaces latency space.yaml --batch 2", Unlike: []string{"cache/prenas/latency/*"}},
	{Name: "predict", Needs: []string{search, train, export}, Line: "predict models/e8-h2-r2.safetensors pictures/test"},
	{Name: "explain", Needs: []string{search}, Line: "explain --candidates candidates.json"},
}

// spaceFile has a few architectures of a few thousand parameters; convFile is its like for
// convolutions, and widerFile has architectures that proxies can tell apart. recipeFile ends after 6 updates, of which each is written down.
const (
	spaceFile = `SUPERNET: {EMBED_DIM: 8, DEPTH: 1, NUM_HEADS: 2, MLP_RATIO: 2}
SEARCH_SPACE: {EMBED_DIM: [8], DEPTH: [1], NUM_HEADS: [1, 2], MLP_RATIO: [1, 2]}
MODEL: {IMAGE_SIZE: 8, PATCH_SIZE: 4, NUM_CLASSES: 2, HEAD_DIM: 4, MAX_RELATIVE_POSITION: 2}
INTERVAL: {MIN: 0.0008, MAX: 0.0012, STEP: 0.0002}
`
	convFile = `FAMILY: conv
SUPERNET: {DEPTH: 1, KERNEL: 3, EXPAND: 3}
SEARCH_SPACE: {DEPTH: [1], KERNEL: [3], EXPAND: [2, 3]}
MODEL: {IMAGE_SIZE: 8, CHANNELS: 3, NUM_CLASSES: 2, STEM: 8, WIDTH: [8], STRIDE: [2], SQUEEZE_EXCITE: [false], H_SWISH: [true], FEATURES: 8, MIX: 8}
INTERVAL: {MIN: 0, MAX: 0.012, STEP: 0.004}
`
	widerFile = `SUPERNET: {EMBED_DIM: 24, DEPTH: 2, NUM_HEADS: 2, MLP_RATIO: 2}
SEARCH_SPACE: {EMBED_DIM: [16, 24], DEPTH: [1, 2], NUM_HEADS: [1, 2], MLP_RATIO: [1, 2]}
MODEL: {IMAGE_SIZE: 16, PATCH_SIZE: 8, NUM_CLASSES: 2, HEAD_DIM: 8, MAX_RELATIVE_POSITION: 2}
INTERVAL: {MIN: 0, MAX: 0.01, STEP: 0.01}
`
	recipeFile = `epochs: 2
batch: 4
holdout: 0.25
log_every: 1
save_every: 2
keep: 1
eval_every: 1
optimizer: {lr: 0.01}
`
)

// args are the arguments of a command line. Pure Go needs no plug-in and compiles nothing, so
// a start takes hundredths of a second; the files are written by the same code for every engine.
func args(line string) []string { return append(strings.Fields(line), "--backend", "go") }

// draw makes a folder with what a user has before the first command.
func (c *Command) draw(dir string) error {
	for name, text := range map[string]string{"space.yaml": spaceFile, "conv.yaml": convFile, "wider.yaml": widerFile, "recipe.yaml": recipeFile} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	for _, set := range []struct {
		name    string
		classes []string
		count   int
	}{
		{"pictures/train", []string{"circle", "square"}, 8}, {"pictures/test", []string{"circle", "square"}, 4},
		{"others/train", []string{"dark", "light", "plain"}, 6}, {"many/train", []string{"circle", "square"}, 64},
	} {
		if strings.HasPrefix(set.name, "pictures") || strings.Contains(c.Line, "folder:"+filepath.Dir(set.name)) {
			if err := pictures(filepath.Join(dir, set.name), set.classes, set.count); err != nil {
				return err
			}
		}
	}
	return os.Mkdir(filepath.Join(dir, "tmp"), 0o755)
}

// need gives the commands that make the inputs.
func (c *Command) need(ctx context.Context, program, dir string) error {
	for _, line := range c.Needs {
		run := exec.CommandContext(ctx, program, args(line)...)
		run.Dir, run.Env = dir, environment(dir)
		if text, err := run.CombinedOutput(); err != nil {
			return fmt.Errorf("prenas %s: %w\n%s", line, err, text)
		}
	}
	return nil
}

// environment of every start in a folder: what goes to the user's folders goes there too.
func environment(dir string) []string {
	return []string{"HOME=" + dir, "XDG_CACHE_HOME=" + filepath.Join(dir, "cache"), "TMPDIR=" + filepath.Join(dir, "tmp"), "PATH=" + os.Getenv("PATH")}
}

// pictures draws so many of each class: a bar at a place and in a colour of the class's own.
func pictures(dir string, classes []string, count int) error {
	const size = 12
	for class, name := range classes {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			return err
		}
		for i := range count {
			img := image.NewNRGBA(image.Rect(0, 0, size, size))
			for p := range size * size {
				x, y := p%size, p/size
				c := color.NRGBA{R: uint8(7 * i), G: 60, B: uint8(90 * class), A: 255}
				if x >= 4*class && x < 4*class+4 && y >= i%6 {
					c = color.NRGBA{R: 250, G: uint8(200 - 60*class), B: uint8(5 * i), A: 255}
				}
				img.SetNRGBA(x, y, c)
			}
			file, err := os.Create(filepath.Join(dir, name, fmt.Sprintf("%02d.png", i)))
			if err != nil {
				return err
			}
			if err := png.Encode(file, img); err != nil {
				return err
			}
			if err := file.Close(); err != nil {
				return err
			}
		}
	}
	return nil
}
