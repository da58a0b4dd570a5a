package rundir

import (
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"prenas/internal/fsys"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// Weights loads the shared weights of a run: those of the checkpoint that was chosen by the
// held-out part, else of the newest that is whole, telling skip about each that is
// not. Where the run keeps averages of the weights, those. It returns the number of updates behind them.
//
// Among them are the running statistics of the architectures that the run trained, which
// RunningStats takes out: those of StatisticsFile where they belong to these weights.
func Weights(f fsys.FS, run string, s *space.Space, skip func(path string, why error)) (map[string]tensorfile.Tensor, int, error) {
	net := supernet.New(s)
	h, progress, err := NewestCheckpoint(f, run, math.MaxInt, net, nil, skip)
	if err != nil {
		return nil, 0, err
	}
	if best := progress.BestStep; best != 0 && best != progress.Step {
		path := CheckpointFile(run, best)
		if atBest, p, err := ReadCheckpoint(f, path, net); err == nil {
			h, progress = atBest, p
		} else if keptBack(err) {
			return nil, 0, err
		} else {
			skip(path, err)
		}
	}
	prefix := GroupWeights
	if slices.Contains(h.Groups(net), GroupEMA) {
		prefix = GroupEMA
	}
	weights := map[string]tensorfile.Tensor{}
	for _, p := range net.Params() {
		weights[p.Name] = h[prefix+p.Name]
	}
	for name, t := range h {
		if name, ours := strings.CutPrefix(name, prefix); ours && strings.HasPrefix(name, StatsPrefix) {
			weights[name] = t
		}
	}
	if anew, c, err := ReadStatistics(f, run); keptBack(err) {
		return nil, 0, err
	} else if err != nil {
		skip(filepath.Join(run, StatisticsFile), err)
	} else if c.Step == progress.Step {
		maps.Copy(weights, anew)
	}
	return weights, progress.Step, nil
}

// RunningStats takes out of the weights of a run, or of a checkpoint, the running statistics of
// an architecture's batch norms, by timm's names; none of a vision transformer. It
// returns ErrNoStats where they are not all there.
func RunningStats(weights map[string]tensorfile.Tensor, m space.Model, arch space.Arch) (map[string]tensorfile.Tensor, error) {
	stats := map[string]tensorfile.Tensor{}
	for _, p := range supernet.Stats(m, arch) {
		t, there := weights[StatName(arch, p)]
		if !there || t.DType != "F32" || !slices.Equal(t.Shape, p.Shape) {
			return nil, fmt.Errorf("%w %s: tensor %q is missing or not float32 %v", ErrNoStats, arch, StatName(arch, p), p.Shape)
		}
		stats[p.Name] = t
	}
	return stats, nil
}
