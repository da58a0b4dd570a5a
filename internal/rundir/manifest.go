package rundir

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"prenas/internal/data/source"
	"prenas/internal/engine"
	"prenas/internal/fsys"
	"prenas/internal/input"
	"prenas/internal/printable"
	"prenas/internal/recipe"
	"prenas/internal/sealed"
	"prenas/internal/version"
	"prenas/pkg/search"
	"prenas/pkg/space"
)

const (
	ManifestFile   = "manifest.json"
	CandidatesFile = "candidates.json"
	ManifestFormat = 1
)

// Manifest says what a run directory holds and how to do it again.
type Manifest struct {
	Format     int           `json:"format"`
	Command    string        `json:"command,omitempty"`
	Seed       uint64        `json:"seed"`
	Recipe     recipe.Recipe `json:"recipe"` // every value in use
	Space      *space.Space  `json:"space"`
	Candidates string        `json:"candidates"` // digest of candidates.json
	Data       DataSummary   `json:"data"`
	Start      string        `json:"start"`             // digest of the weights that training began with
	From       *From         `json:"from,omitempty"`    // where they were taken from; absent: drawn from the seed
	Teacher    string        `json:"teacher,omitempty"` // digest of the file that the recipe names
	Devices    int           `json:"devices,omitempty"` // that the run began on; 0 in old runs: one
	Versions   Versions      `json:"versions"`
	// Extended is where the run was given more epochs or patience than it had.
	Extended []Extension `json:"extended,omitempty"`
	// Asked is what the search was asked to stay within; none in old runs.
	Asked []search.Asked `json:"asked,omitempty"`

	Engine *engine.Fingerprint `json:"engine,omitempty"` // that the run began on; old runs have its name alone, among the versions
	Moved  []Move              `json:"moved,omitempty"`  // to other engines, since
}

// Move is where a run went on on another engine, or on other devices.
type Move struct {
	Step    int                `json:"step"` // updates done before it
	Engine  engine.Fingerprint `json:"engine"`
	Devices int                `json:"devices"`
}

// LastEngine is where a run was worked on last.
func (m Manifest) LastEngine() Move {
	if len(m.Moved) > 0 {
		return m.Moved[len(m.Moved)-1]
	}
	where := Move{Devices: max(m.Devices, 1), Engine: engine.Fingerprint{Engine: m.Versions.Engine}}
	if m.Engine != nil {
		where.Engine = *m.Engine
	}
	return where
}

// Moves tells whether now is elsewhere than where the run was before. Of a run whose manifest
// has an engine's name alone, only the name counts.
func (m Move) Moves(now Move) bool {
	if m.Engine.Instructions == "" {
		now.Engine = engine.Fingerprint{Engine: now.Engine.Engine}
	}
	return m.Engine != now.Engine || m.Devices != now.Devices
}

func (m Move) String() string {
	if m.Devices == 1 {
		return m.Engine.String()
	}
	return fmt.Sprintf("%s of %s", printable.Count(m.Devices, "device"), m.Engine)
}

// DataSummary names the images of a run.
type DataSummary struct {
	Source  string `json:"source,omitempty"` // its path from the root; in old runs as it was given
	Named   string `json:"named,omitempty"`  // as it was given
	Digest  string `json:"digest"`
	Train   int    `json:"train"`
	HeldOut int    `json:"held_out"`
	ImageInfo
}

// From names a file that the weights of a run's start were taken from. The run does not need
// it: its first checkpoint has them.
type From struct {
	File   string `json:"file"`
	SHA256 string `json:"sha256"`
	Arch   string `json:"arch,omitempty"` // the one that was taken; absent: all of the file
}

// ImageInfo is what a reader of the trained weights must know of the images: how pixels
// were normalised, and what the classes are called, by label.
type ImageInfo struct {
	Mean    []float32 `json:"mean,omitempty"` // per channel, of pixels in [0, 1]
	Std     []float32 `json:"std,omitempty"`
	Classes []string  `json:"classes,omitempty"`
}

// Versions of what ran.
type Versions struct {
	Prenas string `json:"prenas"`
	Go     string `json:"go"`
	Engine string `json:"engine"`
}

func CurrentVersions(name string) Versions {
	return Versions{Prenas: version.String(), Go: runtime.Version(), Engine: name}
}

