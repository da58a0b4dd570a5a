package onnx

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/x448/float16"
	"google.golang.org/protobuf/proto"

	"prenas/internal/onnx/schema"
)

// graph is an ONNX graph that grows node by node. Values go by their names.
type graph struct {
	schema.Graph
	scope string // of the names of the next nodes, as "blocks.0.attn."
	count int    // of nodes, for names that differ
	half  bool   // constants and all between them are float16
	large string // a constant that float16 has no number for
}

// op adds a node with one output and returns its name.
func (g *graph) op(kind string, inputs []string, attributes ...*schema.Attribute) string {
	return g.ops(kind, inputs, 1, attributes...)[0]
}

// ops adds a node and returns the names of its outputs.
func (g *graph) ops(kind string, inputs []string, outputs int, attributes ...*schema.Attribute) []string {
	name := fmt.Sprintf("%s%s_%d", g.scope, kind, g.count)
	g.count++
	names := []string{name}
	if outputs > 1 {
		names = nil
		for i := range outputs {
			names = append(names, fmt.Sprintf("%s.%d", name, i))
		}
	}
	g.Node = append(g.Node, &schema.Node{Name: name, OpType: kind, Input: inputs, Output: names, Attribute: attributes})
	return names
}

func integer(name string, v int) *schema.Attribute {
	return &schema.Attribute{Name: name, Type: schema.Attribute_INT, I: proto.Int64(int64(v))}
}

func float(name string, v float64) *schema.Attribute {
	return &schema.Attribute{Name: name, Type: schema.Attribute_FLOAT, F: proto.Float32(float32(v))}
}

func text(name, v string) *schema.Attribute {
	return &schema.Attribute{Name: name, Type: schema.Attribute_STRING, S: []byte(v)}
}

func integers(name string, v ...int) *schema.Attribute {
	return &schema.Attribute{Name: name, Type: schema.Attribute_INTS, Ints: int64s(v)}
}

func int64s(v []int) []int64 {
	out := make([]int64, len(v))
	for i := range v {
		out[i] = int64(v[i])
	}
	return out
}

// constant adds a constant of the graph's type and returns its name.
func (g *graph) constant(name string, values []float32, shape ...int) string {
	if g.half {
		return g.halves(name, values, shape)
	}
	data := make([]byte, 0, 4*len(values))
	for _, v := range values {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
	}
	return g.tensor(name, schema.Tensor_FLOAT, data, shape)
}

// halves adds a float16 constant, its values rounded to the nearest.
func (g *graph) halves(name string, values []float32, shape []int) string {
	data := make([]byte, 0, 2*len(values))
	for _, v := range values {
		h := float16.Fromfloat32(v)
		if !h.IsFinite() && g.large == "" {
			g.large = g.scope + name
		}
		data = binary.LittleEndian.AppendUint16(data, h.Bits())
	}
	return g.tensor(name, schema.Tensor_FLOAT16, data, shape)
}

// uint8 adds a uint8 constant of rank 0.
func (g *graph) uint8(name string, value uint8) string {
	return g.tensor(name, schema.Tensor_UINT8, []byte{value}, nil)
}

// int8s adds an int8 constant.
func (g *graph) int8s(name string, values []int8, shape ...int) string {
	data := make([]byte, len(values))
	for i, v := range values {
		data[i] = byte(v)
	}
	return g.tensor(name, schema.Tensor_INT8, data, shape)
}

// sizes adds an int64 constant of rank 1, which shapes and axes are.
func (g *graph) sizes(name string, values ...int) string {
	var data []byte
	for _, v := range values {
		data = binary.LittleEndian.AppendUint64(data, uint64(int64(v)))
	}
	return g.tensor(name, schema.Tensor_INT64, data, []int{len(values)})
}

func (g *graph) tensor(name string, kind schema.Tensor_Type, data []byte, shape []int) string {
	name = g.scope + name
	g.Initializer = append(g.Initializer, &schema.Tensor{Name: name, DataType: kind, Dims: int64s(shape), RawData: data})
	return name
}

// value describes an input or output of the graph; its first axis is the batch.
func value(name, text string, shape ...int) *schema.Value {
	dims := []*schema.Dim{{Size: &schema.Dim_DimParam{DimParam: "batch"}}}
	for _, d := range shape {
		dims = append(dims, &schema.Dim{Size: &schema.Dim_DimValue{DimValue: int64(d)}})
	}
	return &schema.Value{Name: name, DocString: text, Type: &schema.ValueType{
		TensorType: &schema.TensorType{ElemType: schema.Tensor_FLOAT, Shape: &schema.Shape{Dim: dims}},
	}}
}
