package space

import (
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"prenas/internal/mistaken"
	"prenas/internal/nearest"
	"prenas/internal/strictyaml"
)

// Parse reads a space from YAML text and validates it. name becomes the
// space's name, file is what errors call the text.
//
//	SUPERNET:      {EMBED_DIM: 256, DEPTH: 14, NUM_HEADS: 4, MLP_RATIO: 4}
//	SEARCH_SPACE:  {EMBED_DIM: [192, 216], DEPTH: [12], NUM_HEADS: [3, 4], MLP_RATIO: [3.5, 4]}
//	MODEL:         {IMAGE_SIZE: 224, ...}          optional; see Model for the keys
//	INTERVAL:      {MIN: 5, MAX: 12, STEP: 1}      optional; millions of parameters
//
// SEARCH_SPACE may have LAYERS, all blocks of the supernet, most important first; without
// it, the last blocks are the first to go.
//
// Where DEPTH, NUM_HEADS and MLP_RATIO are by embedding dim, as in the file that
// [Reduced.WriteYAML] writes, the space is a reduced one.
//
// A convolutional space has FAMILY: conv, and other keys in the first three blocks:
//
//	FAMILY:        conv
//	SUPERNET:      {DEPTH: 4, KERNEL: 7, EXPAND: 6}                       DEPTH is that of each unit
//	SEARCH_SPACE:  {DEPTH: [2, 3, 4], KERNEL: [3, 5, 7], EXPAND: [3, 4, 6], RESOLUTION: [192, 224]}
//	MODEL:         {WIDTH: [24, 40, 80, 112, 160], STRIDE: [2, 2, 2, 1, 2], ...}   see convFields
//
// All keys of the first two blocks are required (RESOLUTION is not: images of
// MODEL.IMAGE_SIZE then); those left out of MODEL have
// the values of DefaultModel. Errors name file, line and, for an unknown key,
// the nearest known one.
func Parse(name, file string, text []byte) (*Space, error) {
	s := &Space{Name: name, Model: DefaultModel()}
	if err := s.parse(text); err != nil {
		return nil, fmt.Errorf("%s: %w", file, mistaken.Instead(text, err))
	}
	if err := s.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return s, nil
}

