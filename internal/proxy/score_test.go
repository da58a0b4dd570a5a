package proxy_test

import (
	"context"
	"errors"
	"math"
	"testing"

	"prenas/internal/engine/enginetest"
	"prenas/internal/fixture"
	"prenas/internal/proxy"
	"prenas/internal/space"
	"prenas/internal/supernet"
)

// slowMeasures are sums in plain Go over gradients of the static program: of a
// space whose largest architecture is the one that is scored.
var slowMeasures = map[string]func(w, g []float32) float64{
	"grad_norm": func(_, g []float32) (sum float64) {
		for _, v := range g {
			sum += float64(v) * float64(v)
		}
		return math.Sqrt(sum)
	},
	"snip": func(w, g []float32) (sum float64) {
		for i, v := range g {
			sum += math.Abs(float64(v) * float64(w[i]))
		}
		return sum
	},
	"plain": func(w, g []float32) (sum float64) {
		for i, v := range g {
			sum += float64(v) * float64(w[i])
		}
		return sum
	},
}

func TestScoreIsWhatTheArchitectureAloneGives(t *testing.T) {
	f, e := fixture.Open(t), enginetest.Test(t)
	batch := proxy.Noise(f.Space.Model, 1)
	archs := []space.Arch{f.Space.Smallest(), f.Space.Largest()}
	slow := map[string][]float64{}
	for _, a := range archs {
		alone := *f.Space
		alone.EmbedDim, alone.Depth = []int{a.EmbedDim}, []int{a.Depth()}
		alone.NumHeads, alone.MLPRatio = a.NumHeads[:1], a.MLPRatio[:1]
		grads, err := proxy.Gradients(context.Background(), e, supernet.New(&alone), f.Weights, batch, nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, measure := range slowMeasures {
			var sum float64
			for tensor, g := range grads {
				sum += measure(f.Floats(f.Weights[tensor]), f.Floats(g))
			}
			slow[name] = append(slow[name], sum)
		}
		slow["params"] = append(slow["params"], float64(f.Space.Model.Params(a)))
		slow["macs"] = append(slow["macs"], float64(f.Space.Model.MACs(a)))
	}
	for _, name := range proxy.Names() {
		got, err := proxy.Score(context.Background(), e, supernet.New(f.Space), f.Weights, batch, name, archs, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range slow[name] {
			if math.Abs(got[i]-want) > 1e-4*math.Abs(want) {
				t.Errorf("%s of %s is %g, alone it is %g", name, archs[i], got[i], want)
			}
		}
		if len(slow[name]) != len(archs) {
			t.Errorf("%s has no slow twin", name)
		}
	}
}

func TestScoreRefuses(t *testing.T) {
	f, e := fixture.Open(t), enginetest.Test(t)
	net, batch := supernet.New(f.Space), proxy.Noise(f.Space.Model, 1)
	if _, err := proxy.Score(context.Background(), e, net, f.Weights, batch, "zen", nil, nil); !errors.Is(err, proxy.ErrName) {
		t.Errorf("an unknown name gives %v", err)
	}
	wide := f.Space.Largest()
	wide.EmbedDim++
	if _, err := proxy.Score(context.Background(), e, net, f.Weights, batch, "params", []space.Arch{wide}, nil); !errors.Is(err, space.ErrArch) {
		t.Errorf("an architecture outside of the space gives %v", err)
	}
}
