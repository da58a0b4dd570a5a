package search

import (
	"slices"

	"prenas/pkg/space"
)

// Part is what one part of an architecture adds to its score.
type Part struct {
	Winner   float64 `json:"winner"`
	RunnerUp float64 `json:"runner_up"`
}

// Margin is by how much the winner's part beats the runner-up's; negative
// where the runner-up is ahead.
func (p Part) Margin() float64 { return p.Winner - p.RunnerUp }

// Choices are those of one layer; zero where an architecture has no such layer.
type Choices struct {
	NumHeads int     `json:"num_heads,omitempty"`
	MLPRatio float64 `json:"mlp_ratio,omitempty"`
	Kernel   int     `json:"kernel_size,omitempty"`
	Expand   float64 `json:"expand_ratio,omitempty"`
}

// LayerReason compares one layer. A layer that an architecture does not have
// adds nothing.
type LayerReason struct {
	Layer    string  `json:"layer"` // as in the names of its tensors
	Winner   Choices `json:"winner"`
	RunnerUp Choices `json:"runner_up"`
	Heads    Part    `json:"heads,omitzero"` // qkv and proj
	MLP      Part    `json:"mlp,omitzero"`   // fc1 and fc2
	Block    Part    `json:"block,omitzero"` // all of a convolutional block
	Rest     Part    `json:"rest,omitzero"`  // norms and the biases that go with no choice
}

// Margin is by how much the winner's layer beats the runner-up's.
func (l LayerReason) Margin() float64 {
	return l.Heads.Margin() + l.MLP.Margin() + l.Block.Margin() + l.Rest.Margin()
}

// Explanation says, part by part, why one architecture has the higher score.
type Explanation struct {
	Winner        space.Arch    `json:"-"`
	RunnerUp      space.Arch    `json:"-"`
	WinnerScore   float64       `json:"winner_score"`
	RunnerUpScore float64       `json:"runner_up_score"`
	Trunk         Part          `json:"trunk"` // outside of the layers
	Layers        []LayerReason `json:"layers"`
}

// Explain compares two architectures of the space. The parts add up to the
// sums that scores are made of: to the score itself for l1norm, taylor6,
// entropy and params (in units), to its square for taylor9, to what the
// absolute value is taken of for taylor5, and before division for avg.
func (s *Scores) Explain(winner, runnerUp space.Arch) Explanation {
	w, r := s.grid.pick(winner), s.grid.pick(runnerUp)
	x := Explanation{
		Winner: winner, RunnerUp: runnerUp, WinnerScore: s.of(w), RunnerUpScore: s.of(r),
		Trunk: Part{s.sum.Trunk[w.scale], s.sum.Trunk[r.scale]},
	}
	for l := range s.grid.layers {
		reason := LayerReason{Layer: s.grid.name(s.grid, l)}
		inWinner := s.part(w, l, &reason.Winner, func(p *Part) *float64 { return &p.Winner }, &reason)
		if inRunnerUp := s.part(r, l, &reason.RunnerUp, func(p *Part) *float64 { return &p.RunnerUp }, &reason); inWinner || inRunnerUp {
			x.Layers = append(x.Layers, reason)
		}
	}
	return x
}

// part fills in what one of the two architectures has of a layer, and tells
// whether it has it.
func (s *Scores) part(p pick, layer int, choices *Choices, side func(*Part) *float64, into *LayerReason) bool {
	at, found := slices.BinarySearch(p.layers, layer)
	if !found {
		return false
	}
	*choices = s.grid.choices(s.grid, p.first[at], p.second[at])
	*side(&into.Rest) = s.sum.Base[p.scale][layer]
	if s.grid.joint {
		*side(&into.Block) = s.sum.Joint[p.scale][layer][p.first[at]*s.grid.second+p.second[at]]
		return true
	}
	*side(&into.Heads) = s.sum.First[p.scale][layer][p.first[at]]
	*side(&into.MLP) = s.sum.Second[p.scale][layer][p.second[at]]
	return true
}
