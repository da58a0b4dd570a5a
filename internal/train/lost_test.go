package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"prenas/internal/fsys"
	"prenas/internal/fsys/faultfs"
	"prenas/internal/rng"
	"prenas/internal/rundir"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/internal/toy"
	"prenas/internal/trainstep"
	"prenas/pkg/space"
)

// safeOptions are of a run that saves often.
func safeOptions(t *testing.T) Options {
	o := littleOptions(t)
	o.Recipe.Epochs, o.Recipe.SaveEvery, o.Recipe.LogEvery, o.Recipe.Keep = 2, 4, 3, 2
	o.Recipe.EMA.Decay = 0.9
	return o
}

// Whatever file operation of a save fails, and however, the checkpoint before it loads.
func TestAnyFailingOperationOfASaveLeavesTheOneBefore(t *testing.T) {
	s := smallestSpace()
	net := supernet.New(s)
	state := trainstep.NewState(net, toyRecipe(), net.Init(1))
	save := func(f fsys.FS, run string, step int) error {
		err := rundir.WriteCheckpoint(f, run, state, rundir.Progress{Format: rundir.ProgressFormat, Step: step, Window: rundir.NewWindow(1)})
		if err == nil {
			err = rundir.PruneCheckpoints(f, run, step, 1, 0)
		}
		return err
	}
	start := func() string {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, rundir.CheckpointsDir), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := save(fsys.OS, dir, 5); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	clean := &faultfs.FS{FS: fsys.OS, At: -1}
	if err := save(clean, start(), 7); err != nil {
		t.Fatal(err)
	}
	for _, kind := range faultfs.Kinds {
		for at, operation := range clean.Log {
			dir := start()
			failed := save(&faultfs.FS{FS: fsys.OS, At: at, Kind: kind}, dir, 7)
			if failed == nil {
				t.Errorf("%s (operation %d) fails with kind %d, and the save says nothing", operation, at, kind)
			}
			_, progress, err := rundir.NewestCheckpoint(fsys.OS, dir, math.MaxInt, net, nil, func(path string, why error) { t.Errorf("%s: %v", path, why) })
			if err != nil || progress.Step < 5 {
				t.Errorf("%s (operation %d) fails with kind %d: step %d, %v", operation, at, kind, progress.Step, err)
			}
		}
	}
}

// smallestSpace has one architecture and a checkpoint of a few thousand bytes.
func smallestSpace() *space.Space {
	s := toy.Space()
	s.Supernet.EmbedDim, s.EmbedDim = 8, []int{8}
	s.Supernet.NumHeads, s.NumHeads = 1, []int{1}
	s.Supernet.Depth, s.Depth = 1, []int{1}
	s.Model.HeadDim, s.Model.RelativePosition = 4, false
	return s
}

