package job

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"prenas/internal/data/source"
	"prenas/internal/fsys"
	"prenas/internal/input"
	"prenas/internal/machine"
	"prenas/internal/printable"
	"prenas/internal/recipe"
	"prenas/internal/rundir"
	"prenas/internal/strictjson"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/internal/train"
	"prenas/pkg/search"
	"prenas/pkg/space"
)

// Measured says how the scores of a search were measured, and how much work that was. A score is
// top-1 on the images that a run held out, with a slice of its weights.
type Measured struct {
	Step          int     `json:"step"`    // updates behind the weights
	Weights       string  `json:"weights"` // their digest (tensorfile.Digest)
	Data          string  `json:"data"`    // SHA-256 of the images
	Split         string  `json:"split"`
	Images        int     `json:"images"`                // that each architecture is measured on
	Calibration   int     `json:"calibration,omitempty"` // images that each one's batch norms are estimated on
	Architectures int64   `json:"architectures"`         // number that was measured
	AllImages     int64   `json:"all_images"`            // images of all forward passes together
	Population    int     `json:"population"`
	Breeding      *Breeds `json:"breeding,omitempty"` // nil after a random search
}

// Breeds are the settings of evolution, as in search.Options.
type Breeds struct {
	Generations int     `json:"generations"`
	Select      int     `json:"select"`
	Mutation    int     `json:"mutation"`
	Crossover   int     `json:"crossover"`
	GeneProb    float64 `json:"gene_prob"`
	TrunkProb   float64 `json:"trunk_prob"`
}

// IsRun tells whether a path is a folder, and so a run directory, not a file of weights.
func IsRun(path string) bool {
	info, err := fsys.OS.Stat(path)
	return err == nil && info.IsDir()
}

// SpaceOfRun is the space that a run trained.
func SpaceOfRun(run string) (*space.Space, error) {
	m, err := rundir.ReadManifest(fsys.OS, run)
	return m.Space, err
}

// sameSpace tells whether two spaces have the same supernet and choices. Intervals may differ, and
// so may the number of classes, which training takes from the images.
func sameSpace(a, b *space.Space) bool {
	plain := func(s *space.Space) space.Space {
		p := *s
		p.Name, p.Interval, p.ModelGiven, p.Model.NumClasses = "", space.Interval{}, false, 0
		for _, list := range []*[]int{&p.EmbedDim, &p.Depth, &p.NumHeads, &p.Kernel, &p.Resolution} {
			*list = slices.Sorted(slices.Values(*list))
		}
		p.MLPRatio, p.Expand = slices.Sorted(slices.Values(p.MLPRatio)), slices.Sorted(slices.Values(p.Expand))
		return p
	}
	return reflect.DeepEqual(plain(a), plain(b))
}

