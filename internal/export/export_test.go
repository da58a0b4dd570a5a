package export_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"
	"google.golang.org/protobuf/encoding/protowire"

	"prenas/internal/engine"
	"prenas/internal/engine/enginetest"
	"prenas/internal/export"
	"prenas/internal/fixture"
	"prenas/internal/fsys"
	"prenas/internal/rng"
	"prenas/internal/sealed"
	"prenas/internal/strictjson"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// about is what a caller knows of a model.
func about(m space.Model, a space.Arch) export.Info {
	mean, std := []float32{0.485, 0.456, 0.406}, []float32{0.229, 0.224, 0.225}
	return export.Info{
		Preprocess: export.Preprocess{Size: m.Side(a), Resize: m.Side(a), Interpolation: export.Bicubic, Mean: mean[:m.Channels], Std: std[:m.Channels]},
		Classes:    []string{"cat", "dog"},
		Data:       export.Data{Source: "folder:pets", Digest: "abc"},
		Training:   export.Training{Steps: 7, Seed: 3, Recipe: "def"},
		Licence:    "CC0-1.0",
	}
}

// logits of an architecture with the weights of a net.
func logits(t *testing.T, n *supernet.Net, a space.Arch, weights map[string]tensorfile.Tensor, images tensorfile.Tensor) []byte {
	t.Helper()
	var inputs []shapes.Shape
	var args []*tensors.Tensor
	add := func(x tensorfile.Tensor) {
		up, err := enginetest.Test(t).Upload(x)
		if err != nil {
			t.Fatal(err)
		}
		inputs, args = append(inputs, shapes.Make(dtypes.Float32, x.Shape...)), append(args, up)
	}
	for _, p := range slices.Concat(n.Params(), supernet.Stats(n.Space().Model, a)) {
		add(weights[p.Name])
	}
	add(images)
	program, err := enginetest.Test(t).Compile("logits", inputs, func(in []*graph.Node) []*graph.Node {
		params, last := len(n.Params()), len(in)-1
		return []*graph.Node{n.Logits(in[:params], in[last], supernet.Forward{Arch: a, Stats: in[params:last]})}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	out, err := program.Run(args)
	if err != nil {
		t.Fatal(err)
	}
	got, err := engine.Download(out[0])
	if err != nil {
		t.Fatal(err)
	}
	return got.Data
}

// archs are the ends of a space and one between that mixes its choices.
func archs(s *space.Space) []space.Arch {
	if s.Model.IsConv() {
		return []space.Arch{s.Smallest(), s.Draw(rng.New(2, "mixed"))}
	}
	mixed := s.Largest()
	mixed.EmbedDim = s.EmbedDim[len(s.EmbedDim)/2]
	for i := range mixed.NumHeads {
		mixed.NumHeads[i] = s.NumHeads[i%len(s.NumHeads)]
		mixed.MLPRatio[i] = s.MLPRatio[(i+1)%len(s.MLPRatio)]
	}
	without := mixed.Keeping(mixed.Layers)
	without.EmbedDim = s.EmbedDim[0]
	without.NumHeads, without.MLPRatio = mixed.NumHeads[1:], mixed.MLPRatio[1:]
	var kept []int
	for i := range without.NumHeads {
		kept = append(kept, i+1)
	}
	return []space.Arch{s.Smallest(), s.Largest(), mixed, without.Keeping(kept)}
}

// spaces are small ones of both families, with every option of their models on and off.
func spaces(t *testing.T) []*space.Space {
	t.Helper()
	vit, err := space.Load(filepath.Join("..", "..", "testdata", "micro", "space.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	vit.Model = space.Model{ImageSize: 32, PatchSize: 8, Channels: 3, NumClasses: 7, HeadDim: 16}
	full := *vit
	m := &full.Model
	m.RelativePosition, m.MaxRelativePosition, m.GlobalPool, m.AbsPos, m.QKVBias = true, 3, true, true, true
	return []*space.Space{vit, &full, convSpace(t, ""), convSpace(t, "STEM_STRIDE: 1, MIX_BIAS: true")}
}

// A model that was written and read has the logits of its slice, bit for bit.
func TestLogitsAreThoseOfTheSlice(t *testing.T) {
	for _, s := range spaces(t) {
		m, net, all := s.Model, supernet.New(s), archs(s)
		if testing.Short() {
			all = all[:1]
		}
		for _, a := range all {
			weights := random(net, a)
			images := noise([]int{3, m.Channels, m.Side(a), m.Side(a)}, "images")
			model := reread(t, weights, m, a)
			alone, err := model.Weights()
			if err != nil {
				t.Fatal(err)
			}
			if err := model.Net().Check(alone); err != nil {
				t.Fatal(err)
			}
			got := logits(t, model.Net(), model.Info.SpaceArch(), alone, images)
			if !bytes.Equal(got, logits(t, net, a, weights, images)) {
				t.Errorf("%s: the model's logits differ from the slice's", a)
			}
			if row := len(got) / 3; bytes.Equal(got[:row], got[row:2*row]) {
				t.Errorf("%s: all images have the same logits", a)
			}
		}
	}
}

// reread takes a model, writes it, and reads it again.
func reread(t *testing.T, weights map[string]tensorfile.Tensor, m space.Model, a space.Arch) *export.Model {
	t.Helper()
	taken, err := export.Take(weights, m, a, about(m, a))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "model.safetensors")
	if err := taken.Write(fsys.OS, path); err != nil {
		t.Fatal(err)
	}
	model, err := export.Read(fsys.OS, path)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(model.Info, taken.Info) {
		t.Errorf("read %+v, wrote %+v", model.Info, taken.Info)
	}
	return model
}

// random weights of a net and statistics of an architecture, none of them zero or one as
// at initialisation. Variances and norms of convolutional networks are around one and
// convolutions not small, so that features are as large after all layers as before.
func random(n *supernet.Net, a space.Arch) map[string]tensorfile.Tensor {
	m, weights := n.Space().Model, map[string]tensorfile.Tensor{}
	for _, p := range slices.Concat(n.Params(), supernet.Stats(m, a)) {
		x := noise(p.Shape, p.Name)
		switch {
		case strings.HasSuffix(p.Name, ".running_var") || m.IsConv() && len(p.Shape) == 1 && strings.HasSuffix(p.Name, ".weight"):
			x = times(x, 0.5, 1)
		case m.IsConv() && len(p.Shape) > 1:
			x = times(x, 2, 0)
		}
		weights[p.Name] = x
	}
	return weights
}

// times is x · by + plus.
func times(x tensorfile.Tensor, by, plus float32) tensorfile.Tensor {
	values, _ := x.Float32s()
	for i, v := range values {
		values[i] = by*v + plus
	}
	return tensorfile.FromFloat32(x.Shape, values)
}

func noise(shape []int, name string) tensorfile.Tensor {
	r, size := rng.New(1, name), 1
	for _, d := range shape {
		size *= d
	}
	values := make([]float32, size)
	for i := range values {
		values[i] = float32(0.2 * r.NormFloat64())
	}
	return tensorfile.FromFloat32(shape, values)
}

// Names, shapes and rows of qkv, written out by hand.
func TestTensorsAreTimms(t *testing.T) {
	m := space.Model{ImageSize: 4, PatchSize: 2, Channels: 1, NumClasses: 2, HeadDim: 2, AbsPos: true, QKVBias: true}
	a := space.Arch{EmbedDim: 2, NumHeads: []int{1}, MLPRatio: []float64{1.5}}
	weights := map[string]tensorfile.Tensor{}
	for _, p := range supernet.ParamsOf(m, space.Arch{EmbedDim: 3, NumHeads: []int{2, 2}, MLPRatio: []float64{2, 2}}) {
		weights[p.Name] = noise(p.Shape, p.Name)
	}
	ramp := make([]float32, 12*3) // entry [row, column] is 10·row + column
	for i := range ramp {
		ramp[i] = float32(i/3*10 + i%3)
	}
	weights["blocks.0.attn.qkv.weight"] = tensorfile.FromFloat32([]int{12, 3}, ramp)
	model, err := export.Take(weights, m, a, about(m, a))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]int{
		"cls_token": {1, 1, 2}, "pos_embed": {1, 5, 2}, "patch_embed.proj.weight": {2, 1, 2, 2}, "patch_embed.proj.bias": {2},
		"blocks.0.norm1.weight": {2}, "blocks.0.norm1.bias": {2}, "blocks.0.attn.qkv.weight": {6, 2}, "blocks.0.attn.qkv.bias": {6},
		"blocks.0.attn.proj.weight": {2, 2}, "blocks.0.attn.proj.bias": {2}, "blocks.0.norm2.weight": {2}, "blocks.0.norm2.bias": {2},
		"blocks.0.mlp.fc1.weight": {3, 2}, "blocks.0.mlp.fc1.bias": {3}, "blocks.0.mlp.fc2.weight": {2, 3}, "blocks.0.mlp.fc2.bias": {2},
		"norm.weight": {2}, "norm.bias": {2}, "head.weight": {2, 2}, "head.bias": {2},
	}
	got := map[string][]int{}
	for name, x := range model.Tensors {
		got[name] = x.Shape
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("tensors %v, want %v", got, want)
	}
	rows, err := model.Tensors["blocks.0.attn.qkv.weight"].Float32s()
	if err != nil {
		t.Fatal(err)
	}
	// Query rows 0 and 3 of the supernet, then key rows 1 and 4, then value rows 2 and 5.
	if want := []float32{0, 1, 30, 31, 10, 11, 40, 41, 20, 21, 50, 51}; !reflect.DeepEqual(rows, want) {
		t.Errorf("rows of qkv %v, want %v", rows, want)
	}
}

func TestTakeRefusesWhatTheWeightsDoNotHold(t *testing.T) {
	f := fixture.Open(t)
	a := f.Space.Largest()
	a.EmbedDim = f.Space.Supernet.EmbedDim + 1
	if _, err := export.Take(f.Weights, f.Space.Model, a, about(f.Space.Model, a)); !errors.Is(err, export.ErrArch) {
		t.Errorf("wider than the supernet: %v", err)
	}
}

// Everything that is wrong with a file is an error that names the file and the matter.
func TestReadRefuses(t *testing.T) {
	f := fixture.Open(t)
	m := f.Space.Model
	fresh := func() *export.Model {
		model, err := export.Take(f.Weights, m, f.Space.Smallest(), about(m, f.Space.Smallest()))
		if err != nil {
			t.Fatal(err)
		}
		return model
	}
	for name, c := range map[string]struct {
		break_ func(*export.Model)
		want   string
	}{
		"missing tensor":     {func(m *export.Model) { delete(m.Tensors, "blocks.0.mlp.fc1.bias") }, `tensor "blocks.0.mlp.fc1.bias" is missing`},
		"wrong shape":        {func(m *export.Model) { m.Tensors["norm.bias"] = m.Tensors["head.weight"] }, `tensor "norm.bias" is F32`},
		"one tensor more":    {func(m *export.Model) { m.Tensors["more"] = m.Tensors["norm.bias"] }, "tensors"},
		"other architecture": {func(m *export.Model) { m.Info.Arch = f.Space.Largest().String() }, "another"},
		"no architecture":    {func(m *export.Model) { m.Info.Arch = "small" }, `"small"`},
		"other kind":         {func(m *export.Model) { m.Info.Kind = "abacus" }, `"abacus"`},
		"other resolution":   {func(m *export.Model) { m.Info.Preprocess.Size++ }, "preprocess.size"},
		"no deviation":       {func(m *export.Model) { m.Info.Preprocess.Std = m.Info.Preprocess.Std[1:] }, "deviations"},
		"zero deviation":     {func(m *export.Model) { m.Info.Preprocess.Std = make([]float32, 3) }, "above 0"},
		"other resizing":     {func(m *export.Model) { m.Info.Preprocess.Interpolation = "guess" }, `"guess"`},
		"too many names":     {func(m *export.Model) { m.Info.Classes = make([]string, 1000) }, "1000 names"},
		"other width":        {func(m *export.Model) { m.Info.Architecture.MLPHidden[0]++ }, "mlp_hidden"},
		"no patches":         {func(m *export.Model) { m.Info.Architecture.PatchSize = 0 }, "PATCH_SIZE"},
		"too many patches": {func(m *export.Model) {
			m.Info.Architecture.AbsPos, m.Info.Architecture.PatchSize, m.Info.Architecture.ImageSize, m.Info.Preprocess.Size, m.Info.Preprocess.Resize = false, 1, 4096, 4096, 4096
		}, "tokens"},
	} {
		path := filepath.Join(t.TempDir(), "model.safetensors")
		model := fresh()
		c.break_(model)
		if err := model.Write(fsys.OS, path); err != nil {
			t.Fatal(err)
		}
		_, err := export.Read(fsys.OS, path)
		if !errors.Is(err, export.ErrModel) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}

	weights := filepath.Join(f.Dir, "weights.safetensors")
	if _, err := export.Read(fsys.OS, weights); err == nil {
		t.Error("a supernet's weights were read as a model")
	}
	changed := filepath.Join(t.TempDir(), "changed.safetensors")
	if err := fresh().Write(fsys.OS, changed); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(changed)
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)-1] ^= 1
	if err := os.WriteFile(changed, text, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := export.Read(fsys.OS, changed); !errors.Is(err, tensorfile.ErrChecksum) {
		t.Errorf("one bit changed: %v", err)
	}
}

// docs/export.md names every key of the description.
func TestEveryKeyIsDocumented(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "export.md"))
	if err != nil {
		t.Fatal(err)
	}
	var walk func(reflect.Type)
	walk = func(of reflect.Type) {
		for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
			of = of.Elem()
		}
		if of.Kind() != reflect.Struct {
			return
		}
		for i := range of.NumField() {
			key, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
			if !of.Field(i).Anonymous && !strings.Contains(string(text), "`"+key+"`") {
				t.Errorf("docs/export.md lacks the key %q", key)
			}
			walk(of.Field(i).Type)
		}
	}
	walk(reflect.TypeFor[export.Info]())
}

