package train

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/engine"
	"prenas/internal/fsys"
	"prenas/internal/recipe"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// A checkpoint is one safetensors file, RUN/checkpoints/step-N.safetensors:
//
//	<name>                weights under their own names, so it is a weights file too
//	optimizer.m.<name>    first moment, or momentum
//	optimizer.v.<name>    second moment, where the optimiser has one
//	ema.<name>            moving average of the weight, where the recipe keeps one
//	optimizer.counts      updates that each weight has had, float32 by Params index
//	stats.<arch>.<name>   running mean or variance of a batch norm of an architecture
//	ema.stats.<arch>.<name>  moving average of it, where the recipe keeps one
//	metadata "prenas"     Progress, as JSON; the checksum is tensorfile's
const (
	nameCounts     = "optimizer.counts"
	progressKey    = "prenas"
	checkpointsDir = "checkpoints"
	progressFormat = 1
)

// Progress is where a run stands. With the run's seed it is the whole of the
// random state: every draw is a function of the seed and the step.
type Progress struct {
	Format     int    `json:"format"`
	Step       int    `json:"step"`  // updates done
	Ended      int    `json:"ended"` // epochs whose evaluation and checkpoint are done too
	Seed       uint64 `json:"seed"`
	Recipe     string `json:"recipe"`     // digest
	Candidates string `json:"candidates"` // digest

	MetricsBytes int64   `json:"metrics_bytes"` // length of metrics.jsonl at this step
	Window       window  `json:"window"`        // losses since the last metrics line
	BadSteps     int     `json:"bad_steps"`     // steps in a row that were not finite
	BestStep     int     `json:"best_step"`     // checkpoint with the best held-out accuracy; 0: none yet
	BestTop1     float64 `json:"best_top1"`
	RolledBack   int     `json:"rolled_back,omitempty"` // times that training went back and lowered its rate
}

// hostState is a State in host memory, in the form of a checkpoint's tensors.
type hostState map[string]tensorfile.Tensor

// newState is the state before the first step of training architectures: moments and
// counts are zero, averages are the weights. Statistics that weights has are gone on with;
// else means are 0 and variances 1.
func newState(net *supernet.Net, r recipe.Recipe, weights map[string]tensorfile.Tensor, archs ...space.Arch) hostState {
	params := net.Params()
	h := hostState{nameCounts: tensorfile.FromFloat32([]int{len(params)}, make([]float32, len(params)))}
	for _, p := range params {
		w := weights[p.Name]
		zero := tensorfile.FromFloat32(p.Shape, make([]float32, len(w.Data)/4))
		for _, prefix := range stateGroups(r) {
			switch prefix {
			case prefixWeights, prefixEMA:
				h[prefix+p.Name] = w
			default:
				h[prefix+p.Name] = zero
			}
		}
	}
	for _, arch := range archs {
		for _, p := range supernet.Stats(net.Space().Model, arch) {
			value, given := weights[statName(arch, p)]
			if !given {
				value = p.Init(0)
			}
			for _, prefix := range statGroups(r) {
				h[prefix+statName(arch, p)] = value
			}
		}
	}
	return h
}

// prefixes of the groups of tensors that the state has, by its first weight.
func (h hostState) prefixes(net *supernet.Net) []string {
	return slices.DeleteFunc(slices.Clone(allPrefixes), func(prefix string) bool {
		_, has := h[prefix+net.Params()[0].Name]
		return !has
	})
}

// normPrefixes of the groups of running statistics that the state has.
func (h hostState) normPrefixes(net *supernet.Net) []string {
	return slices.DeleteFunc(h.prefixes(net), func(p string) bool { return p != prefixWeights && p != prefixEMA })
}

