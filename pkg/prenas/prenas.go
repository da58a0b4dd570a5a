// Package prenas runs image classifiers that prenas export wrote, in a few lines:
//
//	model, err := prenas.Load(ctx, "model.safetensors", prenas.Options{})
//	if err != nil { ... }
//	defer model.Close()
//	classes, err := model.Classify(ctx, img, 5)
//	fmt.Println(classes[0].Name, classes[0].Probability)
//
// A .safetensors model runs on XLA, through a plug-in that is downloaded once where
// python3 with pip is at hand, or else in pure Go, which is much slower. An .onnx model
// runs on the onnxruntime library that the environment variable PRENAS_ONNXRUNTIME or
// python3's onnxruntime package has. XLA and onnxruntime need cgo: a program that is built without
// it runs .safetensors models in pure Go.
//
// The malloc of the process stays what it is. Package prenas/pkg/prenas/pool puts another under it, with
// which XLA is faster on a CPU, for programs that import it.
//
// Resizing, normalisation and the names of the classes are in the model's file. The
// names of this package are kept from version to version, or the change is in CHANGELOG.md.
package prenas

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"image"
	"io/fs"
	"sync"

	"prenas/internal/classify"
	"prenas/internal/crash"
	"prenas/internal/data/codec"
	"prenas/internal/engine"
	"prenas/internal/export"
)

// Errors that are wrapped by those of Load and of a Model.
var (
	// ErrKind: a file that is no model, by the ending of its name or by what it holds.
	ErrKind = classify.ErrKind
	// ErrModel: safetensors that are no exported model, or contradict themselves.
	ErrModel = export.ErrModel
	// ErrBackend: Options.Backend has a name that does not exist.
	ErrBackend = engine.ErrBackend
	// ErrNoPlugin: XLA was asked for, and no plug-in of it could be had.
	ErrNoPlugin = engine.ErrNoPlugin
	// ErrNoRuntime: an .onnx model needs onnxruntime, and there is none.
	ErrNoRuntime = classify.ErrNoRuntime
	// ErrNoImage: an image that is nil or has no pixels.
	ErrNoImage = errors.New("prenas: no image")
	// ErrNonFinite: the model's logits of an image are not finite, so they say nothing.
	ErrNonFinite = classify.ErrNonFinite
	// ErrClosed: the model has been closed.
	ErrClosed = errors.New("prenas: the model is closed")
)

// Options of Load. The zero value suits most uses.
type Options struct {
	// Backend runs .safetensors models: "auto" or empty (XLA, else pure Go), "xla",
	// "xla:/path/to/plugin.so", "cuda" or "go".
	Backend string
	// Batch is the most images that run at once in ClassifyAll and Logits; 0 means 32. A batch
	// takes memory, and a model's first batch is compiled, which takes seconds.
	Batch int
	// Precision of a .safetensors model's products: "float32" or empty, "bf16", or "auto",
	// the faster one on the machine. bf16 has 8 bits. An .onnx model has that of its file.
	Precision string
	// Log gets a line about each step of loading; nil for none.
	Log func(string)
}

// Class is one of the classes that a model knows.
type Class struct {
	Index       int     // of the class, from 0
	Name        string  // "class 7" where the model has no name for it
	Probability float64 // that the image is of it: 0 to 1, 1 in sum over all classes
}

// Model is a loaded model. Its methods may be called by several goroutines at once: images are
// prepared side by side, and batches run one after the other, each on all cores.
//
// Where a context ends, a method returns its error at once. What has begun, a batch or the compilation for a first
// one, goes on and is dropped: its images must stay as they are until then. Close waits for it.
type Model struct {
	open    *classify.Model
	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup
}

// Load loads a model file, .safetensors or .onnx. Errors name the file and what to do. ctx
// is for the loading alone.
func Load(ctx context.Context, path string, o Options) (*Model, error) {
	return load(ctx, path, o, nil)
}

// LoadFS is Load of a .safetensors file in fsys, such as an embed.FS. (onnxruntime reads files of
// the machine only.)
func LoadFS(ctx context.Context, fsys fs.FS, path string, o Options) (*Model, error) {
	return load(ctx, path, o, fsys)
}

