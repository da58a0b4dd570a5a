//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"prenas/internal/ranks"
	"prenas/internal/ranks/rankstest"
	"prenas/internal/rng"
	"prenas/internal/rundir"
)

// rankSpaces are compiled in a second.
var rankSpaces = map[string]string{
	"vit": `
SUPERNET: {EMBED_DIM: 16, DEPTH: 2, NUM_HEADS: 2, MLP_RATIO: 2}
SEARCH_SPACE: {EMBED_DIM: [8, 16], DEPTH: [1, 2], NUM_HEADS: [1, 2], MLP_RATIO: [1, 2]}
MODEL: {IMAGE_SIZE: 8, PATCH_SIZE: 4, CHANNELS: 3, NUM_CLASSES: 2, HEAD_DIM: 4, MAX_RELATIVE_POSITION: 2}
INTERVAL: {MIN: 0, MAX: 0.01, STEP: 0.0035}
`,
	"conv": `
FAMILY: conv
SUPERNET: {DEPTH: 1, KERNEL: 5, EXPAND: 3}
SEARCH_SPACE: {DEPTH: [1], KERNEL: [3, 5], EXPAND: [2, 3]}
MODEL: {IMAGE_SIZE: 16, CHANNELS: 3, NUM_CLASSES: 2, STEM: 8, WIDTH: [8], STRIDE: [2], SQUEEZE_EXCITE: [true], H_SWISH: [true], FEATURES: 8, MIX: 8}
INTERVAL: {MIN: 0, MAX: 0.012, STEP: 0.012}
`,
}

// bench is a folder with images, spaces and candidates, where prenas runs on one or several ranks.
type bench struct {
	*testing.T
	dir, program string
	launcher     rankstest.Launcher
	hosts        string // on which the ranks are held to be, see ranks.HostsEnv
	pureGo       bool   // without XLA, which compiles for seconds in every process: for what ranks agree on, not what they compute
}

func newBench(t *testing.T, l rankstest.Launcher) *bench {
	t.Helper()
	if testing.Short() {
		t.Skip("long: several processes search and train")
	}
	t.Parallel() // ranks often wait, for one another or for what a test does to them
	program, err := exec.LookPath("prenas")
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{T: t, dir: t.TempDir(), program: program, launcher: l}
	r := rng.New(7, "pictures")
	for _, part := range []struct {
		name  string
		count int
	}{{"train", 32}, {"test", 7}} {
		for class := range 2 {
			for i := range part.count {
				img := image.NewRGBA(image.Rect(0, 0, 12, 12))
				for k := range 12 * 12 {
					img.Set(k%12, k/12, color.RGBA{uint8(100*class + r.IntN(150)), uint8(r.IntN(256)), 9, 255})
				}
				var text bytes.Buffer
				if err := png.Encode(&text, img); err != nil {
					t.Fatal(err)
				}
				b.write(fmt.Sprintf("pictures/%s/%d/%d.png", part.name, class, i), text.String())
			}
		}
	}
	return b
}

func (b *bench) write(name, text string) {
	b.Helper()
	path := filepath.Join(b.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		b.Fatal(err)
	}
}

// file of a bench's folder.
func (b *bench) file(name ...string) string {
	b.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{b.dir}, name...)...))
	if err != nil {
		b.Fatal(err)
	}
	return string(text)
}

func (b *bench) search(space string) {
	b.Helper()
	b.write(space+".yaml", rankSpaces[space])
	if text, err := b.start(1, "search", "--space", space+".yaml", "--out", space+".json").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, text)
	}
}

// start makes a command of prenas on n ranks.
func (b *bench) start(n int, args ...string) *exec.Cmd {
	if b.pureGo {
		args = append(slices.Clone(args), "--backend", "go")
	}
	c := exec.Command(b.program, args...)
	c.Env = os.Environ()
	if n > 1 {
		c = b.launcher.Command(n, b.program, args...)
		c.Env = append(c.Env, ranks.HostsEnv+"="+b.hosts)
	}
	c.Dir = b.dir
	return c
}