// No description of a model, whatever it holds, makes a panic, and none gives a key twice.
func TestAlteredDescriptions(t *testing.T) {
	for _, s := range spaces(t)[1:3] {
		a := s.Smallest()
		m := reread(t, random(supernet.New(s), a), s.Model, a)
		text, err := json.Marshal(m.Info)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "model.safetensors")
		fixture.Mutated(t, text, func(what string, text []byte) {
			i, err := export.ParseInfo(text)
			if twice := strings.HasSuffix(what, fixture.Twice); twice != errors.Is(err, strictjson.ErrTwice) {
				t.Errorf("%s: %v", what, err)
			}
			if err != nil {
				return
			}
			supernet.Stats(i.SpaceModel(), i.SpaceArch())
			file := &tensorfile.File{Tensors: m.Tensors, Metadata: map[string]string{export.MetadataKey: string(text)}}
			if err := tensorfile.Write(fsys.OS, path, file); err != nil {
				t.Fatal(err)
			}
			_, _ = export.Read(fsys.OS, path)
		})
	}
}

// An ONNX file without a digest that is cut off anywhere but between its parts is no whole one.
func TestONNXThatWasCut(t *testing.T) {
	var text []byte
	ends := map[int]bool{0: true}
	for _, part := range [][]byte{
		protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 9),
		protowire.AppendString(protowire.AppendTag(nil, 2, protowire.BytesType), "another program"),
		protowire.AppendFixed32(protowire.AppendTag(nil, 3, protowire.Fixed32Type), 1),
		protowire.AppendBytes(protowire.AppendTag(nil, 7, protowire.BytesType), make([]byte, 300)),
	} {
		text = append(text, part...)
		ends[len(text)] = true
	}
	path := filepath.Join(t.TempDir(), "model.onnx")
	for n := range len(text) + 1 {
		if err := os.WriteFile(path, text[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if has, err := export.CheckONNX(path); has || (err == nil) != ends[n] || err != nil && !errors.Is(err, export.ErrCut) {
			t.Errorf("%d of %d bytes: has a digest %v, %v", n, len(text), has, err)
		}
	}
}

func FuzzParseInfo(f *testing.F) {
	f.Add([]byte(`{"format":1,"kind":"vit","arch":"e16-h1-r1","architecture":{"embed_dim":16,"depth":1,"num_heads":[1],"mlp_ratio":[1]}}`))
	f.Add([]byte(`{"format":1,"kind":"conv","arch":"i8-d1-k3-x2","architecture":{"image_size":8,"stem":8,"units":[{"blocks":[{"kernel":3,"expand":2}]}]}}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		i, err := export.ParseInfo(text)
		if err == nil {
			supernet.ParamsOf(i.SpaceModel(), i.SpaceArch()) // must not panic
			supernet.Stats(i.SpaceModel(), i.SpaceArch())
		}
	})
}

func TestSiblings(t *testing.T) {
	f := fixture.Open(t)
	model, err := export.Take(f.Weights, f.Space.Model, f.Space.Smallest(), about(f.Space.Model, f.Space.Smallest()))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "model.onnx")
	card := export.Card{Info: model.Info, File: "model.onnx", Form: "ONNX", Command: "prenas train", YAML: "epochs: 3\n"}
	card.Accuracy = &export.Accuracy{Split: "test", Images: 50, Top1: 0.5, Top5: 0.75}
	set := fsys.NewSet(fsys.OS)
	defer set.Discard()
	err = model.Write(set, path)
	if err == nil {
		err = export.WriteSiblings(set, path, card)
	}
	if err == nil {
		err = set.Commit()
	}
	if err != nil {
		t.Fatal(err)
	}
	var about export.Description
	if err := sealed.Read(fsys.OS, path+".json", &about); err != nil {
		t.Fatal(err)
	}
	info := about.Info
	if !reflect.DeepEqual(info, card.Info) {
		t.Errorf("the JSON has %+v, want %+v", info, card.Info)
	}
	for _, name := range []string{"model.onnx", "model.onnx.md"} {
		if sum, err := fsys.Sum(filepath.Join(filepath.Dir(path), name)); err != nil || about.Files[name] != sum {
			t.Errorf("%s: %v, digest %s, it has %s", name, err, about.Files[name], sum)
		}
	}
	markdown, err := os.ReadFile(path + ".md")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"# model.onnx\n", "`" + info.Arch + "`", "50.00 %", "CC0-1.0", "cat, dog", about.Files["model.onnx"], "digest `abc`", "```yaml\nepochs: 3\n```", "folder:pets"} {
		if !strings.Contains(string(markdown), want) {
			t.Errorf("the card lacks %q:\n%s", want, markdown)
		}
	}
}
