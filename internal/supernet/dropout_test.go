package supernet_test

import (
	"math"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/engine"
	"prenas/internal/engine/enginetest"
	"prenas/internal/supernet"
)

// keptTwin is Dropout's decision, written with Go's own integers.
func keptTwin(index, number uint32, key [2]uint32, rate float32) bool {
	mix := func(x uint32) uint32 {
		x = (x ^ x>>16) * 0x7feb352d
		x = (x ^ x>>15) * 0x846ca68b
		return x ^ x>>16
	}
	hash := mix(mix(index+key[0]) ^ (key[1] + number*0x9E3779B9))
	return float32(hash>>8)/(1<<24) >= rate
}

// Ones after dropout, of a slice of the supernet's activation, against the twin, on both
// backends; and the part that is dropped.
func TestDropoutEqualsItsTwin(t *testing.T) {
	const samples, tokens, dim, super, rate = 3, 50, 20, 32, 0.3
	key := [2]uint32{0xdeadbeef, 77}
	for _, e := range []*engine.Engine{enginetest.Test(t), pureGo(t)} {
		p, err := e.Compile("dropout", []shapes.Shape{shapes.Make(dtypes.Uint32, 2)}, func(in []*graph.Node) []*graph.Node {
			ones := graph.Ones(in[0].Graph(), shapes.Make(dtypes.Float32, samples, tokens, dim))
			return []*graph.Node{supernet.Drop(ones, supernet.Dropout{Key: in[0]}, 5, 2, []int{tokens, super}, rate)}
		})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		out, err := p.Run([]*tensors.Tensor{tensors.FromFlatDataAndDimensions(key[:], 2)})
		if err != nil {
			t.Fatal(err)
		}
		dropped := 0
		for i, got := range tensors.MustCopyFlatData[float32](out[0]) {
			n, token, feature := i/(tokens*dim), i/dim%tokens, i%dim
			want := float32(0)
			if keptTwin(uint32((n*tokens+token)*super+feature), 2*supernet.DropSites+5, key, rate) {
				want = 1 / (1 - float32(rate))
			} else {
				dropped++
			}
			if !(math.Abs(float64(got-want)) <= 1e-6) {
				t.Fatalf("%s: value %d is %v, want %v", e.Name(), i, got, want)
			}
		}
		const all = samples * tokens * dim
		if mean, sigma := rate*all, math.Sqrt(rate*(1-rate)*all); !(math.Abs(float64(dropped)-mean) <= 4*sigma) {
			t.Errorf("%d of %d are dropped, at a rate of %v", dropped, all, rate)
		}
	}
}

func TestEitherDropoutChangesLogits(t *testing.T) {
	s := little()
	st := newStage(pureGo(t), s, 2, false)
	plain := st.static(t, s.Smallest()).logits
	for _, c := range []struct {
		rate, attention float64
	}{{0.4, 0}, {0, 0.4}} {
		st.dropout = &supernet.Dropout{Rate: c.rate, Attention: c.attention}
		if got := st.static(t, s.Smallest()).logits; got[0] == plain[0] {
			t.Errorf("dropout %v and %v of attention changes nothing", c.rate, c.attention)
		}
	}
}
