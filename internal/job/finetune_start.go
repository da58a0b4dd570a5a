package job

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"

	"prenas/internal/export"
	"prenas/internal/fsys"
	"prenas/internal/input"
	"prenas/internal/rundir"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// trained is an architecture with trained weights, from which a training begins.
type trained struct {
	space   *space.Space // that the architecture is of
	arch    space.Arch
	weights map[string]tensorfile.Tensor // of the space's supernet, and the architecture's running statistics
	look    rundir.ImageInfo             // of the images behind the weights
	from    *rundir.From
	drawn   bool // the head was drawn anew, so it knows no class yet
}

// openTrained opens an architecture of a run, or the file of an exported model.
func openTrained(from, arch string, log func(string)) (trained, error) {
	if IsModel(from) {
		t, err := trainedModel(from, arch)
		if errors.Is(err, input.Arch) {
			if _, statErr := os.Stat(SpacePath(from)); statErr == nil { // one of the space beside it
				return importedModel(from, arch, err)
			}
		}
		switch {
		case errors.Is(err, export.ErrNoDescription):
			return importedModel(from, arch, err)
		case errors.Is(err, tensorfile.ErrForeign):
			err = fmt.Errorf("%w; prenas import brings it in", err)
		}
		return t, err
	}
	manifest, err := rundir.ReadManifest(fsys.OS, from)
	if err != nil {
		return trained{}, err
	}
	chosen, _, err := chooseArchs(manifest, from, "", arch)
	if err == nil && arch == AllArchs {
		err = fmt.Errorf("%w %s: one architecture is trained on; name one", input.Arch, AllArchs)
	}
	if err != nil {
		return trained{}, err
	}
	if _, err := unfinished(manifest, from, log); err != nil {
		return trained{}, err
	}
	weights, step, err := rundir.Weights(fsys.OS, from, manifest.Space, func(_ string, why error) {
		log(fmt.Sprintf("warning: skipped %v", why))
	})
	if err != nil {
		return trained{}, err
	}
	file, err := fromFile(rundir.CheckpointFile(from, step), chosen[0].arch.String())
	return trained{space: manifest.Space, arch: chosen[0].arch, weights: weights, look: manifest.Data.ImageInfo, from: file}, err
}

// trainedModel reads an exported model. arch must be empty or its name.
func trainedModel(path, arch string) (trained, error) {
	m, err := export.Read(fsys.OS, path)
	if err != nil {
		return trained{}, err
	}
	if arch != "" && arch != m.Info.Arch {
		return trained{}, fmt.Errorf("%w: unknown architecture %q; %s holds %s alone", input.Arch, arch, path, m.Info.Arch)
	}
	t, err := trainedAs(m)
	if err != nil {
		return trained{}, fmt.Errorf("%s: %w", path, err)
	}
	t.from, err = fromFile(path, m.Info.Arch)
	return t, err
}

// trainedAs puts a model into the smallest supernet that holds it.
func trainedAs(m *export.Model) (trained, error) {
	t := trained{arch: m.Info.SpaceArch(), look: lookOf(m.Info)}
	own, err := m.Weights()
	if err != nil {
		return trained{}, err
	}
	t.space = around(m.Info.SpaceModel(), t.arch)
	if t.weights, err = widened(own, supernet.New(t.space).Params()); err != nil {
		return trained{}, err
	}
	rundir.AddRunningStats(t.weights, t.space.Model, t.arch, own)
	return t, nil
}

// lookOf is how the images that a model was trained on are normalised, and their classes.
func lookOf(i export.Info) rundir.ImageInfo {
	return rundir.ImageInfo{Mean: i.Preprocess.Mean, Std: i.Preprocess.Std, Classes: i.Classes}
}

// importedModel reads weights that Import wrote: of the whole model, or of an architecture arch of
// the space beside them. why is the error where there is no such space.
func importedModel(path, arch string, why error) (trained, error) {
	file := SpacePath(path)
	s, err := space.Load(file)
	if errors.Is(err, space.ErrUnknownSpace) {
		return trained{}, fmt.Errorf("%w; weights of others come in by prenas import, which writes %s too", why, file)
	}
	if err != nil {
		return trained{}, err
	}
	weights, look, err := readWeights(path, s)
	if err != nil {
		return trained{}, err
	}
	t := trained{space: headOf(s, weights), arch: s.Largest(), weights: weights, look: look}
	if t.from, err = fromFile(path, arch); err != nil {
		return trained{}, err
	}
	if arch != "" {
		if t.arch, err = space.ParseArch(arch); err == nil {
			err = s.Check(t.arch)
		}
		if err != nil {
			return trained{}, fmt.Errorf("%w %s: %w; %s has %s and what prenas search finds in it", input.Arch, arch, err, file, s.Largest())
		}
	}
	return t, nil
}

