package job

import (
	"errors"
	"fmt"
	"path/filepath"

	"prenas/internal/export"
	"prenas/internal/fsys"
	"prenas/internal/input"
	"prenas/internal/onnx"
	"prenas/pkg/space"
)

// ErrFormat: there is no such format of a model's file.
var ErrFormat = errors.New("no such form of a model")

// Format is a format of a model's file.
type Format struct {
	name, ending string
	onnx         onnx.Options // of an ONNX file
}

// Names of formats, and what ONNX files may be beside float32.
const (
	formatSafetensors = "safetensors"
	formatONNX        = "onnx"
	formatHuggingFace = "transformers"
	quantizeInt8      = "int8"
	precisionFloat32  = "float32"
	precisionHalf     = "fp16"
)

// FormatOptions of ParseFormat. Zero values are the defaults.
type FormatOptions struct {
	Quantize  string // int8
	Precision string // float32 or fp16
	Opset     int    // newest operator set that an ONNX file may use: 20 or 23
}

// ParseFormat finds a format by its name. Its error wraps ErrFormat and names the input at fault.
func ParseFormat(name string, o FormatOptions) (Format, error) {
	switch {
	case name != formatSafetensors && name != formatONNX && name != formatHuggingFace:
		return Format{}, fmt.Errorf("%w: %w: %q; there are %s, %s and %s", input.Format, ErrFormat, name, formatSafetensors, formatONNX, formatHuggingFace)
	case o.Quantize != "" && (o.Quantize != quantizeInt8 || name != formatONNX):
		return Format{}, fmt.Errorf("%w: %w: %s in %q; onnx can have int8", input.Quantize, ErrFormat, o.Quantize, name)
	case o.Precision != "" && o.Precision != precisionFloat32 && (o.Precision != precisionHalf || name != formatONNX):
		return Format{}, fmt.Errorf("%w: %w: %s in %q; there is float32, and onnx can have fp16", input.Precision, ErrFormat, o.Precision, name)
	case o.Quantize != "" && o.Precision == precisionHalf:
		return Format{}, fmt.Errorf("%w: %w: %v int8 and %v fp16 exclude each other", input.Precision, ErrFormat, input.Quantize, input.Precision)
	case o.Opset != 0 && (o.Opset != onnx.PlainOpset && o.Opset != onnx.AttentionOpset || name != formatONNX):
		return Format{}, fmt.Errorf("%w: %w: %d in %q; onnx can have %d and %d", input.Opset, ErrFormat, o.Opset, name, onnx.PlainOpset, onnx.AttentionOpset)
	case name == formatSafetensors:
		return Format{name: name, ending: ".safetensors"}, nil
	case name == formatHuggingFace:
		return Format{name: name, ending: string(filepath.Separator) + export.TransformersFile}, nil
	}
	return Format{name, ".onnx", onnx.Options{Int8: o.Quantize == quantizeInt8, Half: o.Precision == precisionHalf, Plain: o.Opset == onnx.PlainOpset}}, nil
}

// check refuses a file's name that is not of the format.
func (f Format) check(path string) error {
	if f.name == formatHuggingFace && filepath.Base(path) != export.TransformersFile {
		return fmt.Errorf("%w %s: with %v %s it is FOLDER/%s, %w %s", input.Out, path, input.Format, f.name, export.TransformersFile, ErrEnding, export.TransformersFile)
	}
	if f.name != formatHuggingFace && filepath.Ext(path) != f.ending {
		return fmt.Errorf("%w %s: with %v %s %w %s", input.Out, path, input.Format, f.name, ErrEnding, f.ending)
	}
	return nil
}

// inFolder tells whether each model has a folder of its own.
func (f Format) inFolder() bool { return f.name == formatHuggingFace }

// text says for people what the file of a model is.
func (f Format) text(m space.Model) string {
	switch f.name {
	case formatSafetensors:
		return "safetensors, float32, timm's names and layouts"
	case formatHuggingFace:
		return "safetensors, float32, names of Hugging Face's transformers"
	}
	what := "float32"
	switch {
	case f.onnx.Int8 && m.IsConv():
		what = "weights of convolutions and products in 8 bits"
	case f.onnx.Int8:
		what = "products in 8 bits"
	case f.onnx.Half:
		what = "float16 inside, float32 at input and output"
	}
	return fmt.Sprintf("ONNX, opset %d, %s", f.onnx.Opset(m), what)
}

func (f Format) write(to fsys.FS, path string, m *export.Model) error {
	switch f.name {
	case formatSafetensors:
		return m.Write(to, path)
	case formatHuggingFace:
		return m.WriteTransformers(to, path)
	}
	return onnx.Write(to, path, m, f.onnx)
}
