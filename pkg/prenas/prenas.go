// Package prenas runs image classifiers that prenas export wrote, in a few lines:
//
//	model, err := prenas.Load("model.safetensors", prenas.Options{})
//	if err != nil { ... }
//	defer model.Close()
//	classes, err := model.Classify(img)
//	fmt.Println(classes[0].Name, classes[0].Probability)
//
// A .safetensors model runs on XLA, through a plug-in that is downloaded once where
// python3 with pip is at hand, or else in pure Go, which is much slower. An .onnx model
// runs on the onnxruntime library that the environment variable PRENAS_ONNXRUNTIME or
// python3's onnxruntime package has.
//
// The malloc of the process stays what it is. Package prenas/pkg/prenas/pool puts another under it, with
// which XLA is faster on a CPU, for programs that import it.
//
// Resizing, normalisation and the names of the classes are in the model's file. The
// package needs cgo on Linux. It is the only package of the module whose names are kept
// from version to version.
package prenas

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"image"

	"prenas/internal/classify"
	"prenas/internal/data"
	"prenas/internal/engine"
)

// Options of Load. The zero value suits most uses.
type Options struct {
	// Backend runs .safetensors models: "auto" or empty (XLA, else pure Go), "xla",
	// "xla:/path/to/plugin.so", "cuda" or "go".
	Backend string
	// Batch is the most images that run at once in ClassifyAll; 0 means 32. A batch
	// takes memory, and a model's first batch is compiled, which takes seconds.
	Batch int
	// Precision of a .safetensors model's products: "float32" or empty, "bf16", or "auto",
	// the faster one on the machine. bf16 has 8 bits. An .onnx model has that of its file.
	Precision string
	// Stop, when it closes, ends what takes long: a download of Load's, and the wait for a
	// compiler, in Load or with a first image. What was waited for then has an error that wraps
	// context.Canceled; the compiler itself goes on until the process ends, which must be soon.
	// Nil: never.
	Stop <-chan struct{}
	// Log gets a line about each step of loading; nil for none.
	Log func(string)
}

// Class is one of the classes that a model knows.
type Class struct {
	Index       int     // of the class, from 0
	Name        string  // "class 7" where the model has no name for it
	Probability float64 // that the image is of it: 0 to 1, 1 in sum over all classes
}

// Model is a loaded model. Its methods may be called by several goroutines at once.
type Model struct{ open *classify.Model }

// ErrNoImage: an image that is nil or has no pixels.
var ErrNoImage = errors.New("prenas: no image")

// Load loads a model file, .safetensors or .onnx. Errors name the file and what to do.
func Load(path string, o Options) (*Model, error) {
	precision, err := engine.ParsePrecision(cmp.Or(o.Precision, string(engine.Float32)))
	if err != nil {
		return nil, fmt.Errorf("prenas: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-o.Stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	m, err := classify.Open(ctx, path, classify.Options{Backend: o.Backend, Stop: o.Stop, Batch: o.Batch, Precision: precision, Log: o.Log})
	if err != nil {
		return nil, fmt.Errorf("prenas: %w", err)
	}
	return &Model{m}, nil
}

// Close frees the model, which must not be used after.
func (m *Model) Close() error { return m.open.Close() }

// Arch is the name of the model's architecture.
func (m *Model) Arch() string { return m.open.Info().Arch }

// Classes are the names of the classes by index.
func (m *Model) Classes() []string {
	info := m.open.Info()
	names := make([]string, info.Architecture.NumClasses)
	for i := range names {
		names[i] = info.ClassName(i)
	}
	return names
}

// Classify returns all classes with their probabilities, the most probable first. The
// image may have any size and color model.
func (m *Model) Classify(img image.Image) ([]Class, error) {
	all, err := m.ClassifyAll([]image.Image{img})
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// ClassifyAll classifies images together, which is quicker than one by one. Results are
// in the order of the images.
func (m *Model) ClassifyAll(images []image.Image) ([][]Class, error) {
	inputs := make([][]float32, len(images))
	for i, img := range images {
		if img == nil || img.Bounds().Empty() {
			return nil, fmt.Errorf("%w: image %d", ErrNoImage, i)
		}
		var err error
		if inputs[i], err = m.open.Prepare(data.FromImage(img)); err != nil {
			return nil, fmt.Errorf("prenas: image %d: %w", i, err)
		}
	}
	rows, err := m.open.Logits(inputs)
	if err != nil {
		return nil, fmt.Errorf("prenas: %w", err)
	}
	all := make([][]Class, len(rows))
	for i, logits := range rows {
		for _, c := range m.open.Rank(logits, len(logits)) {
			all[i] = append(all[i], Class(c))
		}
	}
	return all, nil
}
