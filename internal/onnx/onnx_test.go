package onnx_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"prenas/internal/classify"
	"prenas/internal/engine/enginetest"
	"prenas/internal/export"
	"prenas/internal/fixture"
	"prenas/internal/fsys"
	"prenas/internal/onnx"
	"prenas/internal/pytools"
	"prenas/internal/rng"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// one is a model without weights.
type one struct {
	model space.Model
	arch  space.Arch
}

// models are small ones with every option of both families on, off, and mixed.
func models(t *testing.T) []one {
	t.Helper()
	plain := space.Model{ImageSize: 32, PatchSize: 8, Channels: 3, NumClasses: 7, HeadDim: 16}
	full := plain
	full.RelativePosition, full.MaxRelativePosition, full.GlobalPool, full.AbsPos, full.QKVBias = true, 3, true, true, true
	clamped := plain
	clamped.Channels, clamped.RelativePosition, clamped.MaxRelativePosition, clamped.QKVBias = 1, true, 1, true
	vit := space.Arch{EmbedDim: 40, NumHeads: []int{3, 1, 2}, MLPRatio: []float64{1.5, 3, 2.2}}
	conv := space.Model{ImageSize: 32, Channels: 3, NumClasses: 7, Conv: space.ConvModel{
		Stem: 8, StemStride: 2, Features: 32, Mix: 24, MixBias: true,
		Units: []space.ConvUnit{{Width: 16, Stride: 2}, {Width: 16, Stride: 1, SqueezeExcite: true}, {Width: 24, Stride: 2, HSwish: true}},
	}}
	bare := conv
	bare.Channels, bare.Conv.StemStride, bare.Conv.MixBias = 1, 1, false
	var archs []space.Arch
	for _, text := range []string{"i21-d1_2x2-k3_5_3_7_3-x1_2_1.5_3_2", "i28-d2_1x2-k5x2_3_5-x2x2_3_1.5"} {
		a, err := space.ParseArch(text)
		if err != nil {
			t.Fatal(err)
		}
		archs = append(archs, a)
	}
	list := []one{{plain, vit}, {full, vit}, {clamped, vit}, {conv, archs[0]}, {bare, archs[1]}}
	for i, change := range []func(c *space.ConvModel){ // every value of every key
		func(c *space.ConvModel) {
			c.Activation, c.Padding, c.Mix, c.MixBias, c.First = space.ReLU6, space.PaddingSame, 0, false, space.ConvFirst{Width: 16}
		},
		func(c *space.ConvModel) {
			c.Activation, c.Padding, c.Squeeze, c.Mix, c.MixBias = space.SiLU, space.PaddingSame, space.SqueezeEfficientNet, 0, false
			c.First = space.ConvFirst{Stride: 2, SqueezeExcite: true}
		},
		func(c *space.ConvModel) { c.Squeeze, c.First = space.SqueezeRW, space.ConvFirst{NoSkip: true} },
		func(c *space.ConvModel) {
			c.Activation, c.First = space.HardSwish, space.ConvFirst{SqueezeExcite: true, Width: 8}
		},
		func(c *space.ConvModel) { c.Activation = space.ReLU },
	} {
		m := conv
		m.Conv.Units = slices.Clone(conv.Conv.Units)
		if change(&m.Conv); m.Conv.Activation != "" {
			m.Conv.Units[2].HSwish = false
		}
		list = append(list, one{m, archs[i%2]})
	}
	for _, v := range []space.Variant{ // every value of every key
		{NormEps: 1e-2, Activation: space.GELUTanh, PreNorm: true, QKNorm: true, Registers: 2},
		{Activation: space.QuickGELU, NoClassToken: true, Norm: space.NormPooled},
		{Activation: space.ReLU, Registers: 1, Pool: space.PoolDistilled},
		{Activation: space.SiLU, NoClassToken: true, Registers: 3, Norm: space.NormNone},
		{Pool: space.PoolClassMean},
		{NoClassToken: true, Pool: space.PoolAttention, PoolHeads: 2, PoolHidden: 30, Activation: space.GELUTanh},
	} {
		m := plain
		m.AbsPos, m.QKVBias, m.GlobalPool, m.Variant = true, true, v.NoClassToken && v.Pool == "", v
		list = append(list, one{m, vit})
	}
	return list
}

