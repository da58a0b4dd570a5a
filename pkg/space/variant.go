package space

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"prenas/internal/strictyaml"
)

// Variant is what vision transformers of other training codes have and PreNAS's have not.
// The zero Variant is PreNAS's. docs/formats.md says which of timm, Hugging Face and
// torchvision has what.
type Variant struct {
	NormEps      float64 `json:"norm_eps,omitzero"`   // of every LayerNorm; 0: DefaultNormEps
	Activation   string  `json:"activation,omitzero"` // of the MLPs; see Activations; empty: the exact GELU
	NoClassToken bool    `json:"no_class_token,omitzero"`
	Registers    int     `json:"registers,omitzero"` // learned tokens between the class token and the patches
	PreNorm      bool    `json:"pre_norm,omitzero"`  // a LayerNorm before the first block, CLIP's
	QKNorm       bool    `json:"qk_norm,omitzero"`   // LayerNorms of each head's queries and keys
	// Norm is where the last norm stands: empty: over the tokens, before pooling; else
	// NormPooled or NormNone.
	Norm string `json:"norm,omitzero"`
	// Pool is what is classified: empty: what Model.GlobalPool says; else PoolDistilled,
	// PoolClassMean or PoolAttention.
	Pool string `json:"pool,omitzero"`
	// PoolHeads and PoolHidden are the heads and the MLP's width of PoolAttention.
	PoolHeads  int `json:"pool_heads,omitzero"`
	PoolHidden int `json:"pool_hidden,omitzero"`
}

// DefaultNormEps is the original's epsilon.
const DefaultNormEps = 1e-5

// Activations that a Variant may have beside the exact GELU.
const (
	GELUTanh  = "gelu_tanh"  // x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))/2
	QuickGELU = "quick_gelu" // x·sigmoid(1.702·x)
	ReLU      = "relu"       // max(x, 0)
	SiLU      = "silu"       // x·sigmoid(x)
)

// Places of the last norm.
const (
	NormPooled = "pooled" // after pooling, of what is classified: timm's fc_norm
	NormNone   = "none"
)

// Ways of pooling.
const (
	// PoolDistilled: the mean of two heads' outputs, of the class token and of the first
	// register (DeiT's distilled models).
	PoolDistilled = "distilled"
	// PoolClassMean: the class token and the mean of the patch tokens, side by side (the
	// classifiers of DINOv2).
	PoolClassMean = "class_mean"
	// PoolAttention: a learned query attends to all tokens, and an MLP follows (SigLIP).
	PoolAttention = "attention"
)

// activations, norms and pools are what the keys of a space file take, the default first.
var (
	activations = []string{"gelu", GELUTanh, QuickGELU, ReLU, SiLU}
	norms       = []string{"tokens", NormPooled, NormNone}
	pools       = []string{"", PoolDistilled, PoolClassMean, PoolAttention}
)

// Activations are the names of the activation functions that a model may have.
func Activations() []string { return slices.Clone(activations) }

// Eps is the epsilon of LayerNorms.
func (m Model) Eps() float64 { return cmp.Or(m.Variant.NormEps, DefaultNormEps) }

// Prefix is the number of tokens before the patches: the class token and the registers.
func (m Model) Prefix() int {
	if m.Variant.NoClassToken {
		return m.Variant.Registers
	}
	return 1 + m.Variant.Registers
}

// PoolWidth is the features of all heads of PoolAttention.
func (m Model) PoolWidth() int { return m.Variant.PoolHeads * m.HeadDim }

// bounds of a Variant: no image model has as many.
const (
	maxRegisters = 1 << 10
	maxEps       = 1
)

func (m Model) validateVariant() error {
	v := m.Variant
	if v == (Variant{}) {
		return nil
	}
	known := func(list []string, value string) bool { return slices.Contains(list[1:], value) || value == "" }
	switch {
	case !(v.NormEps >= 0 && v.NormEps <= maxEps):
		return impossible("MODEL.NORM_EPS is %v; it must be above 0 and at most %v", v.NormEps, maxEps)
	case !known(activations, v.Activation):
		return impossible("MODEL.ACTIVATION is %.40q; it is one of %s", v.Activation, strings.Join(activations, ", "))
	case !known(norms, v.Norm):
		return impossible("MODEL.NORM is %.40q; it is one of %s", v.Norm, strings.Join(norms, ", "))
	case !known(pools, v.Pool):
		return impossible("MODEL.POOL is %.40q; it is one of %s", v.Pool, strings.Join(pools[1:], ", "))
	case v.Registers < 0 || v.Registers > maxRegisters:
		return impossible("MODEL.REGISTERS is %d; it must be from 0 to %d", v.Registers, maxRegisters)
	case (v.Pool == PoolAttention) != (v.PoolHeads > 0 || v.PoolHidden > 0), v.PoolHeads < 0 || v.PoolHeads > maxLayers, v.PoolHidden < 0 || v.PoolHidden > maxDim,
		(v.PoolHeads > 0) != (v.PoolHidden > 0):
		return impossible("MODEL.POOL attention needs POOL_HEADS and POOL_HIDDEN, and nothing else has them; they are %d and %d", v.PoolHeads, v.PoolHidden)
	case v.Pool != "" && m.GlobalPool:
		return impossible("MODEL.POOL %s and GLOBAL_POOL exclude each other", v.Pool)
	case v.Pool == PoolDistilled && (v.NoClassToken || v.Registers == 0):
		return impossible("MODEL.POOL distilled needs the class token and a register")
	case v.NoClassToken && !m.GlobalPool && v.Pool != PoolAttention:
		return impossible("a model without CLASS_TOKEN needs GLOBAL_POOL, or POOL attention")
	case v.Norm == NormPooled && v.Pool != "":
		return impossible("MODEL.NORM pooled does not go with POOL %s", v.Pool)
	case m.RelativePosition && m.Prefix() != 1:
		return impossible("RELATIVE_POSITION is for a class token and patches alone: no REGISTERS, and CLASS_TOKEN true")
	case m.SwitchNorm && (v.PreNorm || v.QKNorm || v.Norm != "" || v.Pool == PoolAttention), m.ScaleEmbed && (v.Registers > 0 || v.NoClassToken):
		return impossible("norms and factors of each choice (SWITCH_LN, SCALE_EMBED) are for models of PreNAS's form alone")
	}
	return nil
}