func (b *bench) run(n int, args ...string) (string, error) {
	text, err := b.start(n, args...).CombinedOutput()
	return string(text), err
}

func (b *bench) train(space, out string, more ...string) []string {
	return append([]string{"train", "--candidates", space + ".json", "--data", "folder:pictures", "--recipe", "recipe.yaml", "--seed", "3", "--out", out}, more...)
}

func (b *bench) must(n int, args ...string) string {
	b.Helper()
	text, err := b.run(n, args...)
	if err != nil {
		b.Fatalf("%d ranks, %v: %v\n%s", n, args, err, text)
	}
	return text
}

// same compares metrics and the newest checkpoint of two runs.
func (b *bench) same(one, other string) {
	b.Helper()
	newest := slices.Max(b.steps(one))
	for _, name := range []string{rundir.MetricsFile, filepath.Join(rundir.CheckpointsDir, fmt.Sprintf("step-%d.safetensors", newest))} {
		x, err := os.ReadFile(filepath.Join(b.dir, one, name))
		if err != nil {
			b.Fatal(err)
		}
		if y, err := os.ReadFile(filepath.Join(b.dir, other, name)); err != nil || !bytes.Equal(x, y) {
			b.Errorf("%s of %s and %s differ (%v)", name, one, other, err)
		}
	}
}

func (b *bench) steps(run string) (steps []int) {
	files, _ := filepath.Glob(filepath.Join(b.dir, run, rundir.CheckpointsDir, "step-*.safetensors"))
	for _, f := range files {
		var step int
		fmt.Sscanf(filepath.Base(f), "step-%d.safetensors", &step)
		steps = append(steps, step)
	}
	return steps
}

// untilSaved starts a training and waits for the first checkpoint of its run; what it says goes on.
func (b *bench) untilSaved(c *exec.Cmd, run string) (said *bytes.Buffer) {
	b.Helper()
	said = &bytes.Buffer{}
	c.Stdout, c.Stderr = said, said
	if err := c.Start(); err != nil {
		b.Fatal(err)
	}
	for began := time.Now(); len(b.steps(run)) == 0 && time.Since(began) < 2*time.Minute; {
		time.Sleep(5 * time.Millisecond)
	}
	return said
}

// losses of the updates of a run.
func (b *bench) losses(run string) (losses []float64) {
	b.Helper()
	text, err := os.ReadFile(filepath.Join(b.dir, run, rundir.MetricsFile))
	if err != nil {
		b.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		var l rundir.TrainLine
		if err := json.Unmarshal(line, &l); err != nil {
			b.Fatal(err)
		}
		if l.Kind == "train" {
			losses = append(losses, l.Loss)
		}
	}
	return losses
}