// awkward are names that are no plain words of Python or YAML.
var awkward = []string{"bird's nest", `back\slash "quoted"`, "gr\u00fcn: {1}", "line\nbreak", "\U0001f431\u200b", "yes", "", "a, b"}

func randomModel(t *testing.T, o one) *export.Model {
	t.Helper()
	m, a := o.model, o.arch
	weights := map[string]tensorfile.Tensor{}
	for _, p := range slices.Concat(supernet.ParamsOf(m, a), supernet.Stats(m, a)) {
		r := rng.New(1, p.Name)
		values := make([]float32, size(p.Shape))
		middle, deviation := 0.0, 0.2
		switch {
		case strings.HasSuffix(p.Name, ".running_var") || m.IsConv() && len(p.Shape) == 1 && strings.HasSuffix(p.Name, ".weight"):
			middle, deviation = 1, 0.1
		case m.IsConv() && len(p.Shape) > 1: // keeps features as large as they come, through all layers
			deviation = math.Sqrt(2 / float64(size(p.Shape[1:])))
		}
		for i := range values {
			values[i] = float32(middle + deviation*r.NormFloat64())
		}
		weights[p.Name] = tensorfile.FromFloat32(p.Shape, values)
	}
	side, mean, std := m.Side(a), []float32{0.5, 0.5, 0.5}, []float32{0.25, 0.25, 0.25}
	model, err := export.Take(weights, m, a, export.Info{Preprocess: export.Preprocess{
		Size: side, Resize: side, Interpolation: export.Bicubic, Mean: mean[:m.Channels], Std: std[:m.Channels],
	}, Classes: awkward[:min(m.NumClasses, len(awkward))]})
	if err != nil {
		t.Fatal(err)
	}
	return model
}

func size(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

const images = 64

// logits of noise from our own engine, and the noise.
func logits(t *testing.T, model *export.Model, path string) (inputs [][]float32, rows [][]float32) {
	t.Helper()
	if err := model.Write(fsys.OS, path); err != nil {
		t.Fatal(err)
	}
	own, err := classify.Open(context.Background(), path, classify.Options{Engine: enginetest.Test(t), Batch: images})
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	m := model.Info.SpaceModel()
	for i := range images {
		r := rng.New(2, "image", uint64(i))
		input := make([]float32, m.Channels*m.ImageSize*m.ImageSize)
		for k := range input {
			input[k] = float32(r.NormFloat64())
		}
		inputs = append(inputs, input)
	}
	if rows, err = own.Logits(inputs); err != nil {
		t.Fatal(err)
	}
	if d := fixture.Difference(rows[0], rows[1]); d < 0.02 {
		t.Fatalf("%s: logits of two images differ by %.2g of the largest: a test of them shows nothing", model.Info.Arch, d)
	}
	return inputs, rows
}

// Every bit of a file is under its digest.
func TestEveryFlippedBitIsSeen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "model.onnx")
	if err := onnx.Write(fsys.OS, path, randomModel(t, models(t)[0]), onnx.Options{}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if has, err := export.CheckONNX(path); !has || err != nil {
		t.Fatal(has, err)
	}
	for i := range text {
		if i > 1000 && i < len(text)-1000 && i%997 != 0 {
			continue
		}
		text[i] ^= 1 << (i % 8)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := export.CheckONNX(path); !errors.Is(err, export.ErrDamaged) {
			t.Errorf("byte %d of %d: %v", i, len(text), err)
		}
		text[i] ^= 1 << (i % 8)
	}
	last := 0 // the field that the digest is in
	for at := 0; at < len(text); {
		last = at
		_, _, n := protowire.ConsumeField(text[at:])
		if n < 0 {
			t.Fatalf("no field of a protobuf message at %d", at)
		}
		at += n
	}
	if err := os.WriteFile(path, text[:last], 0o600); err != nil { // as from before there were digests
		t.Fatal(err)
	}
	if has, err := export.CheckONNX(path); has || err != nil {
		t.Error(has, err)
	}
}

