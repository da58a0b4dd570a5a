package pretrained

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"prenas/internal/input"
	"prenas/internal/tensorfile"
)

// family is a training code's way to name tensors.
type family struct {
	name string
	// sign is the name of the patch projection's weight, which every model of the family
	// has and which no other has.
	sign string
	// beside are prefixes of the sign's own: where the model's classifier lies beside its
	// trunk, the root is before them.
	beside []string
	// renames bring names to timm's, in this order.
	renames []rename
	eps     float64 // of the norms that the family's models usually have
	conv    bool    // convolutional networks
}

type rename struct{ from, to string }

// families, of which the first whose sign is found is taken.
var families = []family{
	{name: "PreNAS supernet", sign: "patch_embed_super.proj.weight", eps: 1e-5},
	{name: "timm", sign: "patch_embed.proj.weight", eps: 1e-6, renames: []rename{
		{`^register_tokens$`, "reg_token"},
		{`^blocks\.\d+\.(\d+)\.`, "blocks.$1."}, // DINOv2's chunks of blocks
		{`^head\.(?:linear|fc|classifier)\.`, "head."},
	}},
	{name: "torchvision", sign: "conv_proj.weight", eps: 1e-6, renames: []rename{
		{`^conv_proj\.`, "patch_embed.proj."},
		{`^class_token$`, "cls_token"},
		{`^encoder\.pos_embedding$`, "pos_embed"},
		{`^encoder\.layers\.encoder_layer_(\d+)\.`, "blocks.$1."},
		{`^encoder\.ln\.`, "norm."},
		{`\.ln_([12])\.`, ".norm$1."},
		{`\.self_attention\.in_proj_`, ".attn.qkv."},
		{`\.self_attention\.out_proj\.`, ".attn.proj."},
		{`\.mlp\.(?:linear_1|0)\.`, ".mlp.fc1."},
		{`\.mlp\.(?:linear_2|3)\.`, ".mlp.fc2."},
		{`^heads\.head\.`, "head."},
	}},
	{name: "Hugging Face", sign: "embeddings.patch_embeddings.projection.weight", eps: 1e-12,
		beside: []string{"vit.", "deit.", "dinov2.", "dinov2_with_registers."}, renames: []rename{
			{`^(?:vit|deit|dinov2|dinov2_with_registers)\.`, ""},
			{`^embeddings\.patch_embeddings\.projection\.`, "patch_embed.proj."},
			{`^embeddings\.cls_token$`, "cls_token"},
			{`^embeddings\.distillation_token$`, "dist_token"},
			{`^embeddings\.register_tokens$`, "reg_token"},
			{`^embeddings\.mask_token$`, "mask_token"},
			{`^embeddings\.position_embeddings$`, "pos_embed"},
			{`^(?:encoder\.)?layers?\.(\d+)\.`, "blocks.$1."},
			{`\.layernorm_before\.`, ".norm1."}, {`\.layernorm_after\.`, ".norm2."},
			{`\.attention\.(?:attention\.)?(?:query|q_proj)\.`, ".attn.q."},
			{`\.attention\.(?:attention\.)?(?:key|k_proj)\.`, ".attn.k."},
			{`\.attention\.(?:attention\.)?(?:value|v_proj)\.`, ".attn.v."},
			{`\.attention\.(?:output\.dense|o_proj)\.`, ".attn.proj."},
			{`\.intermediate\.dense\.`, ".mlp.fc1."}, {`^(blocks\.\d+)\.output\.dense\.`, "$1.mlp.fc2."},
			{`\.layer_scale([12])\.lambda1$`, ".ls$1.gamma"},
			{`^layernorm\.`, "norm."},
			{`^(?:cls_)?classifier\.`, "head."},
			{`^distillation_classifier\.`, "head_dist."},
		}},
	{name: "Hugging Face CLIP or SigLIP", sign: "embeddings.patch_embedding.weight", eps: 1e-6,
		beside: []string{"vision_model."}, renames: []rename{
			{`^(?:text_model|text_projection)\b.*`, ""}, {`^logit_(?:scale|bias)$`, ""}, // the other tower
			{`^classifier\.`, "head."}, {`^visual_projection\.`, "head."},
			{`^vision_model\.`, ""},
			{`^head\.(probe|attention|layernorm|mlp)\b`, "attn_pool.$1"},
			{`^embeddings\.patch_embedding\.`, "patch_embed.proj."},
			{`^embeddings\.class_embedding$`, "cls_token"},
			{`^embeddings\.position_embedding\.weight$`, "pos_embed"},
			{`^embeddings\.position_ids$`, ""},
			{`^pre_layrnorm\.`, "norm_pre."}, {`^post_layernorm\.`, "norm."},
			{`^encoder\.layers\.(\d+)\.`, "blocks.$1."},
			{`\.layer_norm([12])\.`, ".norm$1."},
			{`\.self_attn\.([qkv])_proj\.`, ".attn.$1."}, {`\.self_attn\.out_proj\.`, ".attn.proj."},
			{`^attn_pool\.attention\.in_proj_`, "attn_pool.in."}, {`^attn_pool\.attention\.out_proj\.`, "attn_pool.proj."},
			{`^attn_pool\.layernorm\.`, "attn_pool.norm."}, {`^attn_pool\.probe$`, "attn_pool.latent"},
		}},
}

