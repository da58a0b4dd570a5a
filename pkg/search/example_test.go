package search_test

import (
	"fmt"
	"log"
	"math"

	"prenas/pkg/search"
	"prenas/pkg/space"
)

// made tensors of a supernet, by the original's names; real ones come from a file or a training.
func made(s *space.Space, shift float64) search.Tensors {
	all := search.Tensors{}
	add := func(name string, shape ...int) {
		size := 1
		for _, n := range shape {
			size *= n
		}
		values := make([]float32, size)
		for i := range values {
			values[i] = float32(math.Sin(float64(i) + shift + float64(len(all))))
		}
		all[name] = search.Tensor{Shape: shape, Data: values}
	}
	m, top := s.Model, s.Supernet
	inner, hidden := top.NumHeads*m.HeadDim, space.Hidden(top.EmbedDim, top.MLPRatio)
	linear := func(name string, shape ...int) {
		add(name+".weight", shape...)
		add(name+".bias", shape[0])
	}
	linear("patch_embed_super.proj", top.EmbedDim, m.Channels, m.PatchSize, m.PatchSize)
	for layer := range top.Depth {
		block := fmt.Sprintf("blocks.%d.", layer)
		linear(block+"attn_layer_norm", top.EmbedDim)
		linear(block+"attn.qkv", 3*inner, top.EmbedDim)
		linear(block+"attn.proj", top.EmbedDim, inner)
		linear(block+"ffn_layer_norm", top.EmbedDim)
		linear(block+"fc1", hidden, top.EmbedDim)
		linear(block+"fc2", top.EmbedDim, hidden)
	}
	linear("norm", top.EmbedDim)
	linear("head", m.NumClasses, top.EmbedDim)
	return all
}

// Preferred architectures by the original's score, of a supernet's weights and their gradients.
func Example() {
	s, err := space.Load("quickstart")
	if err != nil {
		log.Fatal(err)
	}
	candidates, _, err := search.Run(s, made(s, 0), made(s, 1), search.Options{})
	if err != nil {
		log.Fatal(err)
	}
	for _, bin := range candidates {
		for _, best := range bin.Candidates {
			fmt.Println(best.Arch)
		}
	}
	// Output:
	// e96-h6_4x2_6-r3x3_2
	// e128-h6_4x2_6-r4_3x2_2
	// e128-h6x2_4_6-r4x2_3_4
}
