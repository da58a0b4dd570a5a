package job

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"prenas/internal/engine"
	"prenas/internal/evaluate"
	"prenas/internal/export"
	"prenas/internal/fsys"
	"prenas/internal/input"
	"prenas/internal/printable"
	"prenas/internal/rundir"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/pkg/search"
	"prenas/pkg/space"
)

// AllArchs, for ExportOptions.Arch, means every architecture of the run.
const AllArchs = "all"

// ErrEnding: a file's name has no ending that says its format.
var ErrEnding = errors.New("its name ends in")

// ExportOptions of Export.
type ExportOptions struct {
	Run string
	// Candidates is a file of architectures of the run's space to choose from; empty: those that
	// the run trained.
	Candidates string
	Arch       string // name, key of an interval (its best), or AllArchs; empty: the only one
	Format     Format
	Licence    string
	Out        string // file to write; with AllArchs the folder for them
	Log        func(string)
}

// Exported is one model that Export wrote.
type Exported struct {
	Arch       string           `json:"arch"`
	Interval   string           `json:"interval"`
	Keys       string           `json:"keys,omitempty"` // what the key of an interval is, by search.KeysOf
	File       string           `json:"file"`
	Bytes      int64            `json:"bytes"`
	Parameters int64            `json:"parameters"`
	MACs       int64            `json:"macs"`
	Accuracy   *export.Accuracy `json:"accuracy,omitempty"`
}

// Export writes architectures of a run as models by themselves, each with its description and its
// card beside it. Run may also be the file of a model, which is then written in the format that is
// asked for. When ctx is cancelled it stops before the next model.
//
// Its errors wrap input.Arch where there is no such architecture, or none is named and there are
// several, and ErrEnding.
func Export(ctx context.Context, o ExportOptions) ([]Exported, error) {
	if IsModel(o.Run) {
		if o.Candidates != "" {
			return nil, fmt.Errorf("%w is for runs, of which architectures are slices; %s is a model by itself", input.Candidates, o.Run)
		}
		return o.model()
	}
	manifest, err := rundir.ReadManifest(fsys.OS, o.Run)
	if err != nil {
		return nil, err
	}
	if len(manifest.Data.Mean) == 0 {
		return nil, fmt.Errorf("%s: its manifest does not say how images were normalised: it was written before models could be exported; train the run anew", o.Run)
	}
	chosen, asked, err := chooseArchs(manifest, o.Run, o.Candidates, o.Arch)
	if errors.Is(err, input.Arch) {
		err = fmt.Errorf("%w\nor %s of them", err, AllArchs)
	}
	if err != nil {
		return nil, err
	}
	if o.Arch != AllArchs {
		if err := o.Format.check(o.Out); err != nil {
			return nil, err
		}
	}
	var release func()
	if o.Arch == AllArchs {
		release, err = fsys.HoldFolder(o.Out)
		if err != nil {
			err = fmt.Errorf("%w: %w", input.Out, err)
		}
	} else {
		release, err = o.hold()
	}
	if err != nil {
		return nil, err
	}
	defer release()
	weights, step, err := rundir.Weights(fsys.OS, o.Run, manifest.Space, func(_ string, why error) {
		o.Log(fmt.Sprintf("warning: skipped %v", why))
	})
	if err != nil {
		return nil, err
	}
	of, err := unfinished(manifest, o.Run, o.Log)
	if err != nil {
		return nil, err
	}
	accuracy, found, err := measured(o, step, weights)
	if err != nil {
		return nil, err
	}
	recipe, err := manifest.Recipe.YAML()
	if err != nil {
		return nil, fmt.Errorf("%s: recipe: %w", o.Run, err)
	}
	net, m := supernet.New(manifest.Space), manifest.Space.Model.Plain()
	var list []Exported
	for _, c := range chosen {
		if ctx.Err() != nil {
			return list, ctx.Err()
		}
		path := o.Out
		if o.Arch == AllArchs {
			path = filepath.Join(o.Out, c.arch.String()+o.Format.ending)
		}
		alone, err := aloneWeights(net, weights, c.arch)
		if errors.Is(err, rundir.ErrNoStats) && o.Candidates != "" {
			err = fmt.Errorf("%w; prenas eval %s %v %s estimates them", err, o.Run, input.Candidates, o.Candidates)
		}
		if err != nil {
			return list, fmt.Errorf("%s: %w", o.Run, err)
		}
		// An architecture of a lower resolution sees the same part of a picture, in fewer pixels.
		side := m.Side(c.arch)
		resize := manifest.Recipe.Augment.TestResize(m.ImageSize) * side / m.ImageSize
		model, err := export.Take(alone, m, c.arch, export.Info{
			Preprocess: export.Preprocess{Size: side, Resize: resize, Interpolation: export.Bicubic, Mean: manifest.Data.Mean, Std: manifest.Data.Std},
			Classes:    manifest.Data.Classes,
			Data:       export.Data{Source: manifest.Data.GivenName(), Digest: manifest.Data.Digest},
			Training:   export.Training{Steps: step, Of: of, Seed: manifest.Seed, Recipe: manifest.Recipe.Digest()},
			Accuracy:   accuracy[c.arch.String()],
			Costs:      askedOf(asked, c.arch),
			Licence:    o.Licence,
		})
		if err != nil {
			return list, fmt.Errorf("%s: %w", o.Run, err)
		}
		card := export.Card{Info: model.Info, File: filepath.Base(path), Form: o.Format.text(m), Command: manifest.Command, YAML: string(recipe), Found: found[c.arch.String()]}
		if err := o.write(path, model, card); err != nil {
			return list, fmt.Errorf("%w: %w", input.Out, err)
		}
		file, err := os.Stat(path)
		if err != nil {
			return list, fmt.Errorf("%w: %w", input.Out, err)
		}
		list = append(list, Exported{
			Arch: model.Info.Arch, Interval: c.key, Keys: search.KeysOf(asked), File: path, Bytes: file.Size(),
			Parameters: model.Info.Parameters, MACs: model.Info.MACs, Accuracy: model.Info.Accuracy,
		})
	}
	return list, nil
}

