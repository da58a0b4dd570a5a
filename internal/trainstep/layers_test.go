package trainstep

import (
	"slices"
	"testing"

	"prenas/internal/recipe"
	"prenas/internal/supernet"
	"prenas/internal/toy"
)

// Of a ViT of two blocks the rates fall by a quarter from the head to the patches. An
// architecture of one block begins a step higher: its last block is next to the head.
func TestRatesFallWithTheDistanceFromTheHead(t *testing.T) {
	net := supernet.New(toy.Space())
	o := recipe.Optimizer{LayerDecay: 0.75}
	for i, c := range []map[string]float64{
		1: {"head.weight": 1, "norm.bias": 1, "blocks.0.fc1.weight": 0.75, "cls_token": 0.5625},
		2: {"head.weight": 1, "norm.bias": 1, "blocks.1.attn.qkv.bias": 0.75, "blocks.0.fc1.weight": 0.5625, "patch_embed_super.proj.bias": 0.421875, "pos_embed": 0.421875},
	} {
		used := net.Bind(toy.Candidates()[0].Candidates[0].Arch)
		if i == 2 {
			used = net.Bind(toy.Candidates()[1].Candidates[0].Arch)
		}
		scales := layerScales(o, net.Params(), used.Indices())
		for name, want := range c {
			if got := scales[slices.Index(used.Indices(), net.Index(name))]; got != want {
				t.Errorf("depth %d: %s has %v of the rate, want %v", i, name, got, want)
			}
		}
	}
}