// Whatever file operation of a run fails, and however, the run can go on from a
// checkpoint no older than before, and ends as if nothing had failed. Of the hundreds of
// operations some are tried.
func TestAnyFailingFileOperationLosesNothing(t *testing.T) {
	programs := &programs{}
	defer programs.close()
	whole := safeOptions(t)
	if _, err := run(context.Background(), whole, programs); err != nil {
		t.Fatal(err)
	}
	cut := safeOptions(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	const cutAt = 6
	cut.Progress = func(s Status) {
		if s.Step == cutAt {
			cancel()
		}
	}
	if _, err := run(ctx, cut, programs); !errors.Is(err, ErrInterrupted) {
		t.Fatal(err)
	}
	net := supernet.New(whole.Space)
	clean := &faultfs.FS{FS: fsys.OS, At: -1}
	o := safeOptions(t)
	o.FS, o.Resume = clean, true
	if err := os.CopyFS(o.Out, os.DirFS(cut.Out)); err != nil {
		t.Fatal(err)
	}
	if _, err := run(context.Background(), o, programs); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d operations", len(clean.Log))
	for _, kind := range faultfs.Kinds {
		for at, operation := range clean.Log {
			if (at+int(kind))%41 != 0 {
				continue
			}
			name := fmt.Sprintf("%s (operation %d) fails with kind %d", operation, at, kind)
			o := safeOptions(t)
			o.Resume = true
			if err := os.CopyFS(o.Out, os.DirFS(cut.Out)); err != nil {
				t.Fatal(err)
			}
			o.FS = &faultfs.FS{FS: fsys.OS, At: at, Kind: kind}
			_, failed := run(context.Background(), o, programs)
			_, progress, err := rundir.NewestCheckpoint(fsys.OS, o.Out, math.MaxInt, net, nil, func(path string, why error) { t.Errorf("%s: %s: %v", name, path, why) })
			if err != nil || progress.Step < cutAt {
				t.Fatalf("%s: checkpoint of step %d, %v", name, progress.Step, err)
			}
			if failed == nil && progress.Step != 22 && operation != "close" {
				t.Errorf("%s: the run says nothing, at step %d", name, progress.Step)
			}
			o.FS = nil
			if _, err := run(context.Background(), o, programs); err != nil {
				t.Fatalf("%s, then: %v", name, err)
			}
			sameFile(t, whole.Out, o.Out, rundir.MetricsFile)
			sameFile(t, whole.Out, o.Out, filepath.Join(rundir.CheckpointsDir, "step-22.safetensors"))
			if t.Failed() {
				t.Fatal(name)
			}
		}
	}
}

// A checkpoint that the system keeps back for a moment may be sound: the weights of a run are
// never quietly those of an older one.
func TestWeightsThatTheSystemKeepsBack(t *testing.T) {
	o := safeOptions(t)
	o.Candidates = o.Candidates[:1]
	o.Recipe.Keep, o.Recipe.EvalEvery = 3, 1
	if _, err := Run(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	weights := func(f fsys.FS) (int, error) {
		_, step, err := rundir.Weights(f, o.Out, o.Space, func(path string, why error) { t.Errorf("%s is passed over: %v", path, why) })
		return step, err
	}
	clean := &faultfs.FS{FS: fsys.OS, At: -1}
	want, err := weights(clean)
	if err != nil {
		t.Fatal(err)
	}
	for at, operation := range clean.Log {
		step, err := weights(&faultfs.FS{FS: fsys.OS, At: at})
		if !errors.Is(err, syscall.EIO) && (operation != "close" || err != nil || step != want) {
			t.Errorf("%s (operation %d) fails: weights of step %d, want %d, %v", operation, at, step, want, err)
		}
	}
}

// What a cut between a save and the removal of older checkpoints left goes when the run is
// taken up again, even if it has ended and saves no more.
func TestSuperfluousCheckpointsGoWithTheNextStart(t *testing.T) {
	o := safeOptions(t)
	o.Candidates = o.Candidates[:1]
	programs := &programs{}
	defer programs.close()
	if _, err := run(context.Background(), o, programs); err != nil {
		t.Fatal(err)
	}
	want, err := rundir.CheckpointSteps(fsys.OS, o.Out)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(rundir.CheckpointFile(o.Out, want[0]))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(rundir.CheckpointFile(o.Out, 1), text, 0o644); err != nil {
		t.Fatal(err)
	}
	o.Resume = true
	if _, err := run(context.Background(), o, programs); err != nil {
		t.Fatal(err)
	}
	if got, err := rundir.CheckpointSteps(fsys.OS, o.Out); err != nil || !slices.Equal(got, want) {
		t.Errorf("checkpoints of steps %v, want %v (%v)", got, want, err)
	}
}

// No bit of a checkpoint can change, and no part of it be missing, unseen; the error
// says so and nothing panics.
func TestEveryDamageToACheckpointIsSeen(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	net := supernet.New(smallestSpace())
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, rundir.CheckpointsDir), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := rundir.WriteCheckpoint(fsys.OS, dir, trainstep.NewState(net, toyRecipe(), net.Init(1)), rundir.Progress{Format: rundir.ProgressFormat, Step: 7, Window: rundir.NewWindow(1)}); err != nil {
		t.Fatal(err)
	}
	path := rundir.CheckpointFile(dir, 7)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, text []byte) {
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
		_, _, err := rundir.ReadCheckpoint(fsys.OS, path, net)
		if !errors.Is(err, tensorfile.ErrFormat) && !errors.Is(err, tensorfile.ErrChecksum) {
			t.Errorf("%s: error %v", what, err)
		}
	}
	if _, p, err := rundir.ReadCheckpoint(fsys.OS, path, net); err != nil || p.Step != 7 {
		t.Fatal(p.Step, err)
	}
	for i := range whole {
		text := slices.Clone(whole)
		text[i] ^= 1 << (i % 8)
		check(fmt.Sprintf("bit %d of byte %d of %d", i%8, i, len(whole)), text)
		check(fmt.Sprintf("cut to %d of %d bytes", i, len(whole)), whole[:i])
	}
}