// around is the smallest space that holds an architecture: its choices are those of the
// architecture's layers.
func around(m space.Model, a space.Arch) *space.Space {
	s := &space.Space{Name: a.String(), Model: m, ModelGiven: true}
	if a.IsConv() {
		s.Resolution = []int{a.Resolution}
		for _, layers := range a.Units {
			s.Depth = append(s.Depth, len(layers))
			for _, l := range layers {
				s.Kernel, s.Expand = append(s.Kernel, l.Kernel), append(s.Expand, l.Expand)
			}
		}
		s.Depth, s.Kernel, s.Expand = each(s.Depth), each(s.Kernel), each(s.Expand)
		s.Supernet = space.Supernet{Depth: slices.Max(s.Depth), Kernel: slices.Max(s.Kernel), Expand: slices.Max(s.Expand)}
		return s
	}
	heads, ratios := slices.Max(a.NumHeads), slices.Max(a.MLPRatio)
	s.Supernet = space.Supernet{EmbedDim: max(a.EmbedDim, heads*m.HeadDim), Depth: a.Depth(), NumHeads: heads, MLPRatio: ratios}
	s.EmbedDim, s.Depth, s.NumHeads, s.MLPRatio = []int{a.EmbedDim}, []int{a.Depth()}, each(a.NumHeads), each(a.MLPRatio)
	return s
}

// each returns every value once, in ascending order.
func each[T cmp.Ordered](values []T) []T { return slices.Compact(slices.Sorted(slices.Values(values))) }

// widened puts each weight, as a slice, into one of the size that the supernet has; the rest is
// zero. Weights that the architecture does not have are all zero.
func widened(own map[string]tensorfile.Tensor, params []supernet.Param) (map[string]tensorfile.Tensor, error) {
	out := map[string]tensorfile.Tensor{}
	for _, p := range params {
		size := 1
		for _, d := range p.Shape {
			size *= d
		}
		wide := make([]float32, size)
		t, used := own[p.Name]
		if used { // otherwise it is of a layer that the architecture does not have
			values, err := t.Float32s()
			if err != nil {
				return nil, fmt.Errorf("tensor %q: %w", p.Name, err)
			}
			supernet.PlaceSlice(values, t.Shape, wide, p.Shape)
		}
		out[p.Name] = tensorfile.FromFloat32(p.Shape, wide)
	}
	return out, nil
}

// suit fits the trained architecture to other images. It interpolates the positions for another
// size (in pixels; 0: the same), and gives the head the classes of the images.
func (t trained) suit(classes []string, imageSize int, seed uint64, log func(string)) (trained, error) {
	from := t.space.Model
	s := *t.space
	s.Interval, s.ModelGiven = space.Interval{}, true
	s.Model.NumClasses = len(classes)
	t.space = &s
	if imageSize != 0 {
		s.Model.ImageSize = imageSize
		if from.IsConv() {
			s.Resolution = []int{imageSize}
		}
		if from.RelativePosition {
			scale := float64(imageSize) / float64(from.ImageSize)
			s.Model.MaxRelativePosition = max(1, int(math.Round(scale*float64(from.MaxRelativePosition))))
		}
		if err := s.Validate(); err != nil {
			return t, fmt.Errorf("%w %d: %w", input.ImageSize, imageSize, err)
		}
	}
	var err error
	if t.weights, err = supernet.Resize(from, s.Model, t.weights); err != nil {
		return t, err
	}
	if imageSize != 0 && s.Model.IsConv() { // the resolution is a part of the architecture's name
		stats, err := rundir.RunningStats(t.weights, from, t.arch)
		if err != nil {
			return t, err
		}
		t.arch.Resolution = imageSize
		rundir.AddRunningStats(t.weights, s.Model, t.arch, stats)
	}
	t.drawn, err = suitHead(t.space, t.weights, t.look.Classes, classes, seed, log)
	return t, err
}
