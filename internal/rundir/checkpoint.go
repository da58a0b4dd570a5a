package rundir

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"prenas/internal/fsys"
	"prenas/internal/strictjson"
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
	NameCounts     = "optimizer.counts"
	progressKey    = "prenas"
	CheckpointsDir = "checkpoints"
	ProgressFormat = 1
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

	MetricsBytes int64   `json:"metrics_bytes"`            // length of metrics.jsonl at this step
	MetricsSum   string  `json:"metrics_sha256,omitempty"` // of these bytes; none in checkpoints of earlier versions
	Window       Window  `json:"window"`                   // losses since the last metrics line
	BadSteps     int     `json:"bad_steps"`                // steps in a row that were not finite
	BestStep     int     `json:"best_step"`                // checkpoint that is taken, by its held-out accuracy (Better); 0: none yet
	BestTop1     float64 `json:"best_top1"`                // its accuracy
	HighestTop1  float64 `json:"highest_top1,omitempty"`   // of all evaluations; 0 in checkpoints of earlier versions: BestTop1
	LowestLoss   float64 `json:"lowest_loss,omitempty"`    // of all evaluations
	Improved     int     `json:"improved,omitempty"`       // updates behind the newest evaluation that was better than all before in accuracy or loss; 0: none yet
	Stopped      bool    `json:"stopped,omitempty"`        // training ended here, since nothing improved for the recipe's patience
	RolledBack   int     `json:"rolled_back,omitempty"`    // times that training went back and lowered its rate
}

// HostState is a State in host memory, in the form of a checkpoint's tensors.
type HostState map[string]tensorfile.Tensor

// Groups of the groups of tensors that the state has, by its first weight.
func (h HostState) Groups(net *supernet.Net) []string {
	return slices.DeleteFunc(slices.Clone(Groups), func(prefix string) bool {
		_, has := h[prefix+net.Params()[0].Name]
		return !has
	})
}

// StatGroups of the groups of running statistics that the state has.
func (h HostState) StatGroups(net *supernet.Net) []string {
	return slices.DeleteFunc(h.Groups(net), func(p string) bool { return p != GroupWeights && p != GroupEMA })
}