// The environment of the process that TestKill9 kills.
const killedRunEnv = "PRENAS_TEST_KILLED_RUN"

// TestKilledRun is the process that TestKill9 kills: it trains into a directory.
func TestKilledRun(t *testing.T) {
	out := os.Getenv(killedRunEnv)
	if out == "" {
		t.Skip("a part of TestKill9")
	}
	o := killedOptions(t)
	o.Out = out
	_, err := os.Stat(filepath.Join(out, rundir.ManifestFile))
	o.Resume = err == nil
	o.Progress = func(Status) { time.Sleep(time.Millisecond) } // as a larger model would take
	if _, err := Run(context.Background(), o); err != nil {
		t.Fatal(err)
	}
}

func killedOptions(t *testing.T) Options {
	o := safeOptions(t)
	o.Candidates = o.Candidates[:1]
	o.Recipe.Epochs, o.Recipe.SaveEvery = 40, 5
	return o
}

// A run that is killed at random moments, as by kill -9, is readable after each, loses at
// most the updates since its last checkpoint, and ends as one that is not killed.
// PRENAS_KILLS sets how often it is killed:
//
//	PRENAS_KILLS=100 go test ./internal/train -run Kill9 -timeout 30m -v
func TestKill9(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	kills := 3
	if text := os.Getenv("PRENAS_KILLS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("PRENAS_KILLS: %v", err)
		}
		kills = n
	}
	whole := killedOptions(t)
	if _, err := Run(context.Background(), whole); err != nil {
		t.Fatal(err)
	}
	net := supernet.New(whole.Space)
	r := rng.New(uint64(time.Now().UnixNano()), "kills")
	out := filepath.Join(t.TempDir(), "killed")
	saved := 0
	for kill := 0; ; kill++ {
		c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledRun$")
		c.Env = append(os.Environ(), killedRunEnv+"="+out)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- c.Wait() }()
		if kill < kills {
			// Not while it starts: it would never get far.
			for step := saved; step <= saved && len(ended) == 0; time.Sleep(5 * time.Millisecond) {
				if steps, err := rundir.CheckpointSteps(fsys.OS, out); err == nil && len(steps) > 0 {
					step = steps[0]
				}
			}
			time.Sleep(time.Duration(r.IntN(60)) * time.Millisecond)
			_ = c.Process.Kill()
		}
		err := <-ended
		_, progress, failed := rundir.NewestCheckpoint(fsys.OS, out, math.MaxInt, net, nil, func(path string, why error) { t.Errorf("%s: %v", path, why) })
		if failed != nil {
			t.Fatal(failed)
		}
		if progress.Step < saved {
			t.Fatalf("kill %d: step %d was saved before, now the newest is %d", kill, saved, progress.Step)
		}
		saved = progress.Step
		if err == nil {
			t.Logf("ended after %d kills", kill)
			break
		}
		t.Logf("killed; saved until step %d", saved)
	}
	sameFile(t, whole.Out, out, rundir.MetricsFile)
	sameFile(t, whole.Out, out, filepath.Join(rundir.CheckpointsDir, fmt.Sprintf("step-%d.safetensors", saved)))
}
