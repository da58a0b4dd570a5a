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
	"prenas/internal/rundir"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// trained is an architecture with weights, to go on from.
type trained struct {
	space   *space.Space // that holds the architecture
	arch    space.Arch
	weights map[string]tensorfile.Tensor // of the space's supernet, and the architecture's running statistics
	look    rundir.ImageInfo             // of the images behind the weights
	from    *rundir.From
}

// openTrained opens an architecture of a run, or the file of an exported model.
func openTrained(from, arch string, log func(string)) (trained, error) {
	if IsModel(from) {
		t, err := trainedModel(from, arch)
		if errors.Is(err, ErrArch) {
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
	chosen, err := chooseArchs(manifest, from, arch)
	if err == nil && arch == AllArchs {
		err = fmt.Errorf("%w %s: one architecture is trained on; name one", ErrArch, AllArchs)
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
	return trained{manifest.Space, chosen[0].arch, weights, manifest.Data.ImageInfo, file}, err
}

// trainedModel takes the file of an exported model. Its supernet is just as large as
// the architecture needs.
func trainedModel(path, arch string) (trained, error) {
	m, err := export.Read(fsys.OS, path)
	if err != nil {
		return trained{}, err
	}
	t := trained{arch: m.Info.SpaceArch(), look: rundir.ImageInfo{Mean: m.Info.Preprocess.Mean, Std: m.Info.Preprocess.Std, Classes: m.Info.Classes}}
	if arch != "" && arch != m.Info.Arch {
		return trained{}, fmt.Errorf("%w: unknown architecture %q; %s holds %s alone", ErrArch, arch, path, m.Info.Arch)
	}
	if t.from, err = fromFile(path, m.Info.Arch); err != nil {
		return trained{}, err
	}
	own, err := m.Weights()
	if err != nil {
		return trained{}, fmt.Errorf("%s: %w", path, err)
	}
	t.space = around(m.Info.SpaceModel(), t.arch)
	t.weights, err = widened(own, supernet.New(t.space).Params())
	if err != nil {
		return trained{}, fmt.Errorf("%s: %w", path, err)
	}
	rundir.AddRunningStats(t.weights, t.space.Model, t.arch, own)
	return t, nil
}

// importedModel takes weights that Import wrote, of the whole model or of an architecture of
// the space beside them; why is what it is otherwise.
func importedModel(path, arch string, why error) (trained, error) {
	file := SpacePath(path)
	s, err := space.Load(file)
	if errors.Is(err, space.ErrUnknownSpace) {
		return trained{}, fmt.Errorf("%w; weights of others come in by prenas import, which writes %s too", why, file)
	}
	if err != nil {
		return trained{}, err
	}
	weights, err := readWeights(path, s)
	if err != nil {
		return trained{}, err
	}
	t := trained{space: headOf(s, weights), arch: s.Largest(), weights: weights}
	if t.from, err = fromFile(path, arch); err != nil {
		return trained{}, err
	}
	if arch != "" {
		if t.arch, err = space.ParseArch(arch); err == nil {
			err = s.Check(t.arch)
		}
		if err != nil {
			return trained{}, fmt.Errorf("%w %s: %w; %s has %s and what prenas search finds in it", ErrArch, arch, err, file, s.Largest())
		}
	}
	return t, nil
}

// around is the smallest space that holds an architecture: its choices are those that
// the layers have.
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

// each of some values once, in order.
func each[T cmp.Ordered](values []T) []T { return slices.Compact(slices.Sorted(slices.Values(values))) }

// widened puts each weight where it lies as a slice in one of a supernet's size, zero
// elsewhere.
func widened(own map[string]tensorfile.Tensor, params []supernet.Param) (map[string]tensorfile.Tensor, error) {
	out := map[string]tensorfile.Tensor{}
	for _, p := range params {
		size := 1
		for _, d := range p.Shape {
			size *= d
		}
		wide := make([]float32, size)
		t, used := own[p.Name]
		if used { // else it is of a layer that the architecture's unit does not have
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

// suit fits the trained architecture to other images: interpolated positions where
// they have another size (0: the same), a new head where they have other classes.
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
			return t, fmt.Errorf("--image-size %d: %w", imageSize, err)
		}
	}
	var err error
	if t.weights, err = supernet.Resize(from, s.Model, t.weights); err != nil {
		return t, err
	}
	if imageSize != 0 && s.Model.IsConv() { // it is another architecture, by name
		stats, err := rundir.RunningStats(t.weights, from, t.arch)
		if err != nil {
			return t, err
		}
		t.arch.Resolution = imageSize
		rundir.AddRunningStats(t.weights, s.Model, t.arch, stats)
	}
	return t, t.suitHead(from.NumClasses, classes, seed, log)
}

// suitHead gives the head an output for each class: that of the class of this name where
// the weights know all of them, else a new one, drawn from the seed. It tells which.
func (t *trained) suitHead(had int, names classes, seed uint64, log func(string)) error {
	net, known := supernet.New(t.space), t.look.Classes
	rows := byName(names, known)
	switch {
	case len(known) == 0 && len(names) == had:
		log(fmt.Sprintf("warning: the weights name no classes: their %d outputs are taken to be those of the images, from %s to %s", had, nameOf(names, 0), nameOf(names, had-1)))
		return nil
	case slices.Contains(rows, unknown):
		drawn := net.Init(seed)
		for _, p := range net.Params() {
			if p.InHead() {
				t.weights[p.Name] = drawn[p.Name]
			}
		}
		what := fmt.Sprintf("%d classes instead of %d", len(names), had)
		if len(names) == had {
			what = fmt.Sprintf("other classes (%s and so on instead of %s)", nameOf(names, 0), nameOf(known, 0))
		}
		log(what + ": the head is drawn anew")
		return nil
	case len(names) == had && (matched{output: rows}).same():
		return nil
	}
	for _, p := range net.Params() {
		if !p.InHead() {
			continue
		}
		all, err := t.weights[p.Name].Float32s()
		if err != nil {
			return fmt.Errorf("tensor %q: %w", p.Name, err)
		}
		width := len(all) / had
		var own []float32
		for _, row := range rows {
			own = append(own, all[row*width:][:width]...)
		}
		t.weights[p.Name] = tensorfile.FromFloat32(p.Shape, own)
	}
	if len(names) == had {
		log("the images' classes are those of the head in another order: its outputs are put into it, by name")
	} else {
		log(fmt.Sprintf("the head keeps its outputs of the images' %d classes, by name; it had %d", len(names), had))
	}
	return nil
}