// allFamilies are those of transformers, then those of convolutional networks.
var allFamilies = func() (all []*family) {
	for _, list := range [][]family{families, convFamilies} {
		for i := range list {
			all = append(all, &list[i])
		}
	}
	return all
}()

// ignored are tensors that take no part in the outputs.
var ignored = regexp.MustCompile(`(^|\.)(num_batches_tracked|position_ids|relative_position_index|mask_token|pooler\.dense\.(weight|bias))$`)

// features are what tensors that no model of ours has are for.
var features = []struct {
	names *regexp.Regexp
	text  string
}{
	{regexp.MustCompile(`rope|rotary|freqs`), "rotary positions"},
	{regexp.MustCompile(`\.mlp\.(w12|w1|w2|w3|fc1_g|fc1_x|gate_proj|up_proj|down_proj)\b|\.mlp\.weights_(in|out)\b`), "SwiGLU MLPs"},
	{regexp.MustCompile(`\.attn\.(q_bias|v_bias|k_bias)$`), "biases of queries and values by themselves, as BEiT and EVA have them"},
	{regexp.MustCompile(`relative_position|rel_pos`), "relative positions of another kind than PreNAS's"},
	{regexp.MustCompile(`\.attn\.(norm|inner_attn_ln)\.`), "a norm inside attention"},
	{regexp.MustCompile(`\.mlp\.(norm|ffn_ln)\.`), "a norm inside the MLPs"},
	{regexp.MustCompile(`^patch_embed\.(?:backbone|conv|norm)|^stem\.`), "another stem than one projection of patches"},
	{regexp.MustCompile(`\.(attns|ffns|in_proj|in_norm|in_split)\b`), "parallel branches"},
	{regexp.MustCompile(`^blocks_token_only|cls_attn|class_attention`), "class attention"},
	{regexp.MustCompile(`attn_pool\.(pos_embed|q_norm|k_norm)`), "positions or norms in the attention pool"},
	{regexp.MustCompile(`decoder`), "a decoder"},
	{regexp.MustCompile(`(^|\.)experts?\b|\.gate\.`), "experts"},
}

// root is one model within a file: what its names begin with.
type root struct {
	prefix string
	family *family
}

// roots are all models that a file may hold, in the order of preference.
func roots(tensors map[string]tensorfile.Tensor) []root {
	var found []root
	for _, name := range slices.Sorted(maps.Keys(tensors)) {
		for _, f := range allFamilies {
			prefix, ok := strings.CutSuffix(name, f.sign)
			if !ok || prefix != "" && !strings.HasSuffix(prefix, ".") {
				continue
			}
			for _, beside := range f.beside {
				prefix = strings.TrimSuffix(prefix, beside)
			}
			found = append(found, root{prefix, f})
		}
	}
	slices.SortStableFunc(found, func(a, b root) int { return rank(a.prefix) - rank(b.prefix) })
	return found
}

// entries, the one to prefer first. Of weights and their moving average, the weights are
// taken, since the file says nothing of which its accuracy is; of teacher and student the
// teacher, which self-supervised training is done for.
var entries = []string{"model", "state_dict", "model_state_dict", "model_state", "net", "module", "teacher", "student"}