// ReadManifest reads the manifest of a run directory.
func ReadManifest(f fsys.FS, run string) (Manifest, error) {
	path := filepath.Join(run, ManifestFile)
	_, err := f.Stat(run)
	var text []byte
	if err == nil {
		text, err = fsys.ReadText(f, path)
	}
	if err != nil {
		return Manifest{}, fmt.Errorf("%s is not a run directory: %w", run, err)
	}
	var m Manifest
	err = sealed.Parse(path, text, &m)
	if err == nil && m.Format != ManifestFormat {
		err = fmt.Errorf("its format is %d; this version reads %d", m.Format, ManifestFormat)
	}
	if err == nil && m.Space == nil {
		err = fmt.Errorf("it names no space")
	}
	if err == nil {
		err = m.Space.Validate()
	}
	if err == nil {
		err = m.Recipe.CheckLimits("recipe")
	}
	if err != nil {
		return Manifest{}, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// Place is where the images are: where they were, or, when the run came to another place
// together with them, where their name leads to from here.
func (d DataSummary) Place() string {
	if d.Named != "" && source.Missing(d.Source) && !source.Missing(d.Named) {
		return d.Named
	}
	return d.Source
}

// GivenName is the source as it was given.
func (d DataSummary) GivenName() string { return cmp.Or(d.Named, d.Source) }

// Steps are the updates of the whole run.
func (m Manifest) Steps() int {
	return m.Recipe.PerEpoch(m.Data.Train) * m.Recipe.Epochs
}

// Done is how many updates the newest checkpoint of a run has behind it, and whether the run has
// ended with them: it has had all, or stopped early.
func (m Manifest) Done(f fsys.FS, run string) (updates int, ended bool, err error) {
	steps, err := CheckpointSteps(f, run)
	if err != nil || len(steps) == 0 {
		return 0, false, err
	}
	if steps[0] >= m.Steps() {
		return steps[0], true, nil
	}
	if m.Recipe.Patience == 0 {
		return steps[0], false, nil
	}
	metrics, err := ReadMetrics(f, run)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return steps[0], false, err
	}
	return steps[0], metrics.Early != nil && metrics.Early.Step == steps[0], nil
}

func (m Manifest) Write(f fsys.FS, run string) error {
	return sealed.Write(f, filepath.Join(run, ManifestFile), m)
}

// Extension is where a run was given more epochs, or more patience.
type Extension struct {
	Step     int `json:"step"`               // updates done before it
	Epochs   int `json:"epochs"`             // of the run before it
	Patience int `json:"patience,omitempty"` // likewise
}

// SameRecipe refuses another recipe than the run's, and names the keys that differ. More
// epochs or more patience are the same run, which goes on for longer. The error wraps
// ErrOtherRun.
func (m Manifest) SameRecipe(r recipe.Recipe) error {
	if r.Precision == string(engine.AutoPrecision) { // which was resolved when the run began
		r.Precision = m.Recipe.Precision
	}
	had := r
	if had.Epochs > m.Recipe.Epochs {
		had.Epochs = m.Recipe.Epochs
	}
	if own := m.Recipe.Patience; own > 0 && (r.Patience == 0 || r.Patience > own) {
		had.Patience = own
	}
	if had.Continues(m.Recipe.Digest()) {
		return nil
	}
	return fmt.Errorf("%w: its recipe was another: %s; it goes on by its own, without %v, %v, %v, %v and %v, for as many %v or more, and with as much %v or more, 0 being endless; with another one begin a new run, from its weights if you like: %v %s", ErrOtherRun, strings.Join(m.Recipe.Changes(r), ", "), input.Recipe, input.Batch, input.LR, input.Sampler, input.Precision, input.Epochs, input.Patience, input.Weights, filepath.Join("RUN", CheckpointsDir, "step-N.safetensors"))
}

// Began tells whether a checkpoint whose recipe has this digest is of the run, which may have
// been given more epochs since.
func (m Manifest) Began(digest string) bool {
	r := m.Recipe
	if r.Continues(digest) {
		return true
	}
	for _, e := range m.Extended {
		if r.Epochs, r.Patience = e.Epochs, e.Patience; r.Continues(digest) {
			return true
		}
	}
	return false
}

// SameRun refuses to go on with a run under other conditions: the result would be
// neither run's.
func (m Manifest) SameRun(now Manifest) error {
	if m.Seed == now.Seed {
		if err := m.SameRecipe(now.Recipe); err != nil {
			return err
		}
	}
	for _, c := range []struct{ what, had, has string }{
		{"seed", fmt.Sprint(m.Seed), fmt.Sprint(now.Seed)},
		{"candidates", Short(m.Candidates), Short(now.Candidates)},
		{"data", fmt.Sprintf("%s of %s", Short(m.Data.Digest), m.Data.Source), fmt.Sprintf("%s of %s", Short(now.Data.Digest), now.Data.Source)},
		{"teacher", Short(m.Teacher), Short(now.Teacher)},
	} {
		if c.had != c.has && (c.what != "data" || m.Data.Digest != now.Data.Digest) {
			return fmt.Errorf("%w: its %s was %s, now it is %s", ErrOtherRun, c.what, c.had, c.has)
		}
	}
	if len(m.Data.Classes) > 0 && !slices.Equal(m.Data.Classes, now.Data.Classes) {
		return fmt.Errorf("%w: the classes of its images have other names now, or another order", ErrOtherRun)
	}
	return nil
}

// Short is enough of a digest to tell two apart.
func Short(digest string) string { return digest[:min(len(digest), 12)] }

func Digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
