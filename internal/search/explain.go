package search

import (
	"prenas/internal/space"
)

// Part is what one part of an architecture adds to its score.
type Part struct {
	Winner   float64 `json:"winner"`
	RunnerUp float64 `json:"runner_up"`
}

// Margin is by how much the winner's part beats the runner-up's; negative
// where the runner-up is ahead.
func (p Part) Margin() float64 { return p.Winner - p.RunnerUp }

// LayerReason compares one layer. A layer that an architecture does not have
// has 0 heads, ratio 0 and adds nothing.
type LayerReason struct {
	WinnerHeads   int     `json:"winner_heads"`
	RunnerUpHeads int     `json:"runner_up_heads"`
	WinnerRatio   float64 `json:"winner_mlp_ratio"`
	RunnerUpRatio float64 `json:"runner_up_mlp_ratio"`
	Heads         Part    `json:"heads"` // qkv and proj
	MLP           Part    `json:"mlp"`   // fc1 and fc2
	Rest          Part    `json:"rest"`  // norms and the biases that go with no choice
}

// Margin is by how much the winner's layer beats the runner-up's.
func (l LayerReason) Margin() float64 { return l.Heads.Margin() + l.MLP.Margin() + l.Rest.Margin() }

// Explanation says, part by part, why one architecture has the higher score.
type Explanation struct {
	Winner        space.Arch    `json:"-"`
	RunnerUp      space.Arch    `json:"-"`
	WinnerScore   float64       `json:"winner_score"`
	RunnerUpScore float64       `json:"runner_up_score"`
	Trunk         Part          `json:"trunk"` // patch embedding, final norm, head
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
		Trunk: Part{s.sum.Trunk[w.embed], s.sum.Trunk[r.embed]},
	}
	for l := range max(len(w.heads), len(r.heads)) {
		var reason LayerReason
		if l < len(w.heads) {
			reason.WinnerHeads, reason.WinnerRatio = winner.NumHeads[l], winner.MLPRatio[l]
			reason.Heads.Winner = s.sum.Heads[w.embed][l][w.heads[l]]
			reason.MLP.Winner = s.sum.MLP[w.embed][l][w.mlp[l]]
			reason.Rest.Winner = s.sum.Base[w.embed][l]
		}
		if l < len(r.heads) {
			reason.RunnerUpHeads, reason.RunnerUpRatio = runnerUp.NumHeads[l], runnerUp.MLPRatio[l]
			reason.Heads.RunnerUp = s.sum.Heads[r.embed][l][r.heads[l]]
			reason.MLP.RunnerUp = s.sum.MLP[r.embed][l][r.mlp[l]]
			reason.Rest.RunnerUp = s.sum.Base[r.embed][l]
		}
		x.Layers = append(x.Layers, reason)
	}
	return x
}
