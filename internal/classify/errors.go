package classify

import "errors"

// Errors of this package; each names the file or the library.
var (
	// ErrKind: a file that is neither of the two forms of models.
	ErrKind = errors.New("not a model that prenas exported")
	// ErrNoRuntime: an ONNX model needs onnxruntime, and the machine has none.
	ErrNoRuntime = errors.New("no onnxruntime library")
	// ErrRun: a model failed while it ran.
	ErrRun = errors.New("model failed")
	// ErrNonFinite: a model's logits of an image are not finite, so they say nothing.
	ErrNonFinite = errors.New("the model's logits are not finite: its weights have diverged, or are damaged")
)
