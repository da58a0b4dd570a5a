package search

import (
	"errors"
	"reflect"
	"testing"

	"prenas/pkg/space"
)

func TestUniformDrawsDifferentArchitecturesOfEachInterval(t *testing.T) {
	s, err := space.Load("quickstart")
	if err != nil {
		t.Fatal(err)
	}
	const n = 100
	drawn, err := Uniform(s, s.Interval, n, 1)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Uniform(s, s.Interval, n, 1)
	if err != nil || !reflect.DeepEqual(drawn, again) {
		t.Errorf("the same seed drew others (%v)", err)
	}
	seen, total := map[string]bool{}, 0
	for i, list := range drawn {
		lower := s.Interval.Min + float64(i)*s.Interval.Step
		if len(list) < n/len(drawn) {
			t.Errorf("interval %d has %d architectures", i, len(list))
		}
		for _, a := range list {
			total++
			if err := s.Check(a); err != nil {
				t.Error(err)
			}
			if seen[a.String()] {
				t.Errorf("%s was drawn twice", a)
			}
			seen[a.String()] = true
			if p := float64(s.Model.Params(a)) / 1e6; p < lower || p >= lower+s.Interval.Step {
				t.Errorf("%s has %v million parameters, interval %d begins at %v", a, p, i, lower)
			}
		}
	}
	if total != n {
		t.Errorf("%d architectures drawn, want %d", total, n)
	}
}

func TestUniformRefusesMoreThanThereAre(t *testing.T) {
	s, err := space.Load("quickstart")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Uniform(s, space.Interval{Min: 0, Max: 0.002, Step: 0.001}, 2, 1); !errors.Is(err, ErrEmpty) {
		t.Errorf("an empty interval: %v", err)
	}
}

func TestEveryIntervalIsWhatCountingAllFinds(t *testing.T) {
	for _, name := range []string{"quickstart", "conv-quickstart"} {
		s, err := space.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		least, most := float64(s.Model.Params(s.Smallest()))/1e6, float64(s.Model.Params(s.Largest()))/1e6
		for _, i := range []space.Interval{
			{Min: least / 2, Max: most * 1.01, Step: (most*1.01 - least/2) / 4},
			{Min: least, Max: most, Step: (most - least) / 50},
			{Min: least, Max: least * 1.004, Step: least * 0.001}, // which no step from option to option meets
			{Min: 0, Max: most, Step: least / 2},
			{Min: least, Max: most * 1.5, Step: most / 4},
		} {
			b, err := newBins(i)
			if err != nil {
				t.Fatal(err)
			}
			_, want := Uniform(s, i, b.count, 0)
			if got := EveryInterval(s, i); (got == nil) != (want == nil) || want != nil && !errors.Is(got, ErrEmpty) {
				t.Errorf("%s, %+v: %v, and by counting all %v", name, i, got, want)
			}
		}
	}
}