// variantParams are the parameters of a Variant outside of the blocks, beyond those of
// PreNAS's form.
func (m Model) variantParams(embedDim int) int {
	v, n := m.Variant, 0
	if v.PreNorm {
		n += 2 * embedDim
	}
	if v.Norm == NormNone {
		n -= 2 * embedDim
	}
	switch v.Pool {
	case PoolDistilled:
		n += m.NumClasses * (embedDim + 1)
	case PoolClassMean:
		n += m.NumClasses * embedDim
	case PoolAttention:
		w := m.PoolWidth()
		n += w + 2*w*(embedDim+1) + embedDim*(w+1) + 2*embedDim + v.PoolHidden*(2*embedDim+1) + embedDim
	}
	return n
}

// variantMACs are the multiply-accumulates of a Variant outside of the blocks, beyond
// those of PreNAS's form.
func (m Model) variantMACs(embedDim int) int64 {
	e, w := int64(embedDim), int64(m.PoolWidth())
	switch m.Variant.Pool {
	case PoolDistilled, PoolClassMean:
		return e * int64(m.NumClasses)
	case PoolAttention:
		t := int64(m.Tokens())
		return t*2*w*e + 2*t*w + w*e + 2*e*int64(m.Variant.PoolHidden)
	}
	return 0
}

// variantFields are a Variant's keys of a space file's MODEL block.
func (m *Model) variantFields() []field {
	v := &m.Variant
	return []field{
		optional("NORM_EPS", func(name string, n *yaml.Node) error {
			if err := scalar(&v.NormEps)(name, n); err != nil {
				return err
			}
			if v.NormEps == DefaultNormEps {
				v.NormEps = 0
			}
			return nil
		}),
		optional("ACTIVATION", word(&v.Activation, activations)),
		optional("CLASS_TOKEN", func(name string, n *yaml.Node) error {
			has := true
			err := scalar(&has)(name, n)
			v.NoClassToken = !has
			return err
		}),
		optional("REGISTERS", scalar(&v.Registers)),
		optional("PRE_NORM", scalar(&v.PreNorm)),
		optional("QK_NORM", scalar(&v.QKNorm)),
		optional("NORM", word(&v.Norm, norms)),
		optional("POOL", word(&v.Pool, pools)),
		optional("POOL_HEADS", scalar(&v.PoolHeads)),
		optional("POOL_HIDDEN", scalar(&v.PoolHidden)),
	}
}

// word reads one of a few names; the first of them is the default, which is kept as empty.
func word(into *string, names []string) func(string, *yaml.Node) error {
	return func(name string, n *yaml.Node) error {
		at := slices.Index(names, n.Value)
		if n.Kind != yaml.ScalarNode || at < 0 || n.Value == "" {
			return syntax(n, "%s wants one of %s, got %s", name, strings.TrimPrefix(strings.Join(names, ", "), ", "), strictyaml.Kind(n))
		}
		if *into = names[at]; at == 0 {
			*into = ""
		}
		return nil
	}
}

// KeyValue is a key of a MODEL block and its value as text.
type KeyValue struct{ Key, Value string }

// VariantKeys are the keys of a Variant that a space file needs, those that are not the
// default, in a fixed order.
func (m Model) VariantKeys() []KeyValue {
	v := m.Variant
	var keys []KeyValue
	add := func(on bool, key string, value any) {
		if on {
			keys = append(keys, KeyValue{key, fmt.Sprint(value)})
		}
	}
	add(v.NormEps != 0, "NORM_EPS", formatRatio(v.NormEps))
	add(v.Activation != "", "ACTIVATION", v.Activation)
	add(v.NoClassToken, "CLASS_TOKEN", false)
	add(v.Registers > 0, "REGISTERS", v.Registers)
	add(v.PreNorm, "PRE_NORM", true)
	add(v.QKNorm, "QK_NORM", true)
	add(v.Norm != "", "NORM", v.Norm)
	add(v.Pool != "", "POOL", v.Pool)
	add(v.PoolHeads > 0, "POOL_HEADS", v.PoolHeads)
	add(v.PoolHidden > 0, "POOL_HIDDEN", v.PoolHidden)
	return keys
}
