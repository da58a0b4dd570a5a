package audit

import (
	"errors"
	"math"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/engine"
	"prenas/internal/rng"
	"prenas/internal/supernet"
)

// hold uploads weights drawn from a seed.
func hold(e *engine.Engine, net *supernet.Net, seed uint64) ([]*tensors.Tensor, error) {
	var list []*tensors.Tensor
	weights := net.Init(seed)
	for _, p := range net.Params() {
		t, err := e.Upload(weights[p.Name])
		if err != nil {
			return nil, err
		}
		list = append(list, t)
	}
	return list, nil
}

// filled is a benchmark whose accuracies are the parameters and a little noise.
func filled(t *testing.T) *Benchmark {
	t.Helper()
	b := plan(t, 22)
	for i := range b.Archs {
		for _, seed := range b.Seeds {
			noise := 0.002 * rng.New(seed, "noise", uint64(i)).NormFloat64()
			b.Archs[i].Results = append(b.Archs[i].Results, Result{Seed: seed, Top1: 0.5 + 100*float64(b.Archs[i].Params)/1e6 + noise, Loss: 1})
		}
	}
	return b
}

func TestCorrelate(t *testing.T) {
	b := filled(t)
	chance, against := Proxy{Name: "chance"}, Proxy{Name: "against"}
	for seed := range uint64(4) {
		var x, y []float64
		r := rng.New(seed, "chance")
		for _, a := range b.Archs {
			x, y = append(x, r.Float64()), append(y, -float64(a.Params))
		}
		chance.BySeed, against.BySeed = append(chance.BySeed, x), append(against.BySeed, y)
	}
	c, err := Correlate(b, []Proxy{chance, against}, 200, 1)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]Row{}
	for _, r := range c.Rows {
		rows[r.Proxy] = r
		for _, e := range append(r.Intervals, r.Tau, r.Rho, r.TauWithin, r.RhoWithin, r.OverSize) {
			if e.Low > e.Value+0.15 || e.High < e.Value-0.15 || e.Low > e.High {
				t.Errorf("%s: %v", r.Proxy, e)
			}
		}
		if len(r.Intervals) != len(c.Intervals) {
			t.Errorf("%s has %d intervals of %d", r.Proxy, len(r.Intervals), len(c.Intervals))
		}
	}
	p := rows[Params]
	if p.Tau.Value < 0.9 || p.TauWithin.Value < 0.8 || p.OverSize != (Estimate{}) {
		t.Errorf("parameters make the accuracies: %+v", p)
	}
	a := rows["against"]
	if !(math.Abs(a.Tau.Value+p.Tau.Value) <= 1e-12) || !(math.Abs(a.OverSize.Value+2*p.TauWithin.Value) <= 1e-12) || a.OverSize.High > 0 {
		t.Errorf("against parameters: %+v, parameters %+v", a, p)
	}
	if e := rows["chance"].Tau; !(math.Abs(e.Value) <= 0.2) || e.Low > 0 || e.High < 0 {
		t.Errorf("chance: %v", e)
	}
	if r := rows[OneRun]; r.Tau.Value < 0.85 {
		t.Errorf("one training run says what the others do, but for noise: %+v", r)
	}
	for _, s := range c.Intervals {
		if s.Archs != 11 || s.Spread < s.Noise || !(math.Abs(s.Noise-0.002) <= 0.001) {
			t.Errorf("%+v", s)
		}
	}
	again, err := Correlate(b, []Proxy{chance, against}, 200, 1)
	if err != nil || again.Rows[3].Tau != c.Rows[3].Tau {
		t.Errorf("the same seed gave another interval (%v)", err)
	}
}

func TestCorrelateRefusesScores(t *testing.T) {
	b := filled(t)
	if _, err := Correlate(b, []Proxy{{Name: "short", BySeed: [][]float64{{1}}}}, 1, 1); err == nil {
		t.Error("too few scores were taken")
	}
	scores := make([]float64, len(b.Archs))
	scores[3] = math.NaN()
	if _, err := Correlate(b, []Proxy{{Name: "broken", BySeed: [][]float64{scores}}}, 1, 1); err == nil {
		t.Error("NaN was taken")
	}
	b.Archs[0].Results = b.Archs[0].Results[:2]
	if _, err := Correlate(b, nil, 1, 1); !errors.Is(err, ErrIncomplete) {
		t.Errorf("a missing result: %v", err)
	}
}
