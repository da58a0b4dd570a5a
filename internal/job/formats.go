package job

import (
	"errors"
	"fmt"

	"prenas/internal/export"
	"prenas/internal/fsys"
	"prenas/internal/input"
	"prenas/internal/onnx"
)

// ErrFormat: a form of a model's file that does not exist.
var ErrFormat = errors.New("no such form of a model")

// Format is a form of a model's file.
type Format struct {
	name, quantize string
	ending         string
	text           string // for people
	write          func(fsys.FS, string, *export.Model) error
}

var formats = []Format{
	{"safetensors", "", ".safetensors", "safetensors, float32, timm's names and layouts", writeSafetensors},
	{"onnx", "", ".onnx", "ONNX, opset 20, float32", writeONNX(onnx.Options{})},
	{"onnx", "int8", ".onnx", "ONNX, opset 20, weights of products and convolutions in 8 bits", writeONNX(onnx.Options{Int8: true})},
}

func writeSafetensors(f fsys.FS, path string, m *export.Model) error { return m.Write(f, path) }

func writeONNX(o onnx.Options) func(fsys.FS, string, *export.Model) error {
	return func(f fsys.FS, path string, m *export.Model) error { return onnx.Write(f, path, m, o) }
}

// ParseFormat finds a format by its name and how its weights are quantised: "", not at
// all, or "int8".
func ParseFormat(name, quantize string) (Format, error) {
	for _, f := range formats {
		if f.name == name && f.quantize == quantize {
			return f, nil
		}
	}
	if quantize == "" {
		return Format{}, fmt.Errorf("%w: %w: %q; there are safetensors and onnx", input.Format, ErrFormat, name)
	}
	return Format{}, fmt.Errorf("%w: %w: %s in %q; onnx can have int8", input.Quantize, ErrFormat, name, quantize)
}