// model writes the model of a file in another format.
func (o ExportOptions) model() ([]Exported, error) {
	m, err := export.Read(fsys.OS, o.Run)
	if err != nil {
		return nil, err
	}
	if o.Arch != "" && o.Arch != m.Info.Arch {
		return nil, fmt.Errorf("%w: unknown architecture %q; %s holds %s alone", input.Arch, o.Arch, o.Run, m.Info.Arch)
	}
	if err := o.Format.check(o.Out); err != nil {
		return nil, err
	}
	release, err := o.hold()
	if err != nil {
		return nil, err
	}
	defer release()
	m.Info.Licence = cmp.Or(o.Licence, m.Info.Licence)
	card := export.Card{Info: m.Info, File: filepath.Base(o.Out), Form: o.Format.text(m.Info.SpaceModel()), Command: "prenas export " + filepath.Base(o.Run)}
	if err := o.write(o.Out, m, card); err != nil {
		return nil, fmt.Errorf("%w: %w", input.Out, err)
	}
	file, err := os.Stat(o.Out)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", input.Out, err)
	}
	return []Exported{{
		Arch: m.Info.Arch, File: o.Out, Bytes: file.Size(), Parameters: m.Info.Parameters, MACs: m.Info.MACs, Accuracy: m.Info.Accuracy,
	}}, nil
}

// hold holds the file to write, or the folder of a format whose files are a folder's, which is made
// and does not stay empty.
func (o ExportOptions) hold() (release func(), err error) {
	if !o.Format.inFolder() {
		return holdFile(input.Out, o.Out)
	}
	release, err = fsys.HoldFolder(filepath.Dir(o.Out))
	if err != nil {
		err = fmt.Errorf("%w: %w", input.Out, err)
	}
	return release, err
}

// write writes a model with its description and card, all of them or none.
func (o ExportOptions) write(path string, model *export.Model, card export.Card) error {
	if o.Format.inFolder() {
		if err := fsys.OS.MkdirAll(filepath.Dir(path)); err != nil {
			return err
		}
	}
	set := fsys.NewSet(fsys.OS)
	defer set.Discard()
	if err := o.Format.write(set, path, model); err != nil {
		return err
	}
	if err := export.WriteSiblings(set, path, card); err != nil {
		return err
	}
	return set.Commit()
}

// askedOf is what an architecture costs of that which was asked for and measured: costs that can be
// counted from the architecture alone are left out.
func askedOf(asked []search.Asked, arch space.Arch) (list []export.Cost) {
	for _, a := range asked {
		if v, has := a.Archs[arch.String()]; has && !a.Counted() {
			list = append(list, export.Cost{Name: a.Cost, Value: v, Unit: a.Unit, On: a.On})
		}
	}
	return list
}

// aloneWeights are a run's weights for one of its architectures, with the statistics of its own
// batch norms. What the architecture's choices have learnt for themselves is folded in.
func aloneWeights(net *supernet.Net, weights map[string]tensorfile.Tensor, a space.Arch) (map[string]tensorfile.Tensor, error) {
	m := net.Space().Model
	stats, err := rundir.RunningStats(weights, m, a)
	if err != nil {
		return nil, err
	}
	alone := maps.Clone(weights)
	if !m.IsPlain() {
		if alone, err = net.Fold(weights, a); err != nil {
			return nil, err
		}
	}
	maps.Copy(alone, stats)
	return alone, nil
}