// searchMeasured searches by the accuracy that architectures reach, with their slices of the
// weights of o.Run, on the images that the run held out. Each measurement is kept beside the
// candidates file. So a search that was stopped goes on, and another search of the same weights
// does not measure an architecture again.
func (o SearchOptions) searchMeasured(ctx context.Context) (result SearchResult, timing Timing, err error) {
	began := time.Now()
	m, err := rundir.ReadManifest(fsys.OS, o.Run)
	if err != nil {
		return result, timing, fmt.Errorf("%w: %w", input.Weights, err)
	}
	if !sameSpace(o.Space, m.Space) {
		return result, timing, fmt.Errorf("%w %s is not the space of the run, %s: leave it out", input.Space, o.Space.Name, m.Space.Name)
	}
	s := *m.Space
	s.Interval = o.Space.Interval
	o.Space = &s
	options, on := o.Search, map[string]string(nil)
	options.Seed = o.Scoring.Seed
	if options.Cost, options.Limits, on, err = o.costs(ctx); err != nil {
		return result, timing, err
	}
	if err := options.Check(&s); err != nil {
		return result, timing, err
	}
	if err := machine.Need(2*supernet.New(&s).Bytes(), "measuring with the weights of "+o.Run, "free some"); err != nil {
		return result, timing, err
	}
	if name := m.Recipe.Sampler.Name; name != recipe.WholeSpace {
		o.Log(fmt.Sprintf("warning: %s was trained with the sampler %s, so architectures that it did not train have weights of others; a recipe with sampler space trains all", o.Run, name))
	}
	source, err := o.heldOut(ctx, m)
	if err != nil {
		return result, timing, err
	}
	weights, step, err := rundir.Weights(fsys.OS, o.Run, m.Space, func(_ string, why error) {
		o.Log(fmt.Sprintf("warning: skipped %v", why))
	})
	if err != nil {
		return result, timing, err
	}
	if _, err := unfinished(m, o.Run, o.Log); err != nil {
		return result, timing, err
	}
	inherited, err := train.NewInherited(o.Engine, supernet.New(&s), weights, source, m.Recipe.Batch)
	if err != nil {
		return result, timing, fmt.Errorf("%s: %w", o.Run, err)
	}
	defer inherited.Close()
	did := Measured{Step: step, Weights: tensorfile.Digest(weights), Data: m.Data.Digest, Split: HeldOut}
	did.Images, did.Calibration = inherited.Images()
	journal, err := openMeasured(o.Out, did, m, o.Log)
	if err != nil {
		return result, timing, err
	}
	defer func() { err = errors.Join(err, journal.Close()) }()
	timing.Weights = time.Since(began).Seconds()

	began = time.Now()
	full := options.Full(&s)
	most := full.Population
	if full.Method == search.Evolution {
		most += full.Generations * (full.Mutation + full.Crossover)
	}
	most *= full.Intervals()
	done, anew := 0, 0
	candidates, report, err := search.RunMeasured(&s, func(archs []space.Arch) (scores []float64, err error) {
		for _, a := range archs {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			found, known := journal.known[a.String()]
			if !known {
				score, err := inherited.Measure(ctx, a)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", a, err)
				}
				if found, err = journal.add(a.String(), score.Top1, score.Images, score.Loss); err != nil {
					return nil, err
				}
				anew++
			}
			scores = append(scores, float64(found.Top1)/float64(found.Images))
			if done++; o.Ranking != nil {
				o.Ranking(done, most)
			}
		}
		return scores, nil
	}, options)
	timing.Search = time.Since(began).Seconds()
	if errors.Is(err, context.Canceled) {
		o.Log(fmt.Sprintf("measured so far: %s; %s has them, and the same command goes on", printable.Count(done, "architecture"), journal.path))
	}
	if err != nil {
		return result, timing, err
	}
	if source.Skipped() != nil && len(source.Skipped().List()) > 0 {
		tellSkipped(source.Skipped(), o.Log)
	}
	o.Log(fmt.Sprintf("%d of %d measurements were made now, the others before", anew, done))
	did.Architectures, did.Population = report.Enumerated, full.Population
	did.AllImages = did.Architectures * int64(did.Images+did.Calibration)
	if full.Method == search.Evolution {
		did.Breeding = &Breeds{full.Generations, full.Select, full.Mutation, full.Crossover, full.GeneProb, full.TrunkProb}
	}
	result.Candidates, result.Report = candidates, report
	result.Meta = o.meta(report, options)
	result.Meta.Weights, result.Meta.Inputs = o.Run, fmt.Sprintf("%s of %s", printable.Count(did.Images, "held-out image"), m.Data.GivenName())
	result.Meta.Asked = o.asked(options.Cost, o.bound(options), options.Limits, on, candidates)
	result.Meta.Measured = &did
	return result, timing, result.write(o)
}

