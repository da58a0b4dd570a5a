package onnx

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"prenas/internal/export"
	"prenas/internal/fsys"
	"prenas/internal/onnx/schema"
	"prenas/internal/version"
	"prenas/pkg/space"
)

// Opsets, of which a file has the lowest that has all of its operators, and versions of the
// file's form that came with them (ONNX 1.15 and 1.18, docs/Versioning.md). Runtimes refuse
// newer ones than they know.
const (
	PlainOpset     = 20 // the first that has Gelu
	AttentionOpset = 23 // the first that has Attention
)

var irVersions = map[int]int64{PlainOpset: 9, AttentionOpset: 11}

// namesKey of the metadata has the classes where viewers and programs for ONNX files look
// for them, as Ultralytics writes them: a dict of Python, from output to name.
const namesKey = "names"

// maxFile is the limit of a protobuf message.
const maxFile = math.MaxInt32

// Options of Write.
type Options struct {
	// Int8 computes matrix products in 8 bits, and keeps the weights of convolutions so.
	Int8 bool
	// Half keeps all weights in float16 and computes in it; input and output are float32.
	Half bool
	// Plain writes attention as products and a softmax, for readers that have no Attention.
	Plain bool
}

// Opset is the version of the operators that a model's file needs.
func (o Options) Opset(m space.Model) int {
	if m.IsConv() || m.RelativePosition || o.Plain {
		return PlainOpset
	}
	return AttentionOpset
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
	if o.Int8 && o.Half {
		return nil, errors.New("8 bits and float16 exclude each other")
	}
	b := &builder{info: m.Info, model: m.Info.SpaceModel(), tensors: map[string][]float32{}, options: o, graph: graph{half: o.Half}}
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
	if b.large != "" {
		return nil, fmt.Errorf("constant %q has values beyond those of float16, which end at 65504: write it in float32", b.large)
	}
	info, err := json.Marshal(m.Info)
	if err != nil {
		return nil, err
	}
	metadata := []*schema.Entry{{Key: export.MetadataKey, Value: string(info)}}
	if len(m.Info.Classes) > 0 {
		metadata = append(metadata, &schema.Entry{Key: namesKey, Value: pythonNames(m.Info)})
	}
	key, value := export.Seal()
	metadata = append(metadata, &schema.Entry{Key: key, Value: value}) // the last
	opset := o.Opset(b.model)
	file := &schema.Model{
		IrVersion: irVersions[opset], ProducerName: "prenas", ProducerVersion: version.String(),
		DocString:     "Image classifier; metadata " + export.MetadataKey + " has its preprocessing and classes.",
		Graph:         &b.Graph,
		OpsetImport:   []*schema.OperatorSet{{Domain: proto.String(""), Version: int64(opset)}},
		MetadataProps: metadata,
	}
	if size := proto.Size(file); size > maxFile {
		return nil, fmt.Errorf("the model has %d bytes; an ONNX file holds at most %d", size, maxFile)
	}
	text, err := proto.MarshalOptions{Deterministic: true}.Marshal(file)
	if err != nil {
		return nil, err
	}
	return text, export.SealONNX(text)
}

// pythonNames is like {0: 'cat', 1: 'dog'}, with a name for every output. It is a literal of
// Python and a value of YAML, whatever the names hold: programs read it as either.
func pythonNames(info export.Info) string {
	var list []string
	for label := range info.Architecture.NumClasses {
		name := info.ClassName(label)
		quoted := "'" + name + "'"
		if strings.ContainsAny(name, `'\`) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) || !utf8.ValidString(name) {
			quoted = strconv.QuoteToASCII(strings.ToValidUTF8(name, "\uFFFD"))
		}
		list = append(list, fmt.Sprintf("%d: %s", label, quoted))
	}
	return "{" + strings.Join(list, ", ") + "}"
}
