package job

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"prenas/internal/engine"
	"prenas/internal/fsys"
	"prenas/internal/proxy"
	"prenas/internal/search"
	"prenas/internal/space"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
)

// DropPathRate is what masks in an inputs file are taken to be drawn at: the
// original's rate of stochastic depth.
const DropPathRate = 0.1

// SearchOptions of Search.
type SearchOptions struct {
	Engine       *engine.Engine
	Space        *space.Space
	Weights      string // safetensors file; empty: drawn from the seed
	Inputs       string // safetensors file; empty: noise drawn from the seed
	Search       search.Options
	Seed         uint64
	Out          string // candidates.json
	Progress     func(done, total int)
	Description  map[string]string // how methods were named, for the meta file
	DropPathRate float64
}

// SearchResult is what a search found, and how long its parts took.
type SearchResult struct {
	Candidates space.Candidates
	Report     *search.Report
	Meta       Meta
}

// Meta is candidates.meta.json: what is ours beside a candidates file.
type Meta struct {
	Space          *space.Space      `json:"space"`
	Seed           uint64            `json:"seed"`
	Search         map[string]string `json:"search"`
	Weights        string            `json:"weights"`
	Inputs         string            `json:"inputs"`
	Enumerated     int64             `json:"enumerated"`
	EmptyIntervals []string          `json:"empty_intervals"`
	Spans          [2]float64        `json:"spans_millions"` // sizes of the space's architectures
	Versions       map[string]string `json:"versions"`
}

// Timing of a search, in seconds; it is printed, not written, so that the same
// seed gives the same files.
type Timing struct{ Gradients, Search float64 }

// Search scores the supernet and chooses the preferred architectures.
func Search(ctx context.Context, o SearchOptions) (SearchResult, Timing, error) {
	var result SearchResult
	var timing Timing
	if err := checkWritable(o.Out); err != nil {
		return result, timing, err
	}
	s := o.Space
	weights, err := o.weights(s)
	if err != nil {
		return result, timing, err
	}
	batch, err := o.batch(s)
	if err != nil {
		return result, timing, err
	}
	began := time.Now()
	var grads map[string]tensorfile.Tensor
	if o.Search.NeedsGradients(s) {
		grads, err = proxy.Gradients(ctx, o.Engine, supernet.New(s), weights, batch, o.Progress)
		if errors.Is(err, proxy.ErrInputs) {
			err = fmt.Errorf("--inputs %s: %w", o.Inputs, err)
		}
		if err != nil {
			return result, timing, err
		}
	}
	timing.Gradients = time.Since(began).Seconds()
	began = time.Now()
	w, err := plain(weights)
	if err != nil {
		return result, timing, err
	}
	g, err := plain(grads)
	if err != nil {
		return result, timing, err
	}
	result.Candidates, result.Report, err = search.Run(s, w, g, o.Search)
	if err != nil {
		return result, timing, err
	}
	timing.Search = time.Since(began).Seconds()

	r := result.Report
	result.Meta = Meta{
		Space: s, Seed: o.Seed, Search: o.Description, Weights: o.Weights, Inputs: o.Inputs,
		Enumerated: r.Enumerated, EmptyIntervals: r.Empty(), Spans: [2]float64{r.Least, r.Most}, Versions: engine.Versions(),
	}
	if err := result.Candidates.Write(fsys.OS, o.Out); err != nil {
		return result, timing, err
	}
	return result, timing, writeJSON(metaPath(o.Out), result.Meta)
}

func (o SearchOptions) weights(s *space.Space) (map[string]tensorfile.Tensor, error) {
	if o.Weights == "" {
		return supernet.New(s).Init(o.Seed), nil
	}
	file, err := tensorfile.Read(o.Weights)
	if err != nil {
		return nil, fmt.Errorf("--weights: %w", err)
	}
	if !s.ModelGiven {
		if s.Model, err = supernet.InferModel(s, file.Tensors); err == nil {
			err = s.Validate()
		}
	}
	if err == nil {
		err = supernet.New(s).Check(file.Tensors)
	}
	if err != nil {
		return nil, fmt.Errorf("--weights %s: %w", o.Weights, err)
	}
	return file.Tensors, nil
}

func (o SearchOptions) batch(s *space.Space) (proxy.Batch, error) {
	if o.Inputs == "" {
		return proxy.Noise(s.Model, o.Seed), nil
	}
	file, err := tensorfile.Read(o.Inputs)
	if err != nil {
		return proxy.Batch{}, fmt.Errorf("--inputs: %w", err)
	}
	batch, err := proxy.BatchFromFile(file, o.DropPathRate)
	if err != nil {
		return proxy.Batch{}, fmt.Errorf("--inputs %s: %w", o.Inputs, err)
	}
	return batch, nil
}

// plain turns tensors of files into those of search.
func plain(from map[string]tensorfile.Tensor) (search.Tensors, error) {
	if from == nil {
		return nil, nil
	}
	to := make(search.Tensors, len(from))
	for name, t := range from {
		values, err := t.Float32s()
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", name, err)
		}
		to[name] = search.Tensor{Shape: t.Shape, Data: values}
	}
	return to, nil
}

// metaPath is the sibling of a candidates file that holds what is ours.
func metaPath(candidates string) string {
	return strings.TrimSuffix(candidates, ".json") + ".meta.json"
}

// ReadMeta reads the sibling of a candidates file; it wraps fs.ErrNotExist
// where there is none, as beside the original's files.
func ReadMeta(candidates string) (Meta, error) {
	path := metaPath(candidates)
	text, err := os.ReadFile(path)
	if err != nil {
		return Meta{}, err
	}
	var m Meta
	if err := json.Unmarshal(text, &m); err != nil {
		return Meta{}, fmt.Errorf("%s: %w", path, err)
	}
	if m.Space == nil {
		return Meta{}, fmt.Errorf("%s: it names no space", path)
	}
	return m, m.Space.Validate()
}

// checkWritable finds out before long work whether its result can be kept.
func checkWritable(path string) error {
	probe, err := os.CreateTemp(filepath.Dir(path), ".prenas-probe-*")
	if err != nil {
		var p *fs.PathError
		if errors.As(err, &p) {
			err = p.Err
		}
		return fmt.Errorf("--out %s: its folder cannot be written: %w", path, err)
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

func writeJSON(path string, value any) error {
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return fsys.WriteAtomic(fsys.OS, path, func(w io.Writer) error {
		_, err := w.Write(append(text, '\n'))
		return err
	})
}
