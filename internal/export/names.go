package export

import "strings"

// The tensors of a model and of a supernet are the same but for names and the rows of
// qkv. The supernet's rows are interleaved, so that the first 3·w of them are a slice's,
// whatever w; timm's, which no one slices, are sorted by their use:
//
//	supernet   q0 k0 v0 q1 k1 v1 ...        row 3·i + part
//	timm       q0 q1 ... k0 k1 ... v0 v1    row part·w + i

// renames from the supernet's names to timm's; each is a part of a name.
var renames = strings.NewReplacer(
	"patch_embed_super.", "patch_embed.",
	"attn_layer_norm.", "norm1.",
	"ffn_layer_norm.", "norm2.",
	".fc1.", ".mlp.fc1.",
	".fc2.", ".mlp.fc2.",
)

// TimmName is timm's name of a weight of the supernet.
func TimmName(name string) string { return renames.Replace(name) }

// supernetNames is the inverse of renames.
var supernetNames = strings.NewReplacer(
	"patch_embed.", "patch_embed_super.",
	".norm1.", ".attn_layer_norm.",
	".norm2.", ".ffn_layer_norm.",
	".mlp.fc1.", ".fc1.",
	".mlp.fc2.", ".fc2.",
)

// SupernetName is the supernet's name of a weight of timm.
func SupernetName(name string) string { return supernetNames.Replace(name) }

// isQKV tells whether rows of a weight or bias are queries, keys and values.
func isQKV(name string) bool { return strings.Contains(name, ".attn.qkv.") }

// sortQKV brings rows of the supernet's order into timm's. size is the length of a row.
func sortQKV(values []float32, size int) []float32 {
	return permuteQKV(values, size, func(part, i, width int) (from, to int) { return 3*i + part, part*width + i })
}

// InterleaveQKV is the inverse of sortQKV: it brings rows of timm's order into the
// supernet's. size is the length of a row.
func InterleaveQKV(values []float32, size int) []float32 {
	return permuteQKV(values, size, func(part, i, width int) (from, to int) { return part*width + i, 3*i + part })
}

func permuteQKV(values []float32, size int, place func(part, i, width int) (from, to int)) []float32 {
	out := make([]float32, len(values))
	width := len(values) / size / 3
	for part := range 3 {
		for i := range width {
			from, to := place(part, i, width)
			copy(out[to*size:][:size], values[from*size:][:size])
		}
	}
	return out
}