func rank(prefix string) int {
	averaged := 0
	if regexp.MustCompile(`(^|[._])ema([._]|$)`).MatchString(prefix) {
		averaged = 100
	}
	for i, entry := range entries {
		if strings.HasPrefix(prefix, entry+".") {
			return averaged + i
		}
	}
	return averaged + len(entries)
}

// choose finds the model to take; others are those that it is not.
func choose(tensors map[string]tensorfile.Tensor, entry string) (r root, others []string, err error) {
	all := roots(tensors)
	var names []string
	for _, r := range all {
		names = append(names, shown(r.prefix))
	}
	if entry != "" {
		var fit []root
		for _, r := range all {
			if strings.HasPrefix(r.prefix, strings.TrimSuffix(entry, ".")+".") {
				fit = append(fit, r)
			}
		}
		if len(fit) == 0 {
			if len(all) == 0 {
				return r, nil, unknown(tensors)
			}
			return r, nil, fmt.Errorf("%w: %v %s: no model is there; there is %s", ErrFile, input.Entry, entry, strings.Join(names, ", "))
		}
		all = fit
	}
	if len(all) == 0 {
		return r, nil, unknown(tensors)
	}
	return all[0], slices.DeleteFunc(names, func(n string) bool { return n == shown(all[0].prefix) }), nil
}

func shown(prefix string) string {
	if prefix == "" {
		return "the whole file"
	}
	return strings.TrimSuffix(prefix, ".")
}

// unknown says what was found and what is known.
func unknown(tensors map[string]tensorfile.Tensor) error {
	names := slices.Sorted(maps.Keys(tensors))
	const most = 4
	some := names[:min(most, len(names))]
	return fmt.Errorf("%w: this is no model that is known: its %d tensors (%s and so on) have no patch projection and no stem by a known name; "+
		"known are vision transformers of timm, Hugging Face (ViT, DeiT, DINOv2, CLIP, SigLIP), torchvision, PreNAS and AutoFormer, and MobileNetV2, MobileNetV3, EfficientNet-lite and EfficientNet-B0 of timm and torchvision, and once-for-all's networks",
		ErrFile, len(names), printableList(some))
}

func printableList(names []string) string {
	var out []string
	for _, n := range names {
		out = append(out, fmt.Sprintf("%.60q", n))
	}
	return strings.Join(out, ", ")
}

// renamer brings names to others by all renames, in their order.
func renamer(renames []rename) func(name string) string {
	var patterns []*regexp.Regexp
	for _, r := range renames {
		patterns = append(patterns, regexp.MustCompile(r.from))
	}
	return func(name string) string {
		for i, p := range patterns {
			name = p.ReplaceAllString(name, renames[i].to)
		}
		return name
	}
}

// plain are the tensors of a root by timm's names, and the names of what is not of it.
func (r root) plain(tensors map[string]tensorfile.Tensor) (own map[string]tensorfile.Tensor, rest []string, err error) {
	own = map[string]tensorfile.Tensor{}
	renamed := renamer(r.family.renames)
	for _, name := range slices.Sorted(maps.Keys(tensors)) {
		plain, inside := strings.CutPrefix(name, r.prefix)
		if inside {
			plain = renamed(plain)
		}
		t := tensors[name]
		if inside && integer(t.DType) && (strings.HasSuffix(plain, ".weight") || strings.HasSuffix(plain, ".bias")) {
			return nil, nil, fmt.Errorf("%w: tensor %q holds integers (%s): weights that were quantised are not read", ErrFile, name, t.DType)
		}
		if !inside || plain == "" || ignored.MatchString(plain) || !known(plain) || integer(t.DType) {
			rest = append(rest, name)
			continue
		}
		if _, twice := own[plain]; twice {
			return nil, nil, fmt.Errorf("%w: two tensors are %q", ErrFile, plain)
		}
		own[plain] = t
	}
	return own, rest, nil
}

// known tells whether a name begins as those of a model do: whatever else lies beside a
// model without an entry of its own (criterion.weight, epoch) is no part of it.
func known(name string) bool {
	first, _, _ := strings.Cut(name, ".")
	return !slices.Contains([]string{"criterion", "loss", "loss_fn", "optimizer", "scheduler", "lr_scheduler", "epoch", "queue", "train_acc", "val_acc"}, first)
}

func integer(d tensorfile.DType) bool {
	return !slices.Contains([]tensorfile.DType{tensorfile.F64, tensorfile.F32, tensorfile.F16, tensorfile.BF16}, d)
}