// heldOut opens the images that a run held out, and those that it was trained on.
func (o SearchOptions) heldOut(ctx context.Context, m rundir.Manifest) (*train.Images, error) {
	place := cmp.Or(o.Scoring.Data, m.Data.Place())
	set, err := source.Open(ctx, place, source.Options{Seed: m.Seed, HeldOut: m.Recipe.Holdout, Stratify: m.Recipe.Stratify, Log: o.Log})
	switch {
	case errors.Is(err, fs.ErrNotExist) && o.Scoring.Data == "":
		return nil, fmt.Errorf("%w; %s was trained on them: name with %v where they are now", err, o.Run, input.Data)
	case err != nil:
		return nil, err
	case set.Digest != m.Data.Digest:
		return nil, fmt.Errorf("%w in %s than those that %s was trained on: what it held out of them is what architectures are measured on", ErrOtherImages, place, o.Run)
	case set.HeldOut.Len() == 0:
		return nil, fmt.Errorf("%s held out no image to measure on; see holdout in its recipe", o.Run)
	}
	if set.HeldOut, err = labelledFor(set.HeldOut, set.Classes, m.Data.Classes, m.Space.Model.NumClasses, o.Log); err != nil {
		return nil, fmt.Errorf("%w %s does not suit %s: %w", input.Data, place, o.Run, err)
	}
	set.Classes = m.Data.Classes
	normaliseAs(set, m.Data.ImageInfo)
	by := m.Recipe
	by.SkipBadImages = by.SkipBadImages || o.Scoring.SkipBad
	images, err := train.NewImages(set, m.Space.Model, by, m.Seed, o.Scoring.Workers)
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w", input.Data, place, err)
	}
	return images, nil
}

// measuredPath is the sibling of a candidates file that holds what was measured.
func measuredPath(candidates string) string {
	return strings.TrimSuffix(candidates, ".json") + ".measured.jsonl"
}

// measuredLine is a line of the journal: what an architecture reached.
type measuredLine struct {
	Of     string  `json:"of"` // the weights and images, as openMeasured names them
	Arch   string  `json:"arch"`
	Top1   int     `json:"top1"`
	Images int     `json:"images"`
	Loss   float64 `json:"loss"`
	Sum    string  `json:"sum"` // digest of the line with an empty Sum
}

func (l measuredLine) digest() string {
	l.Sum = ""
	sum := sha256.Sum256(fmt.Appendf(nil, "%+v", l))
	return hex.EncodeToString(sum[:8])
}

// measuredJournal is candidates.measured.jsonl. It has a line for each architecture that was
// measured, with any weights. The line is on disk before the next architecture is measured.
type measuredJournal struct {
	path, of string
	known    map[string]measuredLine // of these weights and images, by architecture
	journal  *rundir.Journal
}

// openMeasured reads what was measured before with the same weights on the same images.
func openMeasured(candidates string, did Measured, m rundir.Manifest, log func(string)) (*measuredJournal, error) {
	by, err := json.Marshal([]any{did, m.Seed, m.Recipe.Holdout, m.Recipe.Stratify, m.Recipe.Augment.TestResize(m.Space.Model.ImageSize), m.Recipe.Batch, m.Data.Mean, m.Data.Std})
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(by)
	j := &measuredJournal{path: measuredPath(candidates), of: hex.EncodeToString(sum[:8]), known: map[string]measuredLine{}}
	if j.journal, err = rundir.AppendJournal(fsys.OS, filepath.Dir(j.path), filepath.Base(j.path)); err != nil {
		return nil, err
	}
	text, err := fsys.ReadText(fsys.OS, j.path)
	if err != nil {
		return nil, errors.Join(err, j.Close())
	}
	damaged := 0
	for line := range bytes.Lines(text) {
		var l measuredLine
		switch err := strictjson.UnmarshalKnown(line, &l); {
		case err != nil || l.digest() != l.Sum || l.Images < 1:
			damaged++
		case l.Of == j.of:
			j.known[l.Arch] = l
		}
	}
	if damaged > 0 {
		log(fmt.Sprintf("warning: %s damaged: %s; what they were of is measured anew", j.path, printable.Count(damaged, "line")))
	}
	if len(j.known) > 0 {
		log(fmt.Sprintf("going on with %s: it has %s measured with these weights", j.path, printable.Count(len(j.known), "architecture")))
	}
	return j, nil
}

func (j *measuredJournal) add(arch string, top1, images int, loss float64) (measuredLine, error) {
	l := measuredLine{Of: j.of, Arch: arch, Top1: top1, Images: images, Loss: loss}
	l.Sum = l.digest()
	j.known[arch] = l
	err := j.journal.Write(l)
	if err == nil {
		err = j.journal.Sync()
	}
	return l, err
}

func (j *measuredJournal) Close() error { return j.journal.Close() }
