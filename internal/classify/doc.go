// Package classify gives pictures to an exported model and has names and probabilities
// back.
//
//	Open(file) ─► Model ─ Prepare(image) ─► input ─ Logits ─► Rank ─► classes, best first
//
// A safetensors model runs on the engine, XLA or pure Go; an ONNX model on the
// onnxruntime library of the machine, where there is one. Preprocessing and names are
// the file's own, so a caller needs nothing but pictures. A Model is safe for use by
// several goroutines; they take turns.
package classify
