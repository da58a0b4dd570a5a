//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"prenas/internal/ranks/rankstest"
	"prenas/internal/rng"
	"prenas/internal/rundir"
	"prenas/internal/train"
)

// What goes wrong in a training goes wrong in the same way on several ranks: with the same lines of metrics, and one sentence.
func TestTroubleOnRanks(t *testing.T) {
	b := newBench(t, rankstest.Find(t, "openmpi"))
	b.pureGo = true
	b.search("vit")
	for class := range 2 { // 4 of 64, which the ranks come upon apart
		for _, name := range []string{"3.png", "17.png"} {
			b.write(filepath.Join("pictures/train", string(rune('0'+class)), name), "no image")
		}
	}
	const common = "epochs: 8\nholdout: 0.25\nlog_every: 1\nbatch: 2\naccumulate: 4\n"

	t.Run("damaged images are left out", func(t *testing.T) {
		b.write("recipe.yaml", common)
		b.must(1, b.train("vit", "left-1", "--on-bad-image", "skip")...)
		said := b.must(2, b.train("vit", "left-2", "--on-bad-image", "skip")...)
		b.same("left-1", "left-2")
		list := b.file("left-1", "bad-images.jsonl")
		if got := b.file("left-2", "bad-images.jsonl"); got != list || strings.Count(list, "\n") != 4 {
			t.Errorf("listed:\n%s\nand by one process:\n%s", got, list)
		}
		if strings.Count(said, "4 damaged images were left out") != 1 {
			t.Errorf("what was left out is not told once:\n%s", said)
		}
	})
	t.Run("a damaged image ends all", func(t *testing.T) {
		b.write("recipe.yaml", common)
		said, err := b.run(2, b.train("vit", "ended")...)
		if err == nil || !strings.Contains(said, ".png") || !strings.Contains(said, "go on without what cannot be read") {
			t.Errorf("%v\n%s", err, said)
		}
	})
	t.Run("losses that are not finite", func(t *testing.T) {
		b.write("recipe.yaml", common+"optimizer: {name: sgd, lr: 100, momentum: 0.99}\nschedule: {name: constant, min_lr: 100}\n")
		for _, n := range []int{1, 2} {
			out := []string{"", "wild-1", "wild-2"}[n]
			said, err := b.run(n, b.train("vit", out, "--on-bad-image", "skip")...)
			if err == nil || !strings.Contains(said, "training has diverged") {
				t.Errorf("%d ranks: %v\n%s", n, err, said)
			}
		}
		if one, two := b.file("wild-1", rundir.MetricsFile), b.file("wild-2", rundir.MetricsFile); one != two {
			t.Errorf("metrics of one process\n%s\nof two\n%s", one, two)
		}
	})
}