// forms of a file, and by how much of the largest its logits may differ from ours.
var forms = []struct {
	name    string
	options onnx.Options
	bound   float64
	classes int // of images, at least so many have the class that ours have
}{
	{"float32", onnx.Options{}, 1e-4, images},
	{"opset 20", onnx.Options{Plain: true}, 1e-4, images},
	{"float16", onnx.Options{Half: true}, 1e-2, images * 98 / 100},
	{"int8", onnx.Options{Int8: true}, 0.05, images * 95 / 100},
}

// onnxruntime gives the logits of our own engine to 1e-4 of the largest, for any batch, in
// float16 to 1e-2, and with products in 8 bits nearly always the same class. onnx's checker
// passes all.
func TestOnnxruntimeAgrees(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	python := pytools.Python(t, pytools.OnnxRuntime)
	dir := t.TempDir()
	args := []string{filepath.Join("testdata", "check.py")}
	type run struct {
		model, form  int
		name, logits string
		want         [][]float32
	}
	var runs []run
	for i, o := range models(t) {
		model := randomModel(t, o)
		inputs, want := logits(t, model, filepath.Join(dir, fmt.Sprintf("%d.safetensors", i)))
		given := filepath.Join(dir, fmt.Sprintf("%d.images", i))
		writeFloats(t, given, slices.Concat(inputs...))
		for k, form := range forms {
			file := filepath.Join(dir, fmt.Sprintf("%d-%d.onnx", i, k))
			if err := onnx.Write(fsys.OS, file, model, form.options); err != nil {
				t.Fatal(err)
			}
			args = append(args, file, given, file+".logits")
			runs = append(runs, run{i, k, fmt.Sprintf("model %d, %s", i, form.name), file + ".logits", want})
		}
	}
	if text, err := exec.Command(python, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	var whole []float32 // of the form that is one node a block
	for _, r := range runs {
		got, want, form := readFloats(t, r.logits), slices.Concat(r.want...), forms[r.form]
		difference := fixture.Difference(got, want)
		t.Logf("%s: logits differ by %.2g of the largest", r.name, difference)
		same, classes := 0, len(r.want[0])
		for i, row := range r.want {
			if argmax(got[i*classes:][:classes]) == argmax(row) {
				same++
			}
		}
		if same < form.classes || difference > form.bound {
			t.Errorf("%s: %d of %d classes are the same, logits differ by %.2g of the largest", r.name, same, images, difference)
		}
		switch form.options {
		case onnx.Options{}:
			whole = got
		case onnx.Options{Plain: true}:
			if d := fixture.Difference(got, whole); d > 1e-6 {
				t.Errorf("%s: attention as one node and as products differ by %.2g of the largest", r.name, d)
			}
		}
	}
}

// An ONNX file that is opened from Go, on the library of the same package, gives the
// logits of the safetensors file, and its description.
func TestONNXOpens(t *testing.T) {
	python := pytools.Python(t, pytools.OnnxRuntime)
	libraries, err := filepath.Glob(filepath.Join(filepath.Dir(python), "..", "lib", "python3*", "site-packages", "onnxruntime", "capi", "libonnxruntime.so.*"))
	if err != nil || len(libraries) != 1 {
		t.Fatalf("libraries of onnxruntime: %v (%v), want one", libraries, err)
	}
	dir := t.TempDir()
	for _, k := range []int{1, 3} {
		model := randomModel(t, models(t)[k])
		inputs, want := logits(t, model, filepath.Join(dir, "model.safetensors"))
		path := filepath.Join(dir, "model.onnx")
		if err := onnx.Write(fsys.OS, path, model, onnx.Options{}); err != nil {
			t.Fatal(err)
		}
		opened, err := classify.Open(context.Background(), path, classify.Options{Batch: 5, Library: libraries[0]})
		if err != nil {
			t.Fatal(err)
		}
		defer opened.Close()
		if !reflect.DeepEqual(opened.Info(), model.Info) {
			t.Errorf("the file says %+v, want %+v", opened.Info(), model.Info)
		}
		got, err := opened.Logits(inputs)
		if err != nil {
			t.Fatal(err)
		}
		if d := fixture.Difference(slices.Concat(got...), slices.Concat(want...)); d > 1e-4 {
			t.Errorf("%s: logits differ by %.2g of the largest", model.Info.Arch, d)
		}
	}

	other := filepath.Join(dir, "other.onnx")
	if err := os.WriteFile(other, []byte("not ONNX"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := classify.Open(context.Background(), other, classify.Options{Library: libraries[0]}); !errors.Is(err, export.ErrCut) || !strings.Contains(err.Error(), other) {
		t.Errorf("a file of another kind: %v", err)
	}
}

// The int8 file has a byte, not four, for each weight of a product or a convolution.
func TestInt8IsSmall(t *testing.T) {
	for _, k := range []int{0, 3} {
		model := randomModel(t, models(t)[k])
		dir := t.TempDir()
		sizes := map[bool]int64{}
		products := int64(0)
		for _, int8 := range []bool{false, true} {
			path := filepath.Join(dir, "model.onnx")
			if err := onnx.Write(fsys.OS, path, model, onnx.Options{Int8: int8}); err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			sizes[int8] = info.Size()
		}
		for _, x := range model.Tensors {
			if len(x.Shape) == 2 || len(x.Shape) == 4 && k == 3 {
				products += int64(size(x.Shape))
			}
		}
		if saved := sizes[false] - sizes[true]; saved < products*9/4 {
			t.Errorf("%s: int8 saves %d bytes of %d weights", model.Info.Arch, saved, products)
		}
	}
}

// Weights that are not finite have no 8-bit form; the tensor is named.
func TestInt8RefusesWhatIsNotFinite(t *testing.T) {
	model := randomModel(t, models(t)[0])
	model.Tensors["norm.bias"] = tensorfile.FromFloat32([]int{1}, []float32{float32(math.Inf(1))})
	path := filepath.Join(t.TempDir(), "model.onnx")
	err := onnx.Write(fsys.OS, path, model, onnx.Options{Int8: true})
	if err == nil || !strings.Contains(err.Error(), "norm.bias") || !strings.Contains(err.Error(), path) {
		t.Errorf("an infinite weight: %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a file was written")
	}
}

func TestSameModelSameBytes(t *testing.T) {
	dir := t.TempDir()
	var files [][]byte
	for range 2 {
		path := filepath.Join(dir, "model.onnx")
		if err := onnx.Write(fsys.OS, path, randomModel(t, models(t)[1]), onnx.Options{}); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, text)
	}
	if !bytes.Equal(files[0], files[1]) {
		t.Error("the same model was written in two ways")
	}
}

func argmax(row []float32) int { return slices.Index(row, slices.Max(row)) }

func writeFloats(t *testing.T, path string, values []float32) {
	t.Helper()
	if err := os.WriteFile(path, tensorfile.FromFloat32([]int{len(values)}, values).Data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func readFloats(t *testing.T, path string) []float32 {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	values := make([]float32, len(text)/4)
	if _, err := binary.Decode(text, binary.LittleEndian, values); err != nil {
		t.Fatal(err)
	}
	return values
}
