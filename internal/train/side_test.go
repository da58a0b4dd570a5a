package train

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"prenas/internal/fsys"
	"prenas/internal/rundir"
	"prenas/internal/supernet"
)

// cutRun is a run that was stopped after its sixth update, and the programs and the uncut
// twin of it.
func cutRun(t *testing.T) (cut, whole Options, shared *programs) {
	shared = &programs{}
	t.Cleanup(shared.close)
	whole, cut = safeOptions(t), safeOptions(t)
	if _, err := run(context.Background(), whole, shared); err != nil {
		t.Fatal(err)
	}
	return stoppedAfter(t, cut, 6, shared), whole, shared
}

func stoppedAfter(t *testing.T, o Options, updates int, shared *programs) Options {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	o.Progress = func(Status) {
		if updates--; updates == 0 {
			cancel()
		}
	}
	if _, err := run(ctx, o, shared); !errors.Is(err, ErrInterrupted) {
		t.Fatal(err)
	}
	o.Resume, o.Progress = true, nil
	return o
}

func change(t *testing.T, path string, change func(text []byte) []byte) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, change(text), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A line of which a full disk took half goes from each file of lines, and a damaged one
// stands in nobody's way: the run goes on, again and again, and ends with the metrics of
// one that was not stopped.
func TestHalfLinesStopNothing(t *testing.T) {
	o, whole, shared := cutRun(t)
	for resumed := range 3 {
		for _, name := range []string{rundir.TimingFile, rundir.MetricsFile} {
			change(t, filepath.Join(o.Out, name), func(text []byte) []byte { return append(text, `{"step":7,"ima`...) })
		}
		if resumed == 1 { // as older versions went on after half a line
			change(t, filepath.Join(o.Out, rundir.TimingFile), func(text []byte) []byte {
				return append([]byte(`{"step":3,"im{"step":6,"images_per_second":1}`+"\n"), text...)
			})
		}
		o = stoppedAfter(t, o, 4, shared)
		if m, err := rundir.ReadMetrics(fsys.OS, o.Out); err != nil || (len(m.Notes) == 1) != (resumed >= 1) {
			t.Errorf("resumed %d times: %q, %v", resumed+1, m.Notes, err)
		}
	}
	if _, err := run(context.Background(), o, shared); err != nil {
		t.Fatal(err)
	}
	sameFile(t, whole.Out, o.Out, rundir.MetricsFile)
	timing, err := os.ReadFile(filepath.Join(o.Out, rundir.TimingFile))
	if err != nil || bytes.Contains(timing, []byte("ima{")) || !bytes.HasSuffix(timing, []byte("}\n")) {
		t.Errorf("speeds are now %q, %v", timing, err)
	}
}

// Speeds and events that cannot be written are told, and done without.
func TestSideFilesStopNothing(t *testing.T) {
	o, whole, shared := cutRun(t)
	for _, name := range []string{rundir.TimingFile, rundir.BoardDir} {
		path := filepath.Join(o.Out, name)
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		if name == rundir.TimingFile {
			if err := os.Mkdir(path, 0o755); err != nil {
				t.Fatal(err)
			}
		} else if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	told := 0
	o.Log = func(line string) {
		if strings.HasPrefix(line, "warning: going on without it") {
			told++
		}
	}
	if _, err := run(context.Background(), o, shared); err != nil || told != 2 {
		t.Errorf("told %d times; %v", told, err)
	}
	sameFile(t, whole.Out, o.Out, rundir.MetricsFile)
	if _, err := rundir.ReadMetrics(fsys.OS, o.Out); err != nil {
		t.Error(err)
	}
}

// Metrics that are shorter than the checkpoint says are lost, which is told once, and the
// run goes on to the same weights.
func TestMetricsThatAreLostStopNothing(t *testing.T) {
	o, whole, shared := cutRun(t)
	change(t, filepath.Join(o.Out, rundir.MetricsFile), func(text []byte) []byte { return text[:len(text)-20] })
	told := 0
	o.Log = func(line string) {
		if strings.Contains(line, "bytes that it had at step 6 are lost") {
			told++
		}
	}
	o = stoppedAfter(t, o, 4, shared)
	if _, err := run(context.Background(), o, shared); err != nil || told != 1 {
		t.Errorf("told %d times; %v", told, err)
	}
	var digests []string
	for _, out := range []string{whole.Out, o.Out} {
		net := supernet.New(o.Space)
		h, _, err := rundir.ReadCheckpoint(fsys.OS, rundir.CheckpointFile(out, 22), net)
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, h.Digest(net, nil))
	}
	if digests[0] != digests[1] {
		t.Error("the weights are not those of the run that was not stopped")
	}
	if m, err := rundir.ReadMetrics(fsys.OS, o.Out); err != nil || len(m.Notes) != 0 || m.Train[len(m.Train)-1].Step != 22 {
		t.Errorf("%+v, %v", m, err)
	}
}