// Ranks that share the batches of an update, whole, end with the bytes of one process, whatever hosts they are on and in
// whatever order the launcher deals them out.
func TestRanksAreOneProcess(t *testing.T) {
	openmpi, mpich := rankstest.Find(t, "openmpi"), rankstest.Find(t, "mpich")
	b := newBench(t, openmpi)
	b.search("vit")
	b.search("conv")
	for i := range 20 { // classes of 32 and 12 images
		if err := os.Remove(filepath.Join(b.dir, fmt.Sprintf("pictures/train/1/%d.png", i))); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name, space, recipe string
		hosts               []string // of each run; "": as it is
		launcher            rankstest.Launcher
	}{
		{"weighed", "vit", "batch: 2\naccumulate: 4\nclass_weights: balanced\nmix: {mixup: 0.8, cutmix: 1.0}\nstratify: true\n", []string{"a,b", "a,a,a,b"}, mpich},
		{"shown-alike", "conv", "batch: 2\naccumulate: 4\nbalance_classes: true\nfill_last: true\nstratify: true\nmix: {mixup: 0.8, cutmix: 1.0}\n", []string{"a,a"}, openmpi},
		{"adamw", "vit", "batch: 3\naccumulate: 4\nmix: {mixup: 0.8, cutmix: 1.0}\nregularize: {drop_path: 0.1, drop: 0.1}\n", []string{"a,b,a,b"}, openmpi},
		{"sandwich", "vit", "batch: 2\naccumulate: 6\nema: {decay: 0.9}\noptimizer: {name: sgd, lr: 0.05}\nsampler: {name: sandwich}\n" +
			"distill: {teacher: largest, kind: soft, alpha: 0.5, temperature: 2}\n", []string{"a,a,b"}, mpich},
		{"conv", "conv", "batch: 4\naccumulate: 3\nema: {decay: 0.9}\n", []string{"a,a,a"}, openmpi},
		{"space", "vit", "batch: 3\naccumulate: 4\nsampler: {name: space}\nmix: {mixup: 0.8, cutmix: 1.0}\nregularize: {drop_path: 0.1, drop: 0.1}\n", []string{"a,a,a,b"}, mpich},
		{"space-conv", "conv", "batch: 4\naccumulate: 2\nsampler: {name: space}\n", []string{"a,a"}, openmpi},
	} {
		b.write("recipe.yaml", "epochs: 2\nholdout: 0.25\nlog_every: 1\n"+c.recipe)
		b.must(1, b.train(c.space, c.name)...)
		b.launcher = c.launcher
		for _, hosts := range c.hosts {
			out := c.name + "-" + hosts
			b.hosts = hosts
			b.must(len(strings.Split(hosts, ",")), b.train(c.space, out)...)
			b.same(c.name, out)
		}
	}
}

// All ranks stop in the same update, where nothing gets better: one process would.
func TestRanksStopEarly(t *testing.T) {
	b := newBench(t, rankstest.Find(t, "openmpi"))
	b.pureGo = true
	b.search("vit")
	b.write("recipe.yaml", "epochs: 40\nholdout: 0.25\nlog_every: 1\nbatch: 3\naccumulate: 4\nclass_weights: balanced\npatience: 2\n"+
		"optimizer: {lr: 1.0e-12}\nschedule: {name: constant, min_lr: 0}\n")
	for n, out := range map[int]string{1: "alone", 2: "two", 4: "four"} {
		if said := b.must(n, b.train("vit", out)...); !strings.Contains(said, "stopped early, after update ") {
			t.Fatalf("%d ranks did not stop early:\n%s", n, said)
		}
	}
	if last := slices.Max(b.steps("alone")); last > 4*10 {
		t.Errorf("stopped after update %d", last)
	}
	b.same("alone", "two")
	b.same("alone", "four")
}

// Ranks that share the images of a batch have the losses of one process but for rounding.
func TestRanksShareABatch(t *testing.T) {
	b := newBench(t, rankstest.Find(t, "mpich"))
	b.search("vit")
	b.write("recipe.yaml", "epochs: 6\nholdout: 0.25\nlog_every: 1\nbatch: 8\nmix: {mixup: 0.8, cutmix: 1.0}\nregularize: {drop_path: 0.1, drop: 0.1}\n")
	for _, sampler := range []string{"balanced", "space"} {
		alone, shared := sampler+"-one", sampler+"-four"
		b.must(1, b.train("vit", alone, "--sampler", sampler)...)
		b.hosts = map[string]string{"balanced": "a,b,a,a"}[sampler]
		b.must(4, b.train("vit", shared, "--sampler", sampler)...)
		one, four := b.losses(alone), b.losses(shared)
		if len(one) != len(four) || len(one) < 30 {
			t.Fatalf("%s: %d and %d updates", sampler, len(one), len(four))
		}
		for i := range one {
			if !(math.Abs(one[i]-four[i]) <= 1e-5) {
				t.Fatalf("%s: update %d has a loss of %v on one, %v on four", sampler, i+1, one[i], four[i])
			}
		}
	}
}

// rankOf is the process of a rank of a run.
func (b *bench) rankOf(l rankstest.Launcher, rank int, out string) int {
	b.Helper()
	pid := b.findRank(l, rank, out)
	if pid == 0 {
		b.Fatalf("there is no rank %d of %s", rank, out)
	}
	return pid
}

