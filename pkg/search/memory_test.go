package search

import (
	"testing"

	"prenas/pkg/space"
)

// The peak of tiny's largest architecture, by hand: 197 tokens, 4 heads of 64,
// attention 4·(197·240 + 3·197·256 + 2·4·197²) bytes, the MLP 4·(2·197·240 +
// 2·197·960).
func TestMemoryByHand(t *testing.T) {
	s, err := space.Load("tiny")
	if err != nil {
		t.Fatal(err)
	}
	c, g := MemoryCost(s), newGrid(s)
	attention := 4 * (197*240 + 3*197*256 + 2*4*197*197)
	mlp := 4 * (2*197*240 + 2*197*960)
	if got := c.of(g.pick(s.Largest())); got != float64(max(attention, mlp)) {
		t.Errorf("peak %v bytes, want %d", got, max(attention, mlp))
	}
}
