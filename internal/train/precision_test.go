package train

import (
	"context"
	"path/filepath"
	"testing"

	"prenas/internal/engine"
	"prenas/internal/fsys"
	"prenas/internal/rundir"
	"prenas/internal/trainstep"
)

// A step whose products have bfloat16 operands does what the float32 step does, to
// the precision of bfloat16 (8 bits).
func TestBF16StepIsCloseToFloat32(t *testing.T) {
	losses := map[string]float64{}
	for _, precision := range []string{"float32", "bf16"} {
		o := toyOptions(t, t.TempDir())
		o.Recipe.Precision = precision
		result, err := Run(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		losses[precision] = result.Last.Archs[0].Loss
	}
	a, b := losses["float32"], losses["bf16"]
	if a == b || b > a*1.05+0.01 || a > b*1.05+0.01 {
		t.Errorf("held-out loss %v in float32 and %v in bf16: they should differ by rounding only", a, b)
	}
}

// What auto chose is in the manifest, and a resumed run keeps it whatever this machine
// would choose.
func TestAutoPrecisionIsKept(t *testing.T) {
	dir := t.TempDir()
	o := toyOptions(t, dir)
	o.Recipe.Precision = string(engine.AutoPrecision)
	if _, err := Run(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	m, err := rundir.ReadManifest(fsys.OS, dir)
	if err != nil {
		t.Fatal(err)
	}
	if p := trainstep.Precision(m.Recipe); p != engine.Float32 && p != engine.BFloat16 {
		t.Fatalf("the manifest has precision %q", p)
	}
	for _, kept := range []engine.Precision{engine.Float32, engine.BFloat16} {
		m.Recipe.Precision = string(kept)
		other := filepath.Join(t.TempDir(), "run")
		if err := fsys.OS.MkdirAll(other); err != nil {
			t.Fatal(err)
		}
		if err := m.Write(fsys.OS, other); err != nil {
			t.Fatal(err)
		}
		o.Out, o.Resume, o.FS = other, true, fsys.OS
		if got, err := o.precision(context.Background()); err != nil || got != kept {
			t.Errorf("resumed with precision %q (%v), the run has %q", got, err, kept)
		}
	}
}
