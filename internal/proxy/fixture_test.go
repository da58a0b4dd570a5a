package proxy_test

import (
	"context"
	"testing"

	"prenas/internal/engine/enginetest"
	"prenas/internal/fixture"
	"prenas/internal/proxy"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
)

func TestFixtureGradients(t *testing.T) {
	f := fixture.Open(t)
	var config struct {
		Flags struct {
			Rate float64 `json:"drop_path_rate"`
		} `json:"flags"`
	}
	f.JSON("config.json", &config)
	inputs := f.Tensors("inputs.safetensors")
	for _, c := range []struct {
		file   string
		inputs map[string]tensorfile.Tensor
	}{
		{"grads.safetensors", inputs},
		{"grads_nodrop.safetensors", map[string]tensorfile.Tensor{"input": inputs["input"]}},
	} {
		batch, err := proxy.BatchFromFile(&tensorfile.File{Tensors: c.inputs}, config.Flags.Rate)
		if err != nil {
			t.Fatal(err)
		}
		got, err := proxy.Gradients(context.Background(), enginetest.Test(t), supernet.New(f.Space), f.Weights, batch, nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range f.Tensors(c.file) {
			// Two runs of the original itself differ by 4e-6 of a tensor's norm.
			if d := fixture.Difference(f.Floats(got[name]), f.Floats(want)); d > 1e-5*10 {
				t.Errorf("%s: %s differs by %.2g of its largest entry", c.file, name, d)
			}
		}
	}
}
