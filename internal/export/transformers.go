package export

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"prenas/internal/fsys"
	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// TransformersFile is the name that from_pretrained of Hugging Face's transformers looks for.
const TransformersFile = "model.safetensors"

// ErrTransformers: no class of transformers is this model.
var ErrTransformers = errors.New("no class of transformers can say this model")

// transformersActivations are their names by ours.
var transformersActivations = map[string]string{
	"": "gelu", space.GELUTanh: "gelu_pytorch_tanh", space.QuickGELU: "quick_gelu", space.ReLU: "relu", space.SiLU: "silu",
}

// transformersClass is a class of transformers that a model of ours may be.
type transformersClass struct {
	kind, class string
	dinov2      bool // names of blocks and layer scales are DINOv2's, else ViT's
}

// WriteTransformers writes the model as transformers' from_pretrained reads it: path, whose name is
// TransformersFile, by the names of a class, and config.json and preprocessor_config.json beside it.
// Its errors wrap ErrTransformers with all that the classes lack.
func (m *Model) WriteTransformers(f fsys.FS, path string) error {
	class, err := m.transformersClass()
	if err != nil {
		return err
	}
	tensors, err := m.transformersTensors(class)
	if err != nil {
		return err
	}
	if err := tensorfile.Write(f, path, &tensorfile.File{Tensors: tensors, Metadata: map[string]string{"format": "pt"}}); err != nil {
		return err
	}
	files := map[string]any{"config.json": m.transformersConfig(class)}
	p := m.Info.Preprocess
	if m.Info.Architecture.Channels == 3 {
		files["preprocessor_config.json"] = map[string]any{
			"image_processor_type": "BitImageProcessor", "do_convert_rgb": true, "do_resize": true, "size": map[string]int{"shortest_edge": p.Resize}, "resample": 3,
			"do_center_crop": true, "crop_size": map[string]int{"height": p.Size, "width": p.Size}, "do_rescale": true, "rescale_factor": 1. / 255,
			"do_normalize": true, "image_mean": p.Mean, "image_std": p.Std,
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		text, err := json.MarshalIndent(files[name], "", "  ")
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		err = fsys.WriteAtomic(f, filepath.Join(filepath.Dir(path), name), func(w io.Writer) error {
			_, err := w.Write(append(text, '\n'))
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// transformersClass finds the class.
func (m *Model) transformersClass() (c transformersClass, err error) {
	v := m.Info.Architecture.ViT
	if v == nil {
		return c, fmt.Errorf("%w: it is a convolutional network", ErrTransformers)
	}
	var lacks []string
	add := func(on bool, format string, args ...any) {
		if on {
			lacks = append(lacks, fmt.Sprintf(format, args...))
		}
	}
	heads, hidden := slices.Compact(slices.Clone(v.NumHeads)), slices.Compact(slices.Clone(v.MLPHidden))
	add(len(heads) > 1, "blocks of %v heads, where all must have as many", heads)
	add(len(hidden) > 1, "MLPs of %v features, where all must have as many", hidden)
	add(len(heads) == 1 && heads[0]*v.HeadDim != v.EmbedDim, "%d heads of %d features, which are not the %d of the embedding", heads[0], v.HeadDim, v.EmbedDim)
	add(v.RelativePosition, "relative positions")
	add(!v.AbsPos, "no positions of the tokens")
	add(v.GlobalPool, "the mean of the patches as what is classified")
	own := v.Variant
	add(own.NoClassToken, "no class token")
	add(own.PreNorm, "a norm before the blocks")
	add(own.QKNorm, "norms of queries and keys")
	add(own.Norm != "", "a last norm that is not of all tokens")
	switch {
	case own.Pool == space.PoolDistilled && own.Registers == 1:
		c = transformersClass{"deit", "DeiTForImageClassificationWithTeacher", false}
	case own.Pool == space.PoolClassMean && own.Registers > 0:
		c = transformersClass{"dinov2_with_registers", "Dinov2WithRegistersForImageClassification", true}
	case own.Pool == space.PoolClassMean:
		c = transformersClass{"dinov2", "Dinov2ForImageClassification", true}
	default:
		c = transformersClass{"vit", "ViTForImageClassification", false}
		add(own.Pool != "", "pooling %s", own.Pool)
		add(own.Registers > 0, "%d registers where the class token is classified", own.Registers)
	}
	add(c.dinov2 && hidden[0]%v.EmbedDim != 0, "MLPs of %v times the embedding, where DINOv2's classes take whole numbers", v.MLPRatio[0])
	if len(lacks) > 0 {
		return c, fmt.Errorf("%w: it has %s", ErrTransformers, strings.Join(lacks, "; "))
	}
	return c, nil
}

// transformersConfig is config.json.
func (m *Model) transformersConfig(c transformersClass) map[string]any {
	a := m.Info.Architecture
	v := a.ViT
	names, numbers := map[string]string{}, map[string]int{}
	for i := range a.NumClasses {
		name := fmt.Sprintf("LABEL_%d", i)
		if i < len(m.Info.Classes) {
			name = m.Info.Classes[i]
		}
		names[fmt.Sprint(i)], numbers[name] = name, i
	}
	config := map[string]any{
		"architectures": []string{c.class}, "model_type": c.kind, "hidden_size": v.EmbedDim, "num_hidden_layers": v.Depth, "num_attention_heads": v.NumHeads[0],
		"image_size": a.ImageSize, "patch_size": v.PatchSize, "num_channels": a.Channels, "layer_norm_eps": a.NormEps, "qkv_bias": v.QKVBias,
		"hidden_act": transformersActivations[v.Variant.Activation], "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
		"id2label": names, "label2id": numbers,
	}
	if !c.dinov2 {
		config["intermediate_size"] = v.MLPHidden[0]
		return config
	}
	config["mlp_ratio"], config["use_swiglu_ffn"] = v.MLPHidden[0]/v.EmbedDim, false
	if v.Variant.Registers > 0 {
		config["num_register_tokens"] = v.Variant.Registers
	}
	return config
}

// transformersTensors are the tensors by the names of a class.
func (m *Model) transformersTensors(c transformersClass) (map[string]tensorfile.Tensor, error) {
	v := m.Info.Architecture.ViT
	dim := v.EmbedDim
	out := map[string]tensorfile.Tensor{}
	var failed error
	values := func(name string) []float32 {
		x, err := m.Tensors[name].Float32s()
		if err != nil && failed == nil {
			failed = fmt.Errorf("tensor %q: %w", name, err)
		}
		return x
	}
	rename := func(from, to string) {
		for _, part := range []string{".weight", ".bias"} {
			if t, has := m.Tensors[from+part]; has {
				out[to+part] = t
			}
		}
	}
	in := c.kind + "."
	rename("patch_embed.proj", in+"embeddings.patch_embeddings.projection")
	rename("norm", in+"layernorm")
	out[in+"embeddings.cls_token"] = m.Tensors["cls_token"]
	positions, registers := values("pos_embed"), v.Variant.Registers
	switch {
	case c.kind == "deit":
		out[in+"embeddings.distillation_token"] = m.Tensors["reg_token"]
		rename("head", "cls_classifier")
		rename("head_dist", "distillation_classifier")
	case registers > 0: // they have no positions, so those of ours are added to them
		tokens := slices.Clone(values("reg_token"))
		for i := range tokens {
			tokens[i] += positions[dim+i]
		}
		out[in+"embeddings.register_tokens"] = tensorfile.FromFloat32([]int{1, registers, dim}, tokens)
		positions = slices.Concat(positions[:dim], positions[(1+registers)*dim:])
		fallthrough
	default:
		rename("head", "classifier")
	}
	out[in+"embeddings.position_embeddings"] = tensorfile.FromFloat32([]int{1, len(positions) / dim, dim}, positions)
	if c.dinov2 {
		out[in+"embeddings.mask_token"] = tensorfile.FromFloat32([]int{1, dim}, make([]float32, dim))
		class, mean := values("head.weight"), values("head_mean.weight")
		var both []float32
		for row := 0; row < len(class); row += dim {
			both = append(append(both, class[row:row+dim]...), mean[row:row+dim]...)
		}
		out["classifier.weight"] = tensorfile.FromFloat32([]int{m.Info.Architecture.NumClasses, 2 * dim}, both)
	}
	ones := slices.Repeat([]float32{1}, dim)
	for i := range v.Depth {
		from, to := fmt.Sprintf("blocks.%d.", i), fmt.Sprintf("%sencoder.layer.%d.", in, i)
		for part, shape := range map[string][]int{".weight": {dim, dim}, ".bias": {dim}} {
			if _, has := m.Tensors[from+"attn.qkv"+part]; !has {
				continue
			}
			all := values(from + "attn.qkv" + part)
			for k, name := range []string{"query", "key", "value"} {
				out[to+"attention.attention."+name+part] = tensorfile.FromFloat32(shape, all[k*len(all)/3:][:len(all)/3])
			}
		}
		rename(from+"attn.proj", to+"attention.output.dense")
		if c.dinov2 {
			for _, name := range []string{"norm1", "norm2", "mlp.fc1", "mlp.fc2"} {
				rename(from+name, to+name)
			}
			for _, name := range []string{"layer_scale1.lambda1", "layer_scale2.lambda1"} {
				out[to+name] = tensorfile.FromFloat32([]int{dim}, ones)
			}
			continue
		}
		rename(from+"norm1", to+"layernorm_before")
		rename(from+"norm2", to+"layernorm_after")
		rename(from+"mlp.fc1", to+"intermediate.dense")
		rename(from+"mlp.fc2", to+"output.dense")
	}
	return out, failed
}
