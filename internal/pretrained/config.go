package pretrained

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"prenas/internal/fsys"
	"prenas/internal/printable"
	"prenas/pkg/space"
)

// config is what config.json and preprocessor_config.json say of a model, in the form of
// Hugging Face's transformers or of timm; zero values are not said.
type config struct {
	file       string
	heads      int
	imageSize  int
	eps        float64
	activation string // ours
	pool       string // ours; see Pools
	arch       string // timm's name, or the class of transformers
	classes    []string
	licence    string
	prep       Preprocess
	missing    []string // features that no model of ours has
	notes      []string // what prenas does otherwise to images

	// Of convolutional networks.
	convActivation string
	same           bool // padding and epsilon are TensorFlow's
}

// activationNames are ours by the names that configurations have.
var activationNames = map[string]string{
	"gelu": "gelu", "gelu_new": space.GELUTanh, "gelu_pytorch_tanh": space.GELUTanh, "gelu_tanh": space.GELUTanh,
	"quick_gelu": space.QuickGELU, "quickgelu": space.QuickGELU, "relu": space.ReLU, "silu": space.SiLU, "swish": space.SiLU,
}

// convolutional are the names of timm's convolutional networks that may be known.
var convolutional = regexp.MustCompile(`^(?:tf_)?(?:mobilenet|efficientnet|mnasnet|tinynet|lcnet|hardcorenas|fbnet|semnasnet|spnasnet)`)

// convActivationNames are ours by timm's names.
var convActivationNames = map[string]string{
	"relu": space.ReLU, "relu6": space.ReLU6, "silu": space.SiLU, "swish": space.SiLU, "hard_swish": space.HardSwish, "hardswish": space.HardSwish,
}

