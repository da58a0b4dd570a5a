//go:build cgo

package classify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	ort "github.com/yalue/onnxruntime_go"

	"prenas/internal/export"
	"prenas/internal/fsys"
)

// maxONNX is the most bytes that a file of protocol buffers may have.
const maxONNX = 2 << 30

// environment of onnxruntime; a process has one.
var environment struct {
	sync.Mutex
	library string // that was loaded
}

// startRuntime loads the library, once in a process.
func startRuntime(ctx context.Context, o Options) error {
	environment.Lock()
	defer environment.Unlock()
	if environment.library != "" {
		return nil
	}
	path, err := FindRuntime(ctx, o.Library, o.Log)
	if err != nil {
		return err
	}
	ort.SetSharedLibraryPath(path)
	if err := ort.InitializeEnvironment(ort.WithLogLevelError()); err != nil {
		return fmt.Errorf("%w: %s does not load: %w; %s", ErrNoRuntime, path, err, howToGet)
	}
	o.Log("onnxruntime " + ort.GetVersion() + ": " + path)
	environment.library = path
	return nil
}

// onnx runs a model on onnxruntime.
type onnx struct {
	session *ort.DynamicAdvancedSession
	info    export.Info
}

func openONNX(ctx context.Context, path string, o Options) (_ *onnx, info export.Info, err error) {
	file, err := fsys.OpenRegular(path)
	if err != nil {
		return nil, info, err
	}
	size, err := file.Stat()
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, info, err
	}
	if size.Size() > maxONNX {
		return nil, info, fmt.Errorf("%w: %d bytes, and an ONNX file has at most %d", ErrKind, size.Size(), maxONNX)
	}
	if _, err := export.CheckONNX(path); err != nil {
		return nil, info, errors.Unwrap(err) // the caller names the file
	}
	if err := startRuntime(ctx, o); err != nil {
		return nil, info, err
	}
	session, err := ort.NewDynamicAdvancedSession(path, []string{export.InputName}, []string{export.OutputName}, nil)
	if err != nil {
		return nil, info, fmt.Errorf("%w: %w", ErrKind, err)
	}
	if info, err = readInfo(session); err != nil {
		return nil, info, errors.Join(err, session.Destroy())
	}
	return &onnx{session, info}, info, nil
}

// readInfo reads the description in the file's metadata.
func readInfo(session *ort.DynamicAdvancedSession) (export.Info, error) {
	metadata, err := session.GetModelMetadata()
	if err != nil {
		return export.Info{}, fmt.Errorf("%w: %w", ErrKind, err)
	}
	text, found, err := metadata.LookupCustomMetadataMap(export.MetadataKey)
	if err = errors.Join(err, metadata.Destroy()); err != nil {
		return export.Info{}, fmt.Errorf("%w: %w", ErrKind, err)
	}
	if !found {
		return export.Info{}, fmt.Errorf("%w: its metadata has no %s", ErrKind, export.MetadataKey)
	}
	return export.ParseInfo([]byte(text))
}

// ready is nothing: a session takes any batch.
func (x *onnx) ready(int) error { return nil }

func (x *onnx) run(images []float32, count int) (_ []float32, err error) {
	a := x.info.Architecture
	input, err := ort.NewTensor(ort.NewShape(int64(count), int64(a.Channels), int64(a.ImageSize), int64(a.ImageSize)), images)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, input.Destroy()) }()
	output, err := ort.NewEmptyTensor[float32](ort.NewShape(int64(count), int64(a.NumClasses)))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, output.Destroy()) }()
	if err := x.session.Run([]ort.Value{input}, []ort.Value{output}); err != nil {
		return nil, err
	}
	return slices.Clone(output.GetData()), nil
}

func (x *onnx) close() error { return x.session.Destroy() }