func (s *Space) parse(text []byte) error {
	root, err := strictyaml.Root(text)
	if err != nil {
		return fmt.Errorf("%w: %s", ErrSyntax, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if root == nil {
		return fmt.Errorf("%w: it is empty", ErrSyntax)
	}
	family, err := familyOf(root)
	if err != nil {
		return err
	}
	fields, finish := s.vitFields()
	if family == familyConv {
		fields, finish = s.convFields()
	}
	interval := &s.Interval
	fields = append(fields,
		optional("FAMILY", func(string, *yaml.Node) error { return nil }), // known already
		optional("INTERVAL", inBlock("INTERVAL",
			required("MIN", scalar(&interval.Min)),
			required("MAX", scalar(&interval.Max)),
			required("STEP", scalar(&interval.Step)))))
	if err := block("", root, fields); err != nil {
		return err
	}
	return finish()
}

// vitFields are the keys of a vision transformer's space file, and finish makes of a
// reduced space what its blocks say together.
func (s *Space) vitFields() (fields []field, finish func() error) {
	m, super, reduced := &s.Model, &s.Supernet, &Reduced{}
	return []field{
		required("SUPERNET", inBlock("SUPERNET",
			required("EMBED_DIM", scalar(&super.EmbedDim)),
			required("DEPTH", scalar(&super.Depth)),
			required("NUM_HEADS", scalar(&super.NumHeads)),
			required("MLP_RATIO", scalar(&super.MLPRatio)))),
		required("SEARCH_SPACE", inBlock("SEARCH_SPACE",
			required("EMBED_DIM", list(&s.EmbedDim)),
			required("DEPTH", either(list(&s.Depth), perDim(&reduced.Depth, list[int]))),
			optional("LAYERS", func(name string, n *yaml.Node) error {
				err := list(&s.Layers)(name, n)
				if s.Layers == nil { // given, if empty
					s.Layers = []int{}
				}
				return err
			}),
			required("NUM_HEADS", either(list(&s.NumHeads), perDim(&reduced.NumHeads, lists[int]))),
			required("MLP_RATIO", either(list(&s.MLPRatio), perDim(&reduced.MLPRatio, lists[float64]))))),
		optional("MODEL", noting(&s.ModelGiven, inBlock("MODEL", append(m.variantFields(),
			optional("IMAGE_SIZE", scalar(&m.ImageSize)),
			optional("PATCH_SIZE", scalar(&m.PatchSize)),
			optional("CHANNELS", scalar(&m.Channels)),
			optional("NUM_CLASSES", noting(&s.ClassesGiven, scalar(&m.NumClasses))),
			optional("HEAD_DIM", scalar(&m.HeadDim)),
			optional("RELATIVE_POSITION", scalar(&m.RelativePosition)),
			optional("MAX_RELATIVE_POSITION", scalar(&m.MaxRelativePosition)),
			optional("GLOBAL_POOL", scalar(&m.GlobalPool)),
			optional("ABS_POS", scalar(&m.AbsPos)),
			optional("QKV_BIAS", scalar(&m.QKVBias)),
			optional("SWITCH_LN", scalar(&m.SwitchNorm)),
			optional("SCALE_ATTN", scalar(&m.ScaleAttn)),
			optional("SCALE_MLP", scalar(&m.ScaleMLP)),
			optional("SCALE_EMBED", scalar(&m.ScaleEmbed)))...))),
	}, func() error { return s.finishReduced(reduced) }
}

// finishReduced takes the choices of each dim and layer, where a file has them.
func (s *Space) finishReduced(r *Reduced) error {
	if r.Depth == nil && r.NumHeads == nil && r.MLPRatio == nil {
		return nil
	}
	if r.Depth == nil || r.NumHeads == nil || r.MLPRatio == nil {
		return fmt.Errorf("%w: of SEARCH_SPACE.DEPTH, NUM_HEADS and MLP_RATIO either all are by embedding dim, as in a reduced space, or none", ErrSyntax)
	}
	r.EmbedDim = s.EmbedDim
	s.Reduced = r
	s.unions()
	return nil
}

// A field is a key of a block and what to do with its value.
type field struct {
	key      string
	required bool
	read     func(name string, n *yaml.Node) error
}

func required(key string, read func(string, *yaml.Node) error) field { return field{key, true, read} }
func optional(key string, read func(string, *yaml.Node) error) field { return field{key, false, read} }

func inBlock(prefix string, fields ...field) func(string, *yaml.Node) error {
	return func(_ string, n *yaml.Node) error { return block(prefix+".", n, fields) }
}

// noting sets given when the key is there at all.
func noting(given *bool, read func(string, *yaml.Node) error) func(string, *yaml.Node) error {
	return func(name string, n *yaml.Node) error {
		*given = true
		return read(name, n)
	}
}

func block(prefix string, n *yaml.Node, fields []field) error {
	given := map[string]bool{}
	err := strictyaml.Block(n, func(key string) bool { return find(fields, key) != nil }, func(key, value *yaml.Node) error {
		given[key.Value] = true
		return find(fields, key.Value).read(prefix+key.Value, value)
	})
	var wrong *strictyaml.KeyError
	switch {
	case errors.Is(err, strictyaml.ErrNoBlock):
		return syntax(n, "want keys and values here, got %s", strictyaml.Kind(n))
	case errors.As(err, &wrong) && wrong.Twice:
		return syntax(wrong.At, "key %s%s is given twice", prefix, wrong.At.Value)
	case wrong != nil:
		return syntax(wrong.At, "unknown key %s%s; did you mean %s?", prefix, wrong.At.Value, meant(wrong.At.Value, fields))
	case err != nil:
		return err
	}
	for _, f := range fields {
		if f.required && !given[f.key] {
			return syntax(n, "key %s%s is missing", prefix, f.key)
		}
	}
	return nil
}

func find(fields []field, key string) *field {
	for i := range fields {
		if fields[i].key == key {
			return &fields[i]
		}
	}
	return nil
}

func scalar[T int | float64 | bool](into *T) func(string, *yaml.Node) error {
	return func(name string, n *yaml.Node) error {
		want, ok := "", false
		switch any(*into).(type) {
		case int:
			want, ok = "an integer", n.ShortTag() == "!!int"
		case float64:
			want, ok = "a number", n.ShortTag() == "!!int" || n.ShortTag() == "!!float"
		case bool:
			want, ok = "true or false", n.ShortTag() == "!!bool"
		}
		if n.Kind != yaml.ScalarNode || !ok || n.Decode(into) != nil {
			return syntax(n, "%s wants %s, got %s", name, want, strictyaml.Kind(n))
		}
		return nil
	}
}

func list[T int | float64 | bool](into *[]T) func(string, *yaml.Node) error {
	return func(name string, n *yaml.Node) error {
		if n.Kind != yaml.SequenceNode {
			return syntax(n, "%s wants a list, got %s", name, strictyaml.Kind(n))
		}
		*into = nil
		for _, item := range n.Content {
			var v T
			if err := scalar(&v)(name, item); err != nil {
				return err
			}
			*into = append(*into, v)
		}
		return nil
	}
}

// either reads a list, or what a reduced space has in its place, by embedding dim.
func either(plain, reduced func(string, *yaml.Node) error) func(string, *yaml.Node) error {
	return func(name string, n *yaml.Node) error {
		if n.Kind == yaml.MappingNode {
			return reduced(name, n)
		}
		return plain(name, n)
	}
}

// perDim reads a value for each embedding dim.
func perDim[T any](into *map[int]T, value func(*T) func(string, *yaml.Node) error) func(string, *yaml.Node) error {
	return func(name string, n *yaml.Node) error {
		*into = map[int]T{}
		for i := 0; i < len(n.Content); i += 2 {
			var dim int
			var v T
			if err := scalar(&dim)(name+", by embedding dim,", n.Content[i]); err != nil {
				return err
			}
			if _, twice := (*into)[dim]; twice {
				return syntax(n.Content[i], "%s has EMBED_DIM %d twice", name, dim)
			}
			if err := value(&v)(name, n.Content[i+1]); err != nil {
				return err
			}
			(*into)[dim] = v
		}
		return nil
	}
}

// lists reads a list of lists: the choices of each layer.
func lists[T int | float64](into *[][]T) func(string, *yaml.Node) error {
	return func(name string, n *yaml.Node) error {
		if n.Kind != yaml.SequenceNode {
			return syntax(n, "%s wants a list for each layer, got %s", name, strictyaml.Kind(n))
		}
		*into = nil
		for _, item := range n.Content {
			var layer []T
			if err := list(&layer)(name, item); err != nil {
				return err
			}
			*into = append(*into, layer)
		}
		return nil
	}
}

func syntax(n *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("line %d: %w: "+format, append([]any{n.Line, ErrSyntax}, args...)...)
}

// meant is the key with the least edits from the one that was written.
func meant(written string, fields []field) string {
	var keys []string
	for _, f := range fields {
		keys = append(keys, f.key)
	}
	name, _ := nearest.Name(strings.ToUpper(written), keys)
	return name
}
