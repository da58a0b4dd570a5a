package onnx

import (
	"prenas/internal/export"
	"prenas/internal/onnx/schema"
	"prenas/pkg/space"
)

// builder is what the graphs of both families are built with.
type builder struct {
	graph
	info    export.Info
	model   space.Model
	tensors map[string][]float32 // the model's, by timm's names
	options Options
}

// build adds the model's whole graph.
func (b *builder) build() {
	m := b.model
	b.Name = b.info.Arch
	b.Input = append(b.Input, value(export.InputName, "normalised images", m.Channels, m.ImageSize, m.ImageSize))
	b.Output = append(b.Output, value(export.OutputName, "one logit for each class", m.NumClasses))
	images := export.InputName
	if b.half {
		images = b.op("Cast", []string{images}, integer("to", int(schema.Tensor_FLOAT16)))
	}
	if m.IsConv() {
		(&conv{builder: b}).build(images)
	} else {
		(&vit{builder: b}).build(images)
	}
	last := b.Node[len(b.Node)-1]
	if b.half {
		b.op("Cast", last.Output, integer("to", int(schema.Tensor_FLOAT)))
		last = b.Node[len(b.Node)-1]
	}
	last.Output[0] = export.OutputName
}

// weight is a tensor of the model, of the present scope.
func (b *builder) weight(name string) []float32 { return b.tensors[b.scope+name] }

// linear multiplies x [..., in] with the weight name.weight [out, in], and adds the bias
// if it has one.
func (b *builder) linear(x, name string, out, in int, bias bool) string {
	matrix := turned(b.weight(name+".weight"), 1, out, in) // as MatMul takes it, [in, out]
	if b.options.Int8 {
		x = b.product8(x, name, matrix, out, in)
	} else {
		x = b.op("MatMul", []string{x, b.constant(name+".weight", matrix, in, out)})
	}
	if bias {
		x = b.op("Add", []string{x, b.constant(name+".bias", b.weight(name+".bias"), out)})
	}
	return x
}

// product8 multiplies x [..., in] with a matrix [in, out] in 8 bits, in the form that runtimes
// make products of bytes of (QuantizeLinear and DequantizeLinear around MatMul). The matrix
// has a scale for each output. Each row of x has its own, its largest magnitude, so that an
// image's logits are the same in any batch:
//
//	x·w = max|x| · ((x / max|x|) · w)
func (b *builder) product8(x, name string, matrix []float32, out, in int) string {
	largest := b.op("ReduceMax", []string{b.op("Abs", []string{x}), b.sizes(name+".axis", -1)}, integer("keepdims", 1))
	largest = b.op("Max", []string{largest, b.constant(name+".least", []float32{1e-20})}) // of a row of zeros
	step, middle := b.constant(name+".step", []float32{1. / 127}), b.uint8(name+".middle", 128)
	x = b.op("QuantizeLinear", []string{b.op("Div", []string{x, largest}), step, middle})
	x = b.op("DequantizeLinear", []string{x, step, middle})
	q, scales := quantize(matrix, out, 1)
	w := b.op("DequantizeLinear", []string{b.int8s(name+".weight", q, in, out), b.constant(name+".scale", scales, out)}, integer("axis", 1))
	return b.op("Mul", []string{b.op("MatMul", []string{x, w}), largest})
}

// kernel is the weight [out, in, k, k] of a convolution, with Int8 in 8 bits with a scale
// for each output. Runtimes compute the float32 weights of it once, when they load the file.
func (b *builder) kernel(name string, w []float32, out, in, k int) string {
	if !b.options.Int8 {
		return b.constant(name, w, out, in, k, k)
	}
	q, scales := quantize(w, out, in*k*k)
	weights := b.op("Cast", []string{b.int8s(name, q, out, in, k, k)}, integer("to", int(schema.Tensor_FLOAT)))
	return b.op("Mul", []string{weights, b.constant(name+".scale", scales, out, 1, 1, 1)})
}
