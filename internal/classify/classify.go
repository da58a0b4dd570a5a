package classify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"prenas/internal/augment"
	"prenas/internal/data"
	"prenas/internal/engine"
	"prenas/internal/export"
	"prenas/internal/fsys"
	"prenas/internal/machine"
	"prenas/internal/mistaken"
	"prenas/internal/printable"
	"prenas/internal/supernet"
)

// Options of Open.
type Options struct {
	// In has the model's file, which must be safetensors; nil: the machine's file system.
	In fs.FS
	// Engine that runs safetensors models; nil: Open opens one with Backend, and
	// Close closes it.
	Engine *engine.Engine
	// Backend and Stop of an engine that Open opens, as engine.Options has them.
	Backend string
	Stop    <-chan struct{}
	// Batch is the most images that run at once, of several crops the crops; 0 means 32.
	Batch int
	// Sizes are the batches, beside Batch, that programs of a safetensors model are compiled
	// for; one of another size is filled up to the next. Nil: a batch of one.
	Sizes []int
	// Precision of a safetensors model's products; empty: float32. An ONNX model is
	// computed in the types that its file says: bf16 is an error.
	Precision engine.Precision
	// Crops of each image, 1, 5 or 10, whose logits are averaged; 0 means one.
	Crops int
	// Library is the path of onnxruntime's library; empty: see RuntimeEnv.
	Library string
	// Log gets a line about what is being opened; nil for none.
	Log func(string)
}

const defaultBatch = 32

// Class is a class with the probability that the model gives it.
type Class struct {
	Index       int     `json:"index"` // of the logit, from 0
	Name        string  `json:"name"`
	Probability float64 `json:"probability"` // softmax over all classes
}

// runner computes logits.
type runner interface {
	// ready makes ready for n images, if that needs doing.
	ready(n int) error
	// run takes n images [n, C, H, W] and returns logits [n, classes]; n is at most
	// the options' Batch.
	run(images []float32, n int) ([]float32, error)
	close() error
}

// Model is an open model.
type Model struct {
	info      export.Info
	input     *augment.Input
	batch     int // images, with all their crops, that run at once
	crops     int
	mu        sync.Mutex
	run       runner
	precision engine.Precision
	spent     time.Duration // in run
	begin     time.Duration // in getting ready, which a batch size does once
}

// mistakenFor is an error that says what a file is that stands in a model's place, if it is one.
func mistakenFor(path string) error {
	f, err := fsys.OpenRegular(path)
	if err != nil {
		return nil // whoever reads it says why not
	}
	defer f.Close()
	head := make([]byte, mistaken.HeadLen)
	n, _ := io.ReadFull(f, head)
	if name, _ := mistaken.For(head[:n]); name != "" {
		return mistaken.Instead(head[:n], ErrKind)
	}
	return nil
}