// findRank is rankOf; 0: there is none.
func (b *bench) findRank(l rankstest.Launcher, rank int, out string) int {
	name := map[string]string{"openmpi": "OMPI_COMM_WORLD_RANK", "mpich": "PMI_RANK"}[l.Name]
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range processes {
		env, err := os.ReadFile(filepath.Join(p, "environ"))
		args, err2 := os.ReadFile(filepath.Join(p, "cmdline"))
		if err != nil || err2 != nil || !strings.HasPrefix(string(args), b.program+"\x00") {
			continue
		}
		cwd, _ := os.Readlink(filepath.Join(p, "cwd"))
		if cwd == b.dir && strings.Contains(string(env), fmt.Sprintf("%s=%d\x00", name, rank)) && strings.Contains(string(args), "\x00"+out) {
			var pid int
			fmt.Sscanf(filepath.Base(p), "%d", &pid)
			return pid
		}
	}
	return 0
}

// A run of several ranks is stopped, killed and gone on with by others, and ends as an uncut one.
func TestRanksStopAndGoOn(t *testing.T) {
	rankstest.Each(t, func(t *testing.T, l rankstest.Launcher) {
		b := newBench(t, l)
		b.search("vit")
		b.write("recipe.yaml", "epochs: 100\nholdout: 0.25\neval_every: 0\nlog_every: 5\nsave_every: 7\nbatch: 3\naccumulate: 4\nkeep: 3\n")
		b.must(1, b.train("vit", "whole")...)
		// stopped starts n ranks, does something to the run when it is on its way, and returns what it said.
		stopped := func(n int, args []string, do func(c *exec.Cmd)) string {
			t.Helper()
			before := b.steps("cut")
			c := b.start(n, args...)
			var said bytes.Buffer
			c.Stdout, c.Stderr = &said, &said
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- c.Wait() }()
			for began := time.Now(); slices.Equal(b.steps("cut"), before); time.Sleep(5 * time.Millisecond) {
				if time.Since(began) > 2*time.Minute {
					t.Fatalf("no checkpoint\n%s", said.String())
				}
			}
			do(c)
			select {
			case <-ended: // MPICH's mpirun, asked by a signal, has the exit code 0
			case <-time.After(2 * time.Minute):
				c.Process.Kill()
				t.Fatalf("it did not end\n%s", said.String())
			}
			return said.String()
		}
		said := stopped(4, b.train("vit", "cut"), func(*exec.Cmd) { syscall.Kill(b.rankOf(l, 2, "cut"), syscall.SIGTERM) })
		if !strings.Contains(said, "prenas: training was interrupted after step") {
			t.Errorf("SIGTERM to a rank:\n%s", said)
		}
		resume := []string{"train", "--resume", "--out", "cut"}
		said = stopped(2, resume, func(c *exec.Cmd) { c.Process.Signal(syscall.SIGUSR1) })
		if !strings.Contains(said, "prenas: training was interrupted after step") {
			t.Errorf("SIGUSR1 to the launcher:\n%s", said)
		}
		stopped(2, resume, func(*exec.Cmd) { syscall.Kill(b.rankOf(l, 1, "cut"), syscall.SIGKILL) })
		b.must(1, resume...)
		b.same("whole", "cut")
	})
}

