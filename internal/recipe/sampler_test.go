package recipe

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"prenas/internal/toy"
	"prenas/pkg/space"
)

// turns counts how often each architecture is trained.
func turns(name string, archs []space.Arch, steps int) []int {
	s := NewArchSampler(name, 7, toy.Space().Model, archs)
	count := make([]int, len(archs))
	for step := range steps {
		for _, which := range s.At(step) {
			count[which]++
		}
	}
	return count
}

func TestSamplersFavourNoneButAsTheySay(t *testing.T) {
	archs := toy.Archs() // groups: {0}, {1, 2, 3}; by size: 0, 3, 1, 2
	for _, c := range []struct {
		name  string
		steps int
		want  []int
	}{
		{Balanced, 400, []int{100, 100, 100, 100}},
		{Groups, 600, []int{300, 100, 100, 100}},
		{Sandwich, 100, []int{100, 50, 100, 50}},
	} {
		if got := turns(c.name, archs, c.steps); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v turns in %d updates, want %v", c.name, got, c.steps, c.want)
		}
	}
	for i, n := range turns(Uniform, archs, 4000) { // σ = 27
		if n < 880 || n > 1120 {
			t.Errorf("uniform: architecture %d has %d turns of 4000", i, n)
		}
	}
	if again := NewArchSampler(Sandwich, 7, toy.Space().Model, archs[:1]).At(3); !slices.Equal(again, []int{0}) {
		t.Errorf("a sandwich of one is %v", again)
	}
}

// What an update can train is known before any is drawn: a program is compiled for each.
func TestSetsAreAllThatIsDrawn(t *testing.T) {
	archs := toy.Archs()
	for _, name := range []string{Balanced, Uniform, Groups, Sandwich} {
		for count := 1; count <= len(archs); count++ {
			known, drawn := map[string]bool{}, map[string]bool{}
			for seed := range uint64(400) {
				s := NewArchSampler(name, seed, toy.Space().Model, archs[:count])
				for _, set := range s.Sets() {
					known[fmt.Sprint(set)] = true
				}
				for step := range 8 {
					drawn[fmt.Sprint(s.At(step))] = true
				}
			}
			if !maps.Equal(known, drawn) {
				t.Errorf("%s of %d: sets %v, drawn %v", name, count, known, drawn)
			}
		}
	}
}

func TestAnyArchIsOfTheSpace(t *testing.T) {
	s := toy.Space()
	seen := map[string]bool{}
	for step := range 2000 {
		a := DrawArch(s, 1, step)
		if err := s.Check(a); err != nil {
			t.Fatal(err)
		}
		seen[fmt.Sprint(a)] = true
	}
	// 2 dims x (4 of one layer + 16 of two)
	if len(seen) != 40 {
		t.Errorf("%d architectures were drawn, the space has 40", len(seen))
	}
}

func TestWithSampler(t *testing.T) {
	for _, name := range SamplerNames() {
		if r, err := Default().WithSampler(name); err != nil || r.Sampler.Name != name {
			t.Errorf("%s: %v", name, err)
		}
	}
	r := Default()
	if _, err := r.WithSampler("fair"); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "sandwich") {
		t.Errorf("an unknown sampler: %v", err)
	}
	r.Sampler.Name, r.Distill = Sandwich, Distill{Teacher: LargestTeacher, Kind: SoftTarget, Alpha: 0.5, Temperature: 1}
	if _, err := r.WithSampler(WholeSpace); !errors.Is(err, ErrInvalid) {
		t.Errorf("a sampler that does not go with the recipe: %v", err)
	}
}