// choice is an architecture of a run and the key of the interval that it is in.
type choice struct {
	key  string
	arch space.Arch
}

// chooseArchs finds architectures by name among those that a run trained, or those of a candidates
// file. The name is that of an architecture, the key of an interval (its best) or AllArchs. Without
// a name it is the only architecture, or an error that wraps input.Arch. asked is what they cost.
func chooseArchs(m rundir.Manifest, run, file, name string) (chosen []choice, asked []search.Asked, err error) {
	candidates, asked, err := candidatesOf(m, run, file)
	if err != nil {
		return nil, nil, err
	}
	var all []choice
	var known []string
	for _, bin := range candidates {
		for i, c := range bin.Candidates {
			if name == c.Arch.String() || i == 0 && sameKey(name, bin.Key) {
				return []choice{{bin.Key, c.Arch}}, asked, nil
			}
			all = append(all, choice{bin.Key, c.Arch})
			known = append(known, fmt.Sprintf("\n  %s  %s", search.NumberText(bin.Key), c.Arch))
		}
	}
	if name == AllArchs || name == "" && len(all) == 1 {
		return all, asked, nil
	}
	wrong := fmt.Sprintf(": unknown architecture %q", name)
	if name == "" {
		wrong = " is missing: name an architecture, or the key of its interval"
	}
	return nil, nil, fmt.Errorf("%w%s; %s has, by interval,%s", input.Arch, wrong, cmp.Or(file, run), strings.Join(known, ""))
}

// sameKey tells whether a text names an interval. Its key may have the digits of a sum of floats:
// 0.34 names 0.33999999999999997.
func sameKey(text, key string) bool {
	given, err := strconv.ParseFloat(text, 64)
	bound, _ := strconv.ParseFloat(key, 64) // a candidates file has only numbers as keys
	return err == nil && math.Abs(given-bound) <= 1e-9*bound
}

// measured reads what each architecture reached from the run's results. It returns nothing where
// the results are of other weights than those after step updates.
func measured(o ExportOptions, step int, weights map[string]tensorfile.Tensor) (accuracy map[string]*export.Accuracy, found map[string]*export.Found, err error) {
	path := filepath.Join(o.Run, ResultsFile)
	results, err := evaluate.ReadResults(fsys.OS, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	if results.Step != step {
		o.Log(fmt.Sprintf("%s is of the weights after %s, not %d: no accuracy on the cards; prenas eval %s measures anew", path, printable.Count(results.Step, "update"), step, o.Run))
		return nil, nil, nil
	}
	if results.Weights != "" && results.Weights != tensorfile.Digest(weights) {
		o.Log(fmt.Sprintf("%s is of other weights than those that are exported: no accuracy on the cards; prenas eval %s measures anew", path, o.Run))
		return nil, nil, nil
	}
	accuracy, found = map[string]*export.Accuracy{}, map[string]*export.Found{}
	for _, a := range results.Archs {
		found[a.Arch] = foundOf(results, a)
		own := export.Accuracy{
			Source: cmp.Or(results.Data.Named, results.Data.Source), Digest: results.Data.Digest,
			Split: results.Split, Images: results.Images, Bad: results.Bad, Crops: results.Crops, Top1: a.Top1, Top1Interval: &a.Top1Interval, Top5: a.Top5,
		}
		if results.Precision != engine.Float32 {
			own.Precision = results.Precision
		}
		accuracy[a.Arch] = &own
	}
	return accuracy, found, nil
}

// foundOf is what a card says beside the accuracy; nil where the results do not have it.
func foundOf(r evaluate.Results, a evaluate.Result) *export.Found {
	const classes, pairs = 30, 5
	if len(a.PerClass) == 0 {
		return nil
	}
	f := &export.Found{Balanced: a.Balanced, Loss: a.Loss}
	all := a.Worst(len(a.PerClass))
	for _, c := range all[:min(len(all), classes)] {
		f.Classes = append(f.Classes, export.FoundClass{Name: r.ClassName(c.Class), Images: c.Images, Recall: c.Recall(), Precision: c.Precision()})
	}
	f.Left = len(all) - len(f.Classes)
	for _, p := range a.MostConfused(pairs) {
		f.Confused = append(f.Confused, fmt.Sprintf("%s for %s: %d of %s", r.ClassName(p[0]), r.ClassName(p[1]), p[2], printable.Count(a.Images(p[0]), "image")))
	}
	return f
}
