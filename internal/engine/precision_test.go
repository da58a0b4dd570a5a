package engine_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"prenas/internal/engine"
	"prenas/internal/engine/enginetest"
)

// Only auto asks the machine: it becomes one of the others, and says so.
func TestResolve(t *testing.T) {
	e := enginetest.Test(t)
	for given, want := range map[engine.Precision]engine.Precision{"": engine.Float32, engine.Float32: engine.Float32, engine.BFloat16: engine.BFloat16} {
		got, err := e.Resolve(t.Context(), given, func(line string) { t.Errorf("%q: %s", given, line) })
		if err != nil || got != want {
			t.Errorf("%q is resolved to %q, %v", given, got, err)
		}
	}
	e, err := engine.Open(t.Context(), engine.Options{Backend: "go"})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if got, err := e.Resolve(t.Context(), engine.AutoPrecision, func(string) {}); err != nil || got != engine.Float32 {
		t.Errorf("in pure Go auto is %q, %v", got, err)
	}
}

// resolved is what auto is, and all that is said of it.
func resolved(t *testing.T, e *engine.Engine) (engine.Precision, string) {
	t.Helper()
	var said []string
	p, err := e.Resolve(t.Context(), engine.AutoPrecision, func(line string) { said = append(said, line) })
	if err != nil {
		t.Fatal(err)
	}
	return p, strings.Join(said, "\n")
}

// Auto is measured once on a machine: what is kept of that decides from then on, until it
// is damaged.
func TestAutoIsTheSameAtEachStart(t *testing.T) {
	e := enginetest.Test(t)
	if e.Plugin() == "" {
		t.Skip("the pure-Go backend has one precision")
	}
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	first, said := resolved(t, e)
	if !strings.Contains(said, "once\nprecision "+string(first)+": products in bf16 ran at ") {
		t.Errorf("first it says %q", said)
	}
	again, saidAgain := resolved(t, e)
	if again != first || strings.Contains(saidAgain, "measuring") {
		t.Errorf("then it is %s, not %s, and says %q", again, first, saidAgain)
	}
	kept, err := filepath.Glob(filepath.Join(cache, "prenas", "profiles", "*.json"))
	if err != nil || len(kept) != 1 {
		t.Fatal(kept, err)
	}
	whole, err := os.ReadFile(kept[0])
	if err != nil {
		t.Fatal(err)
	}
	// Another gain decides otherwise: nothing is timed.
	for gain, want := range map[string]engine.Precision{"3.5": engine.BFloat16, "1.1": engine.Float32} {
		text, _, _ := strings.Cut(string(whole), "\n}\n")
		text = regexp.MustCompile(`"gain_of_bf16": [0-9.e+-]+`).ReplaceAllString(text, `"gain_of_bf16": `+gain) + "\n}"
		if err := os.WriteFile(kept[0], fmt.Appendf(nil, "%s\n%x\n", text, sha256.Sum256([]byte(text))), 0o644); err != nil {
			t.Fatal(err)
		}
		if got, said := resolved(t, e); got != want || !strings.Contains(said, gain+" times") || strings.Contains(said, "measuring") {
			t.Errorf("a gain of %s: %s, and it says %q", gain, got, said)
		}
	}
	if err := os.WriteFile(kept[0], bytes.Replace(whole, []byte(`"gain_of_bf16": `), []byte(`"gain_of_bf16": 1`), 1), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, said := resolved(t, e); !strings.Contains(said, "it is damaged") || !strings.Contains(said, "precision "+string(got)) {
		t.Errorf("damaged: %s, and it says %q", got, said)
	}
	if _, said := resolved(t, e); strings.Contains(said, "damaged") || strings.Contains(said, "measuring") {
		t.Errorf("measured anew it says %q", said)
	}
}

// Where nothing can be kept the processor alone decides, which is told.
func TestAutoWithoutACacheFolder(t *testing.T) {
	e := enginetest.Test(t)
	if e.Plugin() == "" {
		t.Skip("the pure-Go backend has one precision")
	}
	t.Setenv("XDG_CACHE_HOME", os.DevNull)
	first, said := resolved(t, e)
	again, _ := resolved(t, e)
	if first != again || !strings.HasPrefix(said, "warning: precision "+string(first)+", by the processor alone") || strings.Contains(said, "measuring") {
		t.Errorf("%s, then %s; it says %q", first, again, said)
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