// Digest names the weights and the statistics of architectures: a SHA-256 over the former
// in the order of Params, then the latter.
func (h HostState) Digest(net *supernet.Net, archs []space.Arch) string {
	sum := sha256.New()
	for _, p := range net.Params() {
		sum.Write(h[p.Name].Data)
	}
	for _, arch := range archs {
		for _, p := range supernet.Stats(net.Space().Model, arch) {
			sum.Write(h[StatName(arch, p)].Data)
		}
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// check reports the first tensor of a checkpoint of training architectures that is
// missing or of another form.
func (h HostState) check(net *supernet.Net, archs []space.Arch) error {
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
		for _, prefix := range append(h.Groups(net), GroupM) {
			if err := want(prefix+p.Name, p.Shape); err != nil {
				return err
			}
		}
	}
	for _, arch := range archs {
		for _, p := range supernet.Stats(net.Space().Model, arch) {
			for _, prefix := range h.StatGroups(net) {
				if err := want(prefix+StatName(arch, p), p.Shape); err != nil {
					return err
				}
			}
		}
	}
	return want(NameCounts, []int{len(net.Params())})
}

// Finite reports the first tensor of weights, their averages or statistics that has a number
// which is not finite: nothing can be trained or measured with it any more.
func (h HostState) Finite() error {
	for _, name := range slices.Sorted(maps.Keys(h)) {
		if strings.HasPrefix(name, GroupM) || strings.HasPrefix(name, GroupV) {
			continue
		}
		if values := h[name].Data; h[name].DType == "F32" {
			for i := 3; i < len(values); i += 4 { // all bits of an exponent are 1
				if values[i]&0x7f == 0x7f && values[i-1]&0x80 != 0 {
					return fmt.Errorf("%w: tensor %q", ErrWeights, name)
				}
			}
		}
	}
	return nil
}

// CheckpointFile is the checkpoint of a run at a step.
func CheckpointFile(run string, step int) string {
	return filepath.Join(run, CheckpointsDir, fmt.Sprintf("step-%d.safetensors", step))
}

// WriteCheckpoint writes the checkpoint of progress.Step, whole or not at all.
func WriteCheckpoint(f fsys.FS, run string, h HostState, progress Progress) error {
	text, err := json.Marshal(progress)
	if err != nil {
		return fmt.Errorf("checkpoint of step %d: %w", progress.Step, err)
	}
	return tensorfile.Write(f, CheckpointFile(run, progress.Step), &tensorfile.File{
		Tensors:  h,
		Metadata: map[string]string{progressKey: string(text)},
	})
}

// ReadCheckpoint reads and verifies one checkpoint, with the statistics of architectures.
func ReadCheckpoint(f fsys.FS, path string, net *supernet.Net, archs ...space.Arch) (HostState, Progress, error) {
	file, err := tensorfile.ReadVerified(f, path)
	if err != nil {
		return nil, Progress{}, err
	}
	var progress Progress
	if err := strictjson.Unmarshal([]byte(file.Metadata[progressKey]), &progress); err != nil {
		return nil, Progress{}, fmt.Errorf("%s: its metadata is not a checkpoint's: %w", path, err)
	}
	if progress.Format != ProgressFormat {
		return nil, Progress{}, fmt.Errorf("%s: checkpoint format %d; this version reads %d", path, progress.Format, ProgressFormat)
	}
	h := HostState(file.Tensors)
	err = h.check(net, archs)
	if err == nil {
		err = h.Finite()
	}
	if err != nil {
		return nil, Progress{}, fmt.Errorf("%s: %w", path, err)
	}
	return h, progress, nil
}

// keptBack tells whether a file that could not be read may be sound. One that is gone, as the
// checkpoints of a run that goes on go, is not.
func keptBack(err error) bool { return fsys.OfSystem(err) && !errors.Is(err, fs.ErrNotExist) }

// CheckpointSteps lists the steps of a run's checkpoint files, newest first. A folder
// that does not exist holds none.
func CheckpointSteps(f fsys.FS, run string) ([]int, error) {
	entries, err := f.ReadDir(filepath.Join(run, CheckpointsDir))
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

// AtMost are those of some steps that are no more than newest.
func AtMost(newest int, steps []int) []int {
	return slices.DeleteFunc(steps, func(step int) bool { return step > newest })
}

// NewestCheckpoint loads the newest checkpoint of at most newest updates that is whole. It
// tells skip about each newer one that is not, and why. One that the system keeps back may be
// whole, and is an error.
func NewestCheckpoint(f fsys.FS, run string, newest int, net *supernet.Net, archs []space.Arch, skip func(path string, why error)) (HostState, Progress, error) {
	steps, err := CheckpointSteps(f, run)
	if err != nil {
		return nil, Progress{}, err
	}
	none := fmt.Errorf("%w in %s", ErrNoCheckpoint, filepath.Join(run, CheckpointsDir))
	for _, step := range AtMost(newest, steps) {
		path := CheckpointFile(run, step)
		h, progress, err := ReadCheckpoint(f, path, net, archs...)
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

// PruneCheckpoints removes all but the newest keep checkpoints of at most step updates and
// the best one. Those of more updates are of what the run does again: none is gone back to.
func PruneCheckpoints(f fsys.FS, run string, step, keep, best int) error {
	steps, err := CheckpointSteps(f, run)
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

// Prefixes of the names that tensors have in a checkpoint; weights have none.
const (
	GroupWeights = ""
	GroupM       = "optimizer.m."
	GroupV       = "optimizer.v."
	GroupEMA     = "ema."
	StatsPrefix  = "stats." // of running statistics, after that of the weights or averages
)

// Groups in the order in which groups of tensors go into a program.
var Groups = []string{GroupWeights, GroupM, GroupV, GroupEMA}

// LRFactor is what going back has left of the learning rate: half, each time.
func (p Progress) LRFactor() float64 { return math.Pow(0.5, float64(p.RolledBack)) }