// The first rank's disk is full: all end, and go on where the newest checkpoint is.
func TestTheFirstRanksDiskIsFull(t *testing.T) {
	b := newBench(t, rankstest.Find(t, "openmpi"))
	b.pureGo = true
	b.search("vit")
	b.write("recipe.yaml", "epochs: 200\nholdout: 0.25\neval_every: 0\nlog_every: 5\nsave_every: 7\nbatch: 3\naccumulate: 4\n")
	b.must(1, b.train("vit", "whole")...)
	c := b.start(2, b.train("vit", "full")...)
	said := b.untilSaved(c, "full")
	none := unix.Rlimit{Cur: 1 << 10, Max: 1 << 10}
	if err := unix.Prlimit(b.rankOf(b.launcher, 0, "full"), unix.RLIMIT_FSIZE, &none, nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err == nil || !strings.Contains(said.String(), "file too large") {
		t.Fatalf("%v\n%s", err, said.String())
	}
	b.must(2, "train", "--resume", "--out", "full")
	b.same("whole", "full")
}

// finetune shares the batches of an update as train does.
func TestFinetuneOnRanks(t *testing.T) {
	b := newBench(t, rankstest.Find(t, "mpich"))
	b.search("vit")
	b.write("recipe.yaml", "epochs: 1\nholdout: 0.25\nbatch: 8\n")
	b.must(1, b.train("vit", "run")...)
	b.must(1, "export", "run", "--arch", "0.0035", "--out", "model.safetensors")
	b.write("recipe.yaml", "epochs: 2\nholdout: 0.25\nlog_every: 1\nbatch: 4\naccumulate: 2\n")
	tune := func(out string) []string {
		return []string{"finetune", "model.safetensors", "--data", "folder:pictures", "--recipe", "recipe.yaml", "--out", out}
	}
	b.must(1, tune("one")...)
	b.must(2, tune("two")...)
	b.same("one", "two")
}

// An audit shares its trainings and scores among ranks, and ends with the same file and figures.
func TestAuditOnRanks(t *testing.T) {
	b := newBench(t, rankstest.Find(t, "mpich"))
	b.write("vit.yaml", rankSpaces["vit"])
	b.write("recipe.yaml", "epochs: 1\nholdout: 0.25\nbatch: 8\n")
	audit := func(out string) []string {
		return []string{"audit", "--space", "vit.yaml", "--data", "folder:pictures", "--archs", "3", "--seeds", "1", "--resamples", "20", "--recipe", "recipe.yaml", "--json", "--quiet", "--out", out}
	}
	one := b.must(1, audit("one.jsonl")...)
	if two := b.must(2, audit("two.jsonl")...); one != two {
		t.Errorf("two ranks say\n%s\none process\n%s", two, one)
	}
	if b.file("one.jsonl") != b.file("two.jsonl") {
		t.Errorf("two ranks write\n%s\none process\n%s", b.file("two.jsonl"), b.file("one.jsonl"))
	}
}

// quickstart on ranks does the whole job, and goes on on one.
func TestQuickstartOnRanks(t *testing.T) {
	b := newBench(t, rankstest.Find(t, "openmpi"))
	for class := range 2 { // of 128 images an update can be made
		for i := range 32 {
			of := fmt.Sprintf("pictures/train/%d/", class)
			b.write(fmt.Sprintf("%sagain-%d.png", of, i), b.file(fmt.Sprintf("%s%d.png", of, i)))
		}
	}
	said := b.must(2, "quickstart", "--small", "--data", "folder:pictures", "--out", "quick")
	if strings.Count(said, "report: ") != 1 || !strings.Contains(b.file("quick", "report.html"), "</html>") {
		t.Errorf("no report, or several:\n%s", said)
	}
	if said = b.must(1, "quickstart", "--small", "--data", "folder:pictures", "--out", "quick"); !strings.Contains(said, "search: done before") {
		t.Errorf("it does not go on:\n%s", said)
	}
}

// The dry run of ranks tells what they make together, and what their sums take.
func TestDryRunOnRanks(t *testing.T) {
	b := newBench(t, rankstest.Find(t, "openmpi"))
	b.search("vit")
	b.write("recipe.yaml", "epochs: 2\nholdout: 0.25\nbatch: 4\naccumulate: 4\n")
	if said := b.must(2, b.train("vit", "none", "--dry-run")...); strings.Count(said, "2 ranks: the sums of their gradients are ") != 1 {
		t.Errorf("said\n%s", said)
	}
	b.hosts = "a,b"
	c := b.start(2, b.train("vit", "none", "--dry-run", "--json", "--quiet")...)
	text, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	var p train.Plan
	if err := json.Unmarshal(text, &p); err != nil {
		t.Fatal(err)
	}
	if largest := p.Archs[len(p.Archs)-1]; p.Hosts != 2 || largest.HostBytes != 4*largest.Params { // half of it goes, half comes back
		t.Errorf("%+v", p)
	}
	if p.Ranks != 2 || p.Sums <= 0 || p.Sums >= p.Seconds || p.Updates != 6 || p.Images != 16 {
		t.Errorf("%+v", p)
	}
	updates := p.Sums
	for _, a := range p.Archs { // in turn
		updates += a.Turns * 6 * 16 / a.Rate
	}
	if !(math.Abs(updates-p.Seconds) <= 1e-6*p.Seconds) {
		t.Errorf("updates take %v s, the plan says %v", updates, p.Seconds)
	}
	if _, err := os.Stat(filepath.Join(b.dir, "none")); err == nil {
		t.Error("a dry run wrote")
	}
}

// A random rank is killed at random moments, as by kill -9: all end, and any number of ranks goes on, to the bytes of
// one process that was never killed. PRENAS_KILLS sets how often:
//
//	PRENAS_KILLS=100 go test ./cmd/prenas -run Kill9OnRanks -timeout 60m -v
func TestKill9OnRanks(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	kills := 1
	if text := os.Getenv("PRENAS_KILLS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("PRENAS_KILLS: %v", err)
		}
		kills = n
	}
	launchers := []rankstest.Launcher{rankstest.Find(t, "openmpi"), rankstest.Find(t, "mpich")}
	b := newBench(t, launchers[0])
	b.search("vit")
	b.write("recipe.yaml", "epochs: 60\nholdout: 0.25\neval_every: 20\nlog_every: 5\nsave_every: 7\nbatch: 3\naccumulate: 4\nkeep: 2\n")
	b.must(1, b.train("vit", "whole")...)
	r := rng.New(uint64(time.Now().UnixNano()), "kills")
	for run := 0; kills > 0; run++ {
		out := fmt.Sprintf("killed-%d", run)
		args := b.train("vit", out)
		for ended := false; !ended; {
			n := []int{2, 4}[r.IntN(2)]
			b.launcher = launchers[r.IntN(len(launchers))]
			before := b.steps(out)
			c := b.start(n, args...)
			var said bytes.Buffer
			c.Stdout, c.Stderr = &said, &said
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			over := make(chan error, 1)
			go func() { over <- c.Wait() }()
			if kills > 0 {
				// Not while they start: the run would never get far.
				for slices.Equal(b.steps(out), before) && len(over) == 0 {
					time.Sleep(5 * time.Millisecond)
				}
				time.Sleep(time.Duration(r.IntN(300)) * time.Millisecond)
				if len(over) == 0 {
					rank := r.IntN(n)
					if pid := b.findRank(b.launcher, rank, out); pid > 0 && syscall.Kill(pid, syscall.SIGKILL) == nil {
						kills--
						t.Logf("%s, %d ranks: rank %d is killed after step %d", b.launcher.Name, n, rank, slices.Max(b.steps(out)))
					}
				}
			}
			select {
			case err := <-over:
				if ended = err == nil && strings.Contains(said.String(), "trained "); !ended && len(b.steps(out)) == 0 {
					t.Fatalf("nothing is left: %v\n%s", err, said.String())
				}
			case <-time.After(5 * time.Minute):
				c.Process.Kill()
				t.Fatalf("it did not end\n%s", said.String())
			}
			args = []string{"train", "--resume", "--out", out}
		}
		b.same("whole", out)
	}
}
