package supernet_test

import (
	"math"
	"testing"

	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
)

// On a ramp 0 1 2 3 the place 1.75 has weights -0.03516 0.26172 0.87891 -0.10547,
// by Keys' formula at a = -3/4. The class token stays, a distance between the
// same patches has the same row, and the weights fit the supernet of the new size.
func TestResizeOfPositions(t *testing.T) {
	s := load(t, "quickstart")
	from, to := s.Model, s.Model
	to.ImageSize, to.MaxRelativePosition = 2*from.ImageSize, 2*from.MaxRelativePosition
	weights := supernet.New(s).Init(1)
	side, dim := from.ImageSize/from.PatchSize, s.Supernet.EmbedDim
	ramp := make([]float32, (1+side*side)*dim)
	for i := range side * side {
		ramp[(1+i)*dim] = float32(i / side)   // row
		ramp[(1+i)*dim+1] = float32(i % side) // column
	}
	ramp[2] = 9
	weights["pos_embed"] = tensorfile.FromFloat32([]int{1, 1 + side*side, dim}, ramp)
	got, err := supernet.Resize(from, to, weights)
	if err != nil {
		t.Fatal(err)
	}
	s.Model = to
	if err := supernet.New(s).Check(got); err != nil {
		t.Fatal(err)
	}
	values, err := got["pos_embed"].Float32s()
	if err != nil {
		t.Fatal(err)
	}
	if values[2] != 9 {
		t.Errorf("the class token's position became %v", values[2])
	}
	near := func(what string, got float32, want float64) {
		if !(math.Abs(float64(got)-want) <= 1e-5) {
			t.Errorf("%s is %v, want %v", what, got, want)
		}
	}
	const middle = 4
	near("row", values[(1+middle*2*side+middle)*dim], 1.703125)
	near("column", values[(1+middle*2*side+middle)*dim+1], 1.703125)

	const table = "blocks.0.attn.rel_pos_embed_k.embeddings_table_v"
	before, err := weights[table].Float32s()
	if err != nil {
		t.Fatal(err)
	}
	after, err := got[table].Float32s()
	if err != nil {
		t.Fatal(err)
	}
	head := from.HeadDim
	for d := -from.MaxRelativePosition; d <= from.MaxRelativePosition; d++ { // distance 2d is what d was
		near("distance", after[(1+to.MaxRelativePosition+2*d)*head], float64(before[(1+from.MaxRelativePosition+d)*head]))
	}
}
