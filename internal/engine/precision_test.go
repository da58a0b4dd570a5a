package engine_test

import (
	"strings"
	"testing"

	"prenas/internal/engine"
	"prenas/internal/engine/enginetest"
)

// Only auto is measured: it becomes one of the others, and says so.
func TestResolve(t *testing.T) {
	e := enginetest.Test(t)
	for given, want := range map[engine.Precision]engine.Precision{"": engine.Float32, engine.Float32: engine.Float32, engine.BFloat16: engine.BFloat16} {
		got, err := e.Resolve(t.Context(), given, func(line string) { t.Errorf("%q: %s", given, line) })
		if err != nil || got != want {
			t.Errorf("%q is resolved to %q, %v", given, got, err)
		}
	}
	said := ""
	got, err := e.Resolve(t.Context(), engine.AutoPrecision, func(line string) { said = line })
	if err != nil || got != engine.Float32 && got != engine.BFloat16 || !strings.HasPrefix(said, "precision "+string(got)) {
		t.Errorf("auto is resolved to %q, %v, and says %q", got, err, said)
	}
}

func TestParsePrecision(t *testing.T) {
	for _, name := range []string{"float32", "bf16", "auto"} {
		if p, err := engine.ParsePrecision(name); err != nil || string(p) != name {
			t.Errorf("%s: %q, %v", name, p, err)
		}
	}
	for _, name := range []string{"", "fp16", "BF16"} {
		if p, err := engine.ParsePrecision(name); err == nil || !strings.Contains(err.Error(), "float32, bf16, auto") {
			t.Errorf("%q: %q, %v", name, p, err)
		}
	}
}
