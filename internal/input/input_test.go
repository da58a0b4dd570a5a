package input

import (
	"errors"
	"fmt"
	"testing"
)

func TestErrorNamesItsInputAsTheProgramWritesIt(t *testing.T) {
	inner := errors.New("it has no images")
	err := fmt.Errorf("search: %w", fmt.Errorf("%w folder:x: %w; name others with %v", Data, inner, Weights))
	said := func() string { return fmt.Sprintf("%v", fmt.Errorf("%w folder:x", Data)) }
	if got := said(); got != "data folder:x" {
		t.Errorf("a library says %q", got)
	}
	var at Name
	if !errors.Is(err, Data) || errors.Is(err, Weights) || !errors.Is(err, inner) || !errors.As(err, &at) || at != Data {
		t.Errorf("%v is about %q", err, string(at))
	}
	Spell(func(n Name) string { return "--" + string(n) })
	defer spelling.Store(nil)
	if got := said(); got != "--data folder:x" {
		t.Errorf("a program with flags says %q", got)
	}
	if got := fmt.Sprint(Least("macs"), " ", Most("latency")); got != "--min-macs --max-latency" {
		t.Errorf("limits are %q", got)
	}
}