// readConfig reads what lies beside a file of weights; without it, the zero config.
func readConfig(weights string) (config, error) {
	var c config
	read := func(name string) (map[string]any, error) {
		text, err := fsys.ReadText(fsys.OS, filepath.Join(filepath.Dir(weights), name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		var m map[string]any
		if err := json.Unmarshal(text, &m); err != nil {
			return nil, fmt.Errorf("%w: %s beside it is no JSON object: %v", ErrFile, name, err)
		}
		return m, nil
	}
	m, err := read("config.json")
	if err != nil {
		return c, err
	}
	if m != nil {
		c.file = "config.json"
		if err := c.take(m); err != nil {
			return c, err
		}
	}
	p, err := read("preprocessor_config.json")
	if err == nil && p != nil {
		c.prep.Mean, c.prep.Std = floats(p["image_mean"]), floats(p["image_std"])
		if filter, has := p["resample"]; has {
			if n := whole(filter); n < len(resamples) {
				c.resized("preprocessor_config.json", resamples[n])
			}
		}
		size, _ := p["size"].(map[string]any)
		_, square := size["height"]
		if cut, _ := p["do_center_crop"].(bool); square && !cut {
			c.notes = append(c.notes, "preprocessor_config.json has images of any shape squeezed into a square; prenas resizes the shorter side and cuts the middle out")
		}
		if size := side(p["size"]); size > 0 {
			c.prep.Resize = size
		}
	}
	return c, err
}

// resamples are the names of PIL's numbers of filters, which transformers writes.
var resamples = []string{"nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"}

// resized notes that a file says another filter than the one that images are resized by.
func (c *config) resized(file, filter string) {
	if filter != "" && filter != "bicubic" {
		c.notes = append(c.notes, fmt.Sprintf("%s has images resized by the filter %s; prenas resizes them bicubically", file, printable.Name(filter)))
	}
}

func (c *config) take(m map[string]any) error {
	if name, ok := m["architecture"].(string); ok { // timm
		c.arch = name
		args, _ := m["model_args"].(map[string]any)
		cfg, _ := m["pretrained_cfg"].(map[string]any)
		c.heads = whole(args["num_heads"])
		for _, key := range []string{"norm_eps", "bn_eps"} {
			if v, ok := args[key].(float64); ok {
				c.eps = v
			}
		}
		c.same = strings.HasPrefix(name, "tf_")
		if pad, ok := args["pad_type"].(string); ok {
			c.same = pad == "same"
		}
		c.prep.Mean, c.prep.Std = floats(cfg["mean"]), floats(cfg["std"])
		filter, _ := cfg["interpolation"].(string)
		c.resized(c.file, filter)
		if size, ok := cfg["input_size"].([]any); ok && len(size) == 3 {
			c.imageSize = whole(size[2])
		}
		if size := whole(args["img_size"]); size > 0 {
			c.imageSize = size
		}
		if crop, ok := cfg["crop_pct"].(float64); ok && crop > 0 && crop <= 1 && c.imageSize > 0 {
			c.prep.Resize = int(float64(c.imageSize) / crop)
		}
		c.licence, _ = cfg["license"].(string)
		pool, _ := m["global_pool"].(string)
		if p, ok := args["global_pool"].(string); ok {
			pool = p
		}
		act, _ := args["act_layer"].(string)
		if convolutional.MatchString(name) {
			c.classes = texts(m["label_names"])
			if c.convActivation = convActivationNames[act]; act != "" && c.convActivation == "" {
				c.missing = append(c.missing, fmt.Sprintf("activation %q", act))
			}
			return nil
		}
		switch pool {
		case "token":
			c.pool = PoolToken
		case "":
		case "avg":
			c.pool = PoolMean
		case "map":
			c.pool = space.PoolAttention
		default:
			c.missing = append(c.missing, fmt.Sprintf("pooling %q", pool))
		}
		switch {
		case act != "":
		case strings.Contains(name, "siglip"):
			act = space.GELUTanh
		case strings.Contains(name, "quickgelu"):
			act = space.QuickGELU
		default:
			act = "gelu"
		}
		if strings.Contains(name, "_rpn_") {
			c.missing = append(c.missing, "norms after the branches (residual post-norm)")
		}
		if strings.Contains(name, "_clip_") && c.eps == 0 {
			c.eps = 1e-5
		}
		c.classes = texts(m["label_names"])
		return c.act(act)
	}
	if list, ok := m["architectures"].([]any); ok && len(list) > 0 {
		c.arch, _ = list[0].(string)
	}
	if labels, ok := m["id2label"].(map[string]any); ok {
		c.classes = make([]string, len(labels))
		for key, name := range labels {
			i, err := strconv.Atoi(key)
			text, isText := name.(string)
			if err != nil || i < 0 || i >= len(labels) || !isText {
				c.classes = nil
				break
			}
			c.classes[i] = text
		}
	}
	if vision, ok := m["vision_config"].(map[string]any); ok {
		m = vision
	}
	c.heads, c.imageSize = whole(m["num_attention_heads"]), side(m["image_size"])
	if v, ok := m["layer_norm_eps"].(float64); ok {
		c.eps = v
	}
	if act, ok := m["hidden_act"].(string); ok {
		return c.act(act)
	}
	// transformers leaves out what is the class's default.
	switch kind, _ := m["model_type"].(string); {
	case strings.HasPrefix(kind, "clip"):
		return c.act(space.QuickGELU)
	case strings.HasPrefix(kind, "siglip"):
		return c.act(space.GELUTanh)
	}
	return nil
}

func (c *config) act(name string) error {
	ours, ok := activationNames[name]
	if !ok {
		c.missing = append(c.missing, fmt.Sprintf("activation %q", name))
		return nil
	}
	c.activation = ours
	return nil
}

func whole(v any) int {
	f, _ := v.(float64)
	if f != float64(int(f)) || f < 0 {
		return 0
	}
	return int(f)
}

// side of an image: a number, a pair, or an object with one.
func side(v any) int {
	switch v := v.(type) {
	case float64:
		return whole(v)
	case []any:
		if len(v) > 0 {
			return whole(v[len(v)-1])
		}
	case map[string]any:
		for _, key := range []string{"shortest_edge", "height"} {
			if n := whole(v[key]); n > 0 {
				return n
			}
		}
	}
	return 0
}

func floats(v any) []float32 {
	list, _ := v.([]any)
	var out []float32
	for _, item := range list {
		f, ok := item.(float64)
		if !ok {
			return nil
		}
		out = append(out, float32(f))
	}
	return out
}

func texts(v any) []string {
	list, _ := v.([]any)
	var out []string
	for _, item := range list {
		text, ok := item.(string)
		if !ok {
			return nil
		}
		out = append(out, text)
	}
	return out
}