// Open opens a model file, by the ending of its name: .safetensors or .onnx.
func Open(ctx context.Context, path string, o Options) (*Model, error) {
	if o.Batch < 1 {
		o.Batch = defaultBatch
	}
	if o.Log == nil {
		o.Log = func(string) {}
	}
	m := &Model{crops: max(o.Crops, 1)}
	m.batch = max(1, o.Batch/m.crops)
	o.Batch = m.batch * m.crops
	var err error
	switch filepath.Ext(path) {
	case ".safetensors":
		var model *export.Model
		from := fsys.OS
		if o.In != nil {
			from = reading{in: o.In}
		}
		if model, err = export.Read(from, path); err != nil {
			return nil, err
		}
		m.info = model.Info
		var n *native
		if n, err = openEngine(ctx, model, o); err == nil {
			m.run, m.precision = n, n.precision
		}
	case ".onnx":
		if o.In != nil {
			err = fmt.Errorf("%w: onnxruntime reads files of the machine only; take the model as safetensors", ErrKind)
			break
		}
		if o.Precision == engine.BFloat16 {
			err = fmt.Errorf("precision %s: an ONNX file says itself in what types it is computed; leave it out, or take the model as safetensors", o.Precision)
			break
		}
		if err = mistakenFor(path); err == nil { // before a runtime is looked for
			m.run, m.info, err = openONNX(ctx, path, o)
		}
	default:
		err = fmt.Errorf("%w: its name ends neither in .safetensors nor in .onnx", ErrKind)
		if info, statErr := os.Stat(path); statErr == nil && info.IsDir() {
			err = fmt.Errorf("%w: it is a folder; prenas export takes models out of a run", ErrKind)
		}
	}
	if err == nil {
		err = machine.Need(supernet.ImageBytes(m.info.SpaceModel(), o.Batch), fmt.Sprintf("a batch of %s", printable.Count(o.Batch, "image")), "take a smaller batch")
		if err != nil {
			err = errors.Join(err, m.run.close())
		}
	}
	if err == nil {
		p := m.info.Preprocess
		if m.input, err = augment.NewInput(m.info.Architecture.Channels, p.Size, p.Mean, p.Std); err != nil {
			err = errors.Join(err, m.run.close())
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// Close frees the model. It must not be used after.
func (m *Model) Close() error { return m.run.close() }

// Info is the model's description.
func (m *Model) Info() export.Info { return m.info }

// Batch is the most images that run at once.
func (m *Model) Batch() int { return m.batch }

// Precision of the model's products; empty: those of its ONNX file.
func (m *Model) Precision() engine.Precision { return m.precision }

// Spent is how long the model has computed, and how long it has compiled before.
func (m *Model) Spent() (computing, compiling time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.spent, m.begin
}

// Prepare makes the model's input [crops, C, H, W] of an image.
func (m *Model) Prepare(img data.Image) ([]float32, error) {
	out := make([]float32, m.crops*m.input.Len())
	return out, m.input.Test(img, augment.Test{Resize: m.info.Preprocess.Resize, Crops: m.crops}, out)
}

// Logits of prepared images, a row of classes for each: of several crops the mean. Logits that
// are not finite are an error, which wraps ErrNonFinite. A first batch
// is compiled; where the engine is stopped meanwhile the error wraps context.Canceled, and the
// one thing left to do with the model is to close it.
func (m *Model) Logits(inputs [][]float32) ([][]float32, error) {
	rows, err := m.logits(inputs)
	for i, row := range rows {
		if err := finite(row); err != nil {
			return nil, fmt.Errorf("image %d: %w", i, err)
		}
	}
	return rows, err
}

// finite reports logits that are not.
func finite(logits []float32) error {
	for _, v := range logits {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return ErrNonFinite
		}
	}
	return nil
}

// logits are those of Logits, finite or not.
func (m *Model) logits(inputs [][]float32) ([][]float32, error) {
	a := m.info.Architecture
	size := m.crops * a.Channels * a.ImageSize * a.ImageSize
	m.mu.Lock()
	defer m.mu.Unlock()
	var rows [][]float32
	for some := range slices.Chunk(inputs, m.batch) {
		images := make([]float32, 0, len(some)*size)
		for i, input := range some {
			if len(input) != size {
				return nil, fmt.Errorf("%w: input %d has %d numbers, the model takes %d", ErrRun, len(rows)+i, len(input), size)
			}
			images = append(images, input...)
		}
		began := time.Now()
		err := m.run.ready(len(some) * m.crops)
		if errors.Is(err, context.Canceled) {
			return nil, err
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrRun, err)
		}
		m.begin += time.Since(began)
		began = time.Now()
		logits, err := m.run.run(images, len(some)*m.crops)
		m.spent += time.Since(began)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrRun, err)
		}
		if len(logits) != len(some)*m.crops*a.NumClasses {
			return nil, fmt.Errorf("%w: %d logits of %s with %s", ErrRun, len(logits), printable.Count(len(some)*m.crops, "image"), printable.Count(a.NumClasses, "class"))
		}
		for crops := range slices.Chunk(logits, m.crops*a.NumClasses) {
			rows = append(rows, mean(crops, a.NumClasses))
		}
	}
	return rows, nil
}

// mean of rows of n values.
func mean(rows []float32, n int) []float32 {
	count := float32(len(rows) / n)
	if count == 1 {
		return rows
	}
	sums := make([]float32, n)
	for i, v := range rows {
		sums[i%n] += v / count
	}
	return sums
}

// Rank turns the logits of one image into its top classes, best first; classes of equal
// probability by index. top is at least 1, and logits are finite, as those of Logits are.
func (m *Model) Rank(logits []float32, top int) []Class {
	highest := float64(slices.Max(logits))
	sum := 0.0
	classes := make([]Class, len(logits))
	for i, v := range logits {
		p := math.Exp(float64(v) - highest)
		classes[i] = Class{Index: i, Name: m.info.ClassName(i), Probability: p}
		sum += p
	}
	for i := range classes {
		classes[i].Probability /= sum
	}
	slices.SortStableFunc(classes, func(a, b Class) int {
		switch {
		case a.Probability > b.Probability:
			return -1
		case a.Probability < b.Probability:
			return 1
		}
		return 0
	})
	return classes[:min(top, len(classes))]
}
