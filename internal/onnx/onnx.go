package onnx

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"runtime/debug"

	"google.golang.org/protobuf/proto"

	"prenas/internal/export"
	"prenas/internal/fsys"
	"prenas/internal/onnx/schema"
)

const (
	irVersion = 10
	opset     = 20
)

// maxFile is the limit of a protobuf message.
const maxFile = math.MaxInt32

// Options of Write.
type Options struct {
	// Int8 keeps the weights of matrix products and convolutions in 8 bits.
	Int8 bool
}

// Write writes the model as an ONNX file, whole or not at all.
func Write(f fsys.FS, path string, m *export.Model, o Options) error {
	text, err := marshal(m, o)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return fsys.WriteAtomic(f, path, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
}

func marshal(m *export.Model, o Options) ([]byte, error) {
	b := &builder{info: m.Info, model: m.Info.SpaceModel(), tensors: map[string][]float32{}, int8: o.Int8}
	for name, t := range m.Tensors {
		values, err := t.Float32s()
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", name, err)
		}
		for _, x := range values {
			if o.Int8 && (math.IsNaN(float64(x)) || math.IsInf(float64(x), 0)) {
				return nil, fmt.Errorf("tensor %q has values that are not finite: it cannot be quantised", name)
			}
		}
		b.tensors[name] = values
	}
	b.build()
	info, err := json.Marshal(m.Info)
	if err != nil {
		return nil, err
	}
	file := &schema.Model{
		IrVersion: irVersion, ProducerName: "prenas", ProducerVersion: version(),
		DocString:     "Image classifier; metadata " + export.MetadataKey + " has its preprocessing and classes.",
		Graph:         &b.Graph,
		OpsetImport:   []*schema.OperatorSet{{Domain: proto.String(""), Version: opset}},
		MetadataProps: []*schema.Entry{{Key: export.MetadataKey, Value: string(info)}},
	}
	if size := proto.Size(file); size > maxFile {
		return nil, fmt.Errorf("the model has %d bytes; an ONNX file holds at most %d", size, maxFile)
	}
	return proto.MarshalOptions{Deterministic: true}.Marshal(file)
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return ""
}
