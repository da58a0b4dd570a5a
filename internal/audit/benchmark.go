package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"prenas/internal/fsys"
	"prenas/internal/recipe"
	"prenas/internal/rundir"
	"prenas/internal/sealed"
	"prenas/internal/strictjson"
	"prenas/pkg/space"
)

// Errors of this package.
var (
	// ErrBenchmark: a file that is not a benchmark, or contradicts itself.
	ErrBenchmark = errors.New("malformed benchmark file")
	// ErrOther: the file holds the benchmark of another audit.
	ErrOther = errors.New("the file holds another audit")
	// ErrIncomplete: the benchmark lacks results, so nothing can be said yet.
	ErrIncomplete = errors.New("the benchmark is not complete")
)

// format is the version of the benchmark file.
const format = 1

// Benchmark is what architectures of a space reached. Its file is JSON, a line
// each: the header, then the architectures (see docs/audit.md).
type Benchmark struct {
	Header
	Archs []Trained
}

// Header says what was done.
type Header struct {
	Format   int                `json:"format"`
	Space    *space.Space       `json:"space"`
	Interval space.Interval     `json:"interval"` // of parameters, in millions
	Data     rundir.DataSummary `json:"data"`
	Recipe   recipe.Recipe      `json:"recipe"`
	Images   int                `json:"images"`  // training images of an epoch
	Draw     uint64             `json:"draw"`    // seed of the architectures and of the held-out cut
	Seeds    []uint64           `json:"seeds"`   // of training, one result each
	Inherit  bool               `json:"inherit"` // results are of weights inherited from supernets, a seed each
	Versions map[string]string  `json:"versions"`
}

// Trained is an architecture and what it reached on the held-out images, a
// result per seed in the header's order; those not there yet are missing.
type Trained struct {
	Arch    string   `json:"arch"`
	Params  int64    `json:"params"`
	MACs    int64    `json:"macs"`
	Results []Result `json:"results"`

	arch space.Arch
}

// Result of one training run.
type Result struct {
	Seed uint64  `json:"seed"`
	Top1 float64 `json:"top1"`
	Loss float64 `json:"loss"` // mean cross entropy
}

// maxFile bounds a benchmark file: a hundred thousand architectures.
const maxFile = 1 << 26

// Read reads a benchmark file and checks it.
func Read(f fsys.FS, path string) (*Benchmark, error) {
	file, err := f.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, err
	}
	text, has, err := sealed.CheckLines(text)
	var b *Benchmark
	if err == nil {
		b, err = parse(text)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if !has {
		sealed.Told(path)
	}
	return b, nil
}

func parse(text []byte) (*Benchmark, error) {
	if len(text) > maxFile {
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrBenchmark, maxFile)
	}
	// A recipe's keys that the file leaves out have their defaults.
	b, number, seen := &Benchmark{Header: Header{Recipe: recipe.Default()}}, 0, map[string]bool{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		number++
		bad := func(why error) error { return fmt.Errorf("%w: line %d: %w", ErrBenchmark, number, why) }
		if number == 1 {
			if err := strictjson.UnmarshalKnown(lines.Bytes(), &b.Header); err != nil {
				return nil, bad(err)
			}
			if err := b.Header.check(); err != nil {
				return nil, bad(err)
			}
			continue
		}
		var t Trained
		err := strictjson.UnmarshalKnown(lines.Bytes(), &t)
		if err == nil {
			err = t.check(b.Header)
		}
		if err == nil && seen[t.Arch] {
			err = fmt.Errorf("%s stands there twice", t.Arch)
		}
		if err != nil {
			return nil, bad(err)
		}
		seen[t.Arch] = true
		b.Archs = append(b.Archs, t)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBenchmark, err)
	}
	if len(b.Archs) == 0 {
		return nil, fmt.Errorf("%w: it has no architecture", ErrBenchmark)
	}
	return b, nil
}

func (h Header) check() error {
	switch {
	case h.Format != format:
		return fmt.Errorf("its format is %d; this version reads %d", h.Format, format)
	case h.Space == nil:
		return errors.New("it names no space")
	case len(h.Seeds) == 0:
		return errors.New("it names no seed")
	}
	if err := h.Space.Validate(); err != nil {
		return err
	}
	_, err := h.bins()
	return err
}

// bins is the number of intervals.
func (h Header) bins() (int, error) {
	i := h.Interval
	count := math.Floor((i.Max-i.Min)/i.Step + 1e-9)
	if !(i.Min >= 0 && i.Step > 0 && count >= 1 && count <= 1000) {
		return 0, fmt.Errorf("its intervals are from %v to %v by %v", i.Min, i.Max, i.Step)
	}
	return int(count), nil
}

func (t *Trained) check(h Header) (err error) {
	if t.arch, err = space.ParseArch(t.Arch); err != nil {
		return err
	}
	if err := h.Space.Check(t.arch); err != nil {
		return err
	}
	if params, macs := h.Space.Model.Params(t.arch), h.Space.Model.MACs(t.arch); t.Params != params || t.MACs != macs {
		return fmt.Errorf("%s has %d parameters and %d MACs, not %d and %d", t.Arch, params, macs, t.Params, t.MACs)
	}
	if len(t.Results) > len(h.Seeds) {
		return fmt.Errorf("%s has more results than there are seeds", t.Arch)
	}
	for i, r := range t.Results {
		if r.Seed != h.Seeds[i] {
			return fmt.Errorf("%s: result %d is of seed %d, not %d", t.Arch, i+1, r.Seed, h.Seeds[i])
		}
		if !(r.Top1 >= 0 && r.Top1 <= 1) || !(r.Loss >= 0) {
			return fmt.Errorf("%s: top-1 %v, loss %v", t.Arch, r.Top1, r.Loss)
		}
	}
	return nil
}

// Write writes the benchmark, whole or not at all.
// Its last line is the digest of those before it.
func (b *Benchmark) Write(f fsys.FS, path string) error {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(b.Header); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, t := range b.Archs {
		if err := e.Encode(t); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return fsys.WriteAtomic(f, path, func(w io.Writer) error {
		_, err := w.Write(sealed.Lines(text.Bytes()))
		return err
	})
}

// same returns an error if other is not of the same audit. Only results and versions may differ.
func (b *Benchmark) same(other *Benchmark) error {
	key := func(h Header) string {
		h.Versions = nil
		text, err := json.Marshal(h)
		if err != nil {
			return err.Error()
		}
		return string(text)
	}
	names := func(b *Benchmark) (list []string) {
		for _, t := range b.Archs {
			list = append(list, t.Arch)
		}
		return list
	}
	if key(b.Header) != key(other.Header) {
		return fmt.Errorf("%w: with another space, recipe, seed or images", ErrOther)
	}
	if !slices.Equal(names(b), names(other)) {
		return fmt.Errorf("%w: of other architectures", ErrOther)
	}
	return nil
}

// missing is the number of results that are not there yet.
func (b *Benchmark) missing() int {
	n := 0
	for _, t := range b.Archs {
		n += len(b.Seeds) - len(t.Results)
	}
	return n
}

// Arches are the architectures in the file's order.
func (b *Benchmark) Arches() []space.Arch {
	list := make([]space.Arch, len(b.Archs))
	for i, t := range b.Archs {
		list[i] = t.arch
	}
	return list
}