// Whatever number of ranks evaluates, the results are the same.
func TestRanksEvaluate(t *testing.T) {
	b := newBench(t, rankstest.Find(t, "openmpi"))
	b.search("vit")
	b.write("recipe.yaml", "epochs: 2\nholdout: 0.25\nbatch: 8\n")
	b.must(1, b.train("vit", "run")...)
	b.must(1, "eval", "run", "--batch", "4")
	want, err := os.ReadFile(filepath.Join(b.dir, "run", "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	timeless := func(text []byte) string {
		var lines []string
		for line := range strings.Lines(string(text)) {
			if !strings.Contains(line, "second") && !strings.Contains(line, `"sha256": `) { // of the text, seconds too
				lines = append(lines, line)
			}
		}
		return strings.Join(lines, "")
	}
	for code, says := range map[string]string{
		`set -- "$@" --batch 5`:            "the ranks differ in batches: rank 0 of 2 on host ",
		`set -- "$@" --data folder:others`: "the ranks differ in images (their digest): rank 0 of 2 on host ",
	} {
		b.write("others/test/0/0.png", b.file("pictures/test/0/0.png"))
		b.write("others/test/1/0.png", b.file("pictures/test/1/0.png"))
		if text, err := b.odd(code, "eval", "run", "--batch", "4").CombinedOutput(); err == nil || strings.Count(string(text), says) != 1 {
			t.Errorf("%s: %v, want %q\n%s", code, err, says, text)
		}
	}
	for _, n := range []int{2, 3} {
		b.must(n, "eval", "run", "--batch", "4")
		got, err := os.ReadFile(filepath.Join(b.dir, "run", "results.json"))
		if err != nil {
			t.Fatal(err)
		}
		if timeless(got) != timeless(want) {
			t.Errorf("%d ranks: results are\n%s\nwant\n%s", n, got, want)
		}
	}
}

// odd is prenas on two ranks, the second of which runs some shell code first: it may export a variable or change the
// arguments $@ or the program $P.
func (b *bench) odd(code string, args ...string) *exec.Cmd {
	script := `P="$0"; if test "$OMPI_COMM_WORLD_RANK$PMI_RANK" = 1; then ` + code + `; fi; exec "$P" "$@"`
	c := b.launcher.Command(2, "sh", append([]string{"-c", script, b.program}, args...)...)
	c.Dir = b.dir
	return c
}

// What is started wrongly is told once, in a sentence, before anything is written.
func TestRanksAreRefusedInASentence(t *testing.T) {
	openmpi, mpich := rankstest.Find(t, "openmpi"), rankstest.Find(t, "mpich")
	b := newBench(t, openmpi)
	b.search("vit")
	b.write("recipe.yaml", "epochs: 1\nbatch: 4\naccumulate: 4\n")
	program, err := os.ReadFile(b.program)
	if err != nil {
		t.Fatal(err)
	}
	b.write("other/prenas", string(program)+"another build")
	if err := os.Chmod(filepath.Join(b.dir, "other/prenas"), 0o755); err != nil {
		t.Fatal(err)
	}
	for class, other := range []int{1, 0} {
		for i := range 12 {
			b.write(fmt.Sprintf("others/train/%d/%d.png", class, i), b.file(fmt.Sprintf("pictures/train/%d/%d.png", other, i)))
		}
	}
	train := func(more ...string) []string {
		return b.train("vit", "x", append([]string{"--backend", "go"}, more...)...)
	}
	for _, c := range []struct {
		launcher rankstest.Launcher
		ranks    int    // 0: two, the second of which is odd
		code     string // of the odd one
		args     []string
		says     string // once
	}{
		{mpich, 2, "", []string{"search", "--space", "vit.yaml", "--out", "x"}, "prenas search is the work of one process, and 2 were started"},
		{mpich, 2, "", []string{"trian"}, "unknown command \"trian\", did you mean train?"},
		{openmpi, 2, "", train("--devices", "2"), "--devices 2: each of the 2 ranks has one device"},
		{openmpi, 3, "", train(), "3 ranks cannot share updates of 4 batches evenly"},
		{mpich, 2, "", train("--recipe", "nowhere.yaml"), "\"nowhere.yaml\" is neither a file"},
		{mpich, 0, "P=other/prenas", train(), "the ranks differ in prenas: rank 0 of 2 on host "},
		{openmpi, 0, "export PRENAS_NO_AMX=1 GODEBUG=cpu.all=off", train(), "the ranks differ in engine and processor: rank 0 of 2 on host "},
		{mpich, 0, "export XLA_FLAGS=--xla_cpu_max_isa=AVX2", train(), "the ranks differ in XLA_FLAGS: rank 0 of 2 on host "},
		{openmpi, 0, "echo batch: 8 > eight.yaml; set -- \"$@\" --recipe eight.yaml", train(), "the ranks differ in recipe: rank 0 of 2 on host "},
		{openmpi, 0, "set -- \"$@\" --data folder:others", train(), "the ranks differ in images (their digest): rank 0 of 2 on host "},
		{mpich, 0, "set -- \"$@\" --seed 4", train(), "the ranks differ in seed: rank 0 of 2 on host "},
		{mpich, 0, "set -- \"$@\" --nonsense", train(), "prenas: rank 1 of 2 on host "},
	} {
		b.launcher = c.launcher
		command := b.start(c.ranks, c.args...)
		if c.ranks == 0 {
			command = b.odd(c.code, c.args...)
		}
		text, err := command.CombinedOutput()
		if err == nil || strings.Count(string(text), c.says) != 1 {
			t.Errorf("%s %v: %v, want %q once\n%s", c.code, c.args, err, c.says, text)
		}
		if _, err := os.Stat(filepath.Join(b.dir, "x")); err == nil {
			t.Fatalf("%s %v wrote", c.code, c.args)
		}
	}
}

// What one rank alone cannot begin with is told by it.
func TestARankThatCannotBegin(t *testing.T) {
	rankstest.Each(t, func(t *testing.T, l rankstest.Launcher) {
		b := newBench(t, l)
		c := b.odd("export PRENAS_MPI=/nowhere/libmpi.so", "doctor", "--backend", "go")
		c.Env = append(c.Environ(), ranks.WaitEnv+"=10s")
		text, err := c.CombinedOutput()
		if err == nil || !strings.Contains(string(text), "prenas: rank 1 of 2 on host ") || !strings.Contains(string(text), "/nowhere/libmpi.so") {
			t.Errorf("%v\n%s", err, text)
		}
		// MPICH's launcher does not end the other.
		if b.launcher.Name == "mpich" && !strings.Contains(string(text), "did not bring the 2 processes together within 10s") {
			t.Errorf("the other rank waited for ever or said nothing:\n%s", text)
		}
	})
}

func TestDoctorTellsOfRanks(t *testing.T) {
	rankstest.Each(t, func(t *testing.T, l rankstest.Launcher) {
		text := newBench(t, l).must(2, "doctor", "--backend", "go")
		for _, want := range []string{"\nMPI         ", "rank 0 of 2 on host ", "rank 1 of 2 on host ", "ms to add gradients of 20 MB"} {
			if strings.Count(text, want) != 1 {
				t.Errorf("%q is not there once in\n%s", want, text)
			}
		}
	})
}

// A rank that stands still ends all, by its name, and the run goes on from its checkpoint.
func TestARankThatStandsStill(t *testing.T) {
	rankstest.Each(t, func(t *testing.T, l rankstest.Launcher) {
		b := newBench(t, l)
		b.pureGo = true
		b.search("vit")
		b.write("recipe.yaml", "epochs: 100\nholdout: 0.25\neval_every: 0\nsave_every: 5\nbatch: 4\naccumulate: 2\n")
		still := map[string]int{"openmpi": 1, "mpich": 0}[l.Name]
		c := b.start(2, b.train("vit", "still")...)
		c.Env = append(c.Env, ranks.WaitEnv+"=10s")
		said := b.untilSaved(c, "still")
		syscall.Kill(b.rankOf(b.launcher, still, "still"), syscall.SIGSTOP)
		err := c.Wait()
		if text := said.String(); err == nil || !strings.Contains(text, "within 10s") || !strings.Contains(text, fmt.Sprintf("rank %d of 2 on host ", still)) {
			t.Errorf("%v\n%s", err, text)
		}
		for began := time.Now(); b.findRank(l, still, "still") > 0 && time.Since(began) < time.Minute; { // MPICH's mpirun ends before it
			time.Sleep(5 * time.Millisecond)
		}
		b.must(1, "train", "--resume", "--out", "still")
		b.must(1, b.train("vit", "whole")...)
		b.same("whole", "still")
	})
}