func load(ctx context.Context, path string, o Options, in fs.FS) (*Model, error) {
	precision, err := engine.ParsePrecision(cmp.Or(o.Precision, string(engine.Float32)))
	if err != nil {
		return nil, fmt.Errorf("prenas: %w", err)
	}
	m, err := classify.Open(ctx, path, classify.Options{In: in, Backend: o.Backend, Batch: o.Batch, Precision: precision, Log: o.Log})
	if err != nil {
		return nil, fmt.Errorf("prenas: %w", err)
	}
	return &Model{open: m}, nil
}

// Close frees the model, once what runs has ended. Methods that are called after return ErrClosed.
func (m *Model) Close() error {
	m.mu.Lock()
	closed := m.closed
	m.closed = true
	m.mu.Unlock()
	if closed {
		return nil
	}
	m.running.Wait()
	return m.open.Close()
}

// begin counts a caller in, unless the model is closed.
func (m *Model) begin() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	m.running.Add(1)
	return nil
}

// Arch is the name of the model's architecture.
func (m *Model) Arch() string { return m.open.Info().Arch }

// InputSize is what images are resized and cut to, in pixels.
func (m *Model) InputSize() (width, height int) {
	size := m.open.Info().Preprocess.Size
	return size, size
}

// Classes are the names of the classes by index.
func (m *Model) Classes() []string {
	info := m.open.Info()
	names := make([]string, info.Architecture.NumClasses)
	for i := range names {
		names[i] = info.ClassName(i)
	}
	return names
}

// Classify returns the k most probable classes, best first; all where k is 0 or there are not
// more. The image may have any size and color model. golang.org/x/image/webp hands on the luma and
// chroma of lossy WebP, of limited range, as if of full range: such an image has too little contrast.
func (m *Model) Classify(ctx context.Context, img image.Image, k int) ([]Class, error) {
	all, err := m.ClassifyAll(ctx, []image.Image{img}, k)
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// ClassifyAll classifies images together, which is quicker than one by one. Results are
// in the order of the images.
func (m *Model) ClassifyAll(ctx context.Context, images []image.Image, k int) ([][]Class, error) {
	rows, err := m.Logits(ctx, images)
	if err != nil {
		return nil, err
	}
	all := make([][]Class, len(rows))
	for i, logits := range rows {
		top := len(logits)
		if k > 0 {
			top = min(top, k)
		}
		for _, c := range m.open.Rank(logits, top) {
			all[i] = append(all[i], Class(c))
		}
	}
	return all, nil
}

// Logits are what the model says of each image before the softmax that makes probabilities of it: a row by image, a
// value by class. All are finite.
func (m *Model) Logits(ctx context.Context, images []image.Image) ([][]float32, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("prenas: %w", err)
	}
	for i, img := range images {
		if img == nil || img.Bounds().Empty() {
			return nil, fmt.Errorf("%w: image %d", ErrNoImage, i)
		}
	}
	if err := m.begin(); err != nil {
		return nil, err
	}
	type result struct {
		rows [][]float32
		err  error
	}
	done := make(chan result, 1)
	crash.Go(func() {
		defer m.running.Done()
		rows, err := m.logits(ctx, images)
		done <- result{rows, err}
	})
	select {
	case r := <-done:
		return r.rows, r.err
	case <-ctx.Done():
		return nil, fmt.Errorf("prenas: %w", ctx.Err())
	}
}

func (m *Model) logits(ctx context.Context, images []image.Image) ([][]float32, error) {
	var rows [][]float32
	for begin := 0; begin < len(images); begin += m.open.Batch() {
		some := images[begin:min(begin+m.open.Batch(), len(images))]
		inputs := make([][]float32, len(some))
		for i, img := range some {
			if err := ctx.Err(); err != nil {
				return nil, fmt.Errorf("prenas: %w", err)
			}
			var err error
			if inputs[i], err = m.open.Prepare(codec.FromImage(img)); err != nil {
				return nil, fmt.Errorf("prenas: image %d: %w", begin+i, err)
			}
		}
		batch, err := m.open.Logits(inputs)
		if err != nil {
			return nil, fmt.Errorf("prenas: images %d to %d: %w", begin, begin+len(some)-1, err)
		}
		rows = append(rows, batch...)
	}
	return rows, nil
}