// digest names the weights and the statistics of architectures: a SHA-256 over the former
// in the order of Params, then the latter.
func (h hostState) digest(net *supernet.Net, archs []space.Arch) string {
	sum := sha256.New()
	for _, p := range net.Params() {
		sum.Write(h[p.Name].Data)
	}
	for _, arch := range archs {
		for _, p := range supernet.Stats(net.Space().Model, arch) {
			sum.Write(h[statName(arch, p)].Data)
		}
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// check reports the first tensor of a checkpoint of training architectures that is
// missing or of another form.
func (h hostState) check(net *supernet.Net, archs []space.Arch) error {
	if err := net.Check(h); err != nil {
		return err
	}
	want := func(name string, shape []int) error {
		t, ok := h[name]
		if !ok || t.DType != "F32" || !slices.Equal(t.Shape, shape) {
			return fmt.Errorf("tensor %q is missing or not float32 %v", name, shape)
		}
		return nil
	}
	for _, p := range net.Params() {
		for _, prefix := range append(h.prefixes(net), prefixM) {
			if err := want(prefix+p.Name, p.Shape); err != nil {
				return err
			}
		}
	}
	for _, arch := range archs {
		for _, p := range supernet.Stats(net.Space().Model, arch) {
			for _, prefix := range h.normPrefixes(net) {
				if err := want(prefix+statName(arch, p), p.Shape); err != nil {
					return err
				}
			}
		}
	}
	return want(nameCounts, []int{len(net.Params())})
}

// finite reports the first tensor of weights, their averages or statistics that has a number
// which is not finite: nothing can be trained or measured with it any more.
func (h hostState) finite() error {
	for _, name := range slices.Sorted(maps.Keys(h)) {
		if strings.HasPrefix(name, prefixM) || strings.HasPrefix(name, prefixV) {
			continue
		}
		if values := h[name].Data; h[name].DType == "F32" {
			for i := 3; i < len(values); i += 4 { // all bits of an exponent are 1
				if values[i]&0x7f == 0x7f && values[i-1]&0x80 != 0 {
					return fmt.Errorf("%w: tensor %q", errWeights, name)
				}
			}
		}
	}
	return nil
}

// CheckpointFile is the checkpoint of a run at a step.
func CheckpointFile(run string, step int) string {
	return filepath.Join(run, checkpointsDir, fmt.Sprintf("step-%d.safetensors", step))
}

// writeCheckpoint writes the checkpoint of progress.Step, whole or not at all.
func writeCheckpoint(f fsys.FS, run string, h hostState, progress Progress) error {
	text, err := json.Marshal(progress)
	if err != nil {
		return fmt.Errorf("checkpoint of step %d: %w", progress.Step, err)
	}
	return tensorfile.Write(f, CheckpointFile(run, progress.Step), &tensorfile.File{
		Tensors:  h,
		Metadata: map[string]string{progressKey: string(text)},
	})
}

// readCheckpoint reads and verifies one checkpoint, with the statistics of architectures.
func readCheckpoint(f fsys.FS, path string, net *supernet.Net, archs ...space.Arch) (hostState, Progress, error) {
	file, err := tensorfile.ReadVerified(f, path)
	if err != nil {
		return nil, Progress{}, err
	}
	var progress Progress
	if err := json.Unmarshal([]byte(file.Metadata[progressKey]), &progress); err != nil {
		return nil, Progress{}, fmt.Errorf("%s: its metadata is not a checkpoint's: %w", path, err)
	}
	if progress.Format != progressFormat {
		return nil, Progress{}, fmt.Errorf("%s: checkpoint format %d; this version reads %d", path, progress.Format, progressFormat)
	}
	h := hostState(file.Tensors)
	err = h.check(net, archs)
	if err == nil {
		err = h.finite()
	}
	if err != nil {
		return nil, Progress{}, fmt.Errorf("%s: %w", path, err)
	}
	return h, progress, nil
}

// keptBack tells whether a file that could not be read may be sound. One that is gone, as the
// checkpoints of a run that goes on go, is not.
func keptBack(err error) bool { return fsys.OfSystem(err) && !errors.Is(err, fs.ErrNotExist) }

// checkpointSteps lists the steps of a run's checkpoint files, newest first. A folder
// that does not exist holds none.
func checkpointSteps(f fsys.FS, run string) ([]int, error) {
	entries, err := f.ReadDir(filepath.Join(run, checkpointsDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var steps []int
	for _, entry := range entries {
		number, isStep := strings.CutPrefix(entry.Name(), "step-")
		number, isTensors := strings.CutSuffix(number, ".safetensors")
		if step, err := strconv.Atoi(number); isStep && isTensors && err == nil {
			steps = append(steps, step)
		}
	}
	slices.Sort(steps)
	slices.Reverse(steps)
	return steps, nil
}

// atMost are those of some steps that are no more than newest.
func atMost(newest int, steps []int) []int {
	return slices.DeleteFunc(steps, func(step int) bool { return step > newest })
}

// newestCheckpoint loads the newest checkpoint of at most newest updates that is whole. It
// tells skip about each newer one that is not, and why. One that the system keeps back may be
// whole, and is an error.
func newestCheckpoint(f fsys.FS, run string, newest int, net *supernet.Net, archs []space.Arch, skip func(path string, why error)) (hostState, Progress, error) {
	steps, err := checkpointSteps(f, run)
	if err != nil {
		return nil, Progress{}, err
	}
	none := fmt.Errorf("%w in %s", ErrNoCheckpoint, filepath.Join(run, checkpointsDir))
	for _, step := range atMost(newest, steps) {
		path := CheckpointFile(run, step)
		h, progress, err := readCheckpoint(f, path, net, archs...)
		if err == nil {
			return h, progress, nil
		}
		if keptBack(err) {
			return nil, Progress{}, err
		}
		skip(path, err)
		none = fmt.Errorf("%w: %w", none, err)
	}
	return nil, Progress{}, none
}

// pruneCheckpoints removes all but the newest keep checkpoints of at most step updates and
// the best one. Those of more updates are of what the run does again: none is gone back to.
func pruneCheckpoints(f fsys.FS, run string, step, keep, best int) error {
	steps, err := checkpointSteps(f, run)
	if err != nil {
		return err
	}
	var failed error
	kept := 0
	for _, s := range steps {
		if s <= step && kept < keep {
			kept++
		} else if s != best {
			failed = errors.Join(failed, f.Remove(CheckpointFile(run, s)))
		}
	}
	return failed
}

// upload puts a state on the device, with the statistics of architectures. What it took
// on the host is garbage thereafter, unless the caller keeps the state, and more than the
// collector would have let go of by itself: its memory is given back.
func (h hostState) upload(e *engine.Engine, net *supernet.Net, archs ...space.Arch) (*State, error) {
	s := &State{Norms: map[string]*norms[*tensors.Tensor]{}}
	var failed error
	put := func(name string) *tensors.Tensor {
		t, err := e.Upload(h[name])
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("tensor %q: %w", name, err))
		}
		return t
	}
	for _, prefix := range h.prefixes(net) {
		group := s.group(prefix)
		for _, p := range net.Params() {
			*group = append(*group, put(prefix+p.Name))
		}
	}
	for _, arch := range archs {
		own := &norms[*tensors.Tensor]{}
		for _, prefix := range h.normPrefixes(net) {
			group := own.group(prefix)
			for _, p := range supernet.Stats(net.Space().Model, arch) {
				*group = append(*group, put(prefix+statName(arch, p)))
			}
		}
		s.Norms[arch.String()] = own
	}
	s.Counts = put(nameCounts)
	debug.FreeOSMemory()
	return s, failed
}

// download copies a state from the device, with the statistics of architectures.
func (s *State) download(net *supernet.Net, archs ...space.Arch) (hostState, error) {
	h := hostState{}
	var failed error
	get := func(name string, t *tensors.Tensor) {
		host, err := engine.Download(t)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("tensor %q: %w", name, err))
		}
		h[name] = host
	}
	for _, prefix := range allPrefixes {
		for i, t := range *s.group(prefix) {
			get(prefix+net.Params()[i].Name, t)
		}
	}
	for _, arch := range archs {
		for i, p := range supernet.Stats(net.Space().Model, arch) {
			for _, prefix := range []string{prefixWeights, prefixEMA} {
				if group := *s.normsOf(arch).group(prefix); len(group) > 0 {
					get(prefix+statName(arch, p), group[i])
				}
			}
		}
	}
	get(nameCounts, s.Counts)
	return h, failed
}
