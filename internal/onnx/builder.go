package onnx

import (
	"prenas/internal/export"
	"prenas/pkg/space"
)

// builder is what the graphs of both families are built with.
type builder struct {
	graph
	info    export.Info
	model   space.Model
	tensors map[string][]float32 // the model's, by timm's names
	int8    bool
}

// build adds the model's whole graph.
func (b *builder) build() {
	m := b.model
	b.Name = b.info.Arch
	b.Input = append(b.Input, value(export.InputName, "normalised images", m.Channels, m.ImageSize, m.ImageSize))
	b.Output = append(b.Output, value(export.OutputName, "one logit for each class", m.NumClasses))
	if m.IsConv() {
		(&conv{b}).build()
	} else {
		(&vit{builder: b}).build()
	}
	b.Node[len(b.Node)-1].Output[0] = export.OutputName
}

// weight is a tensor of the model, of the present scope.
func (b *builder) weight(name string) []float32 { return b.tensors[b.scope+name] }

// linear multiplies x [..., in] with the weight name.weight [out, in], and adds the bias
// if it has one.
func (b *builder) linear(x, name string, out, in int, bias bool) string {
	x = b.op("MatMul", []string{x, b.matrix(name+".weight", out, in)})
	if bias {
		x = b.op("Add", []string{x, b.constant(name+".bias", b.weight(name+".bias"), out)})
	}
	return x
}

// matrix is a weight as MatMul takes it, [in, out].
func (b *builder) matrix(name string, out, in int) string {
	w := b.weight(name)
	t := make([]float32, len(w))
	for o := range out {
		for i := range in {
			t[i*out+o] = w[o*in+i]
		}
	}
	return b.scaled(name, t, 1, in, out)
}

// scaled is a constant of weights, with Int8 in 8 bits with a scale for each output, which
// the given axis counts.
func (b *builder) scaled(name string, w []float32, axis int, shape ...int) string {
	if !b.int8 {
		return b.constant(name, w, shape...)
	}
	inner := 1
	for _, d := range shape[axis+1:] {
		inner *= d
	}
	q, scales := quantize(w, shape[axis], inner)
	return b.op("DequantizeLinear", []string{b.int8s(name, q, shape...), b.constant(name+".scale", scales, shape[axis])}, integer("axis", axis))
}
