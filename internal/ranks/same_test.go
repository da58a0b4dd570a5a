package ranks

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestSame(t *testing.T) {
	for _, c := range []struct {
		own  [2][]Fact // of each rank
		says string    // "": they are the same
	}{
		{[2][]Fact{{{"seed", "3"}, {"data", "a"}}, {{"seed", "3"}, {"data", "a"}}}, ""},
		{[2][]Fact{{{"seed", "3"}, {"data", "a"}}, {{"seed", "3"}, {"data", "b"}}}, "the ranks differ in data: rank 0 of 2 has a, rank 1 of 2 has b"},
		{[2][]Fact{{{"flags", ""}}, {{"flags", "-x"}}}, "in flags: rank 0 of 2 has nothing, rank 1 of 2 has -x"},
		{[2][]Fact{{{"recipe", "{\n \"batch\": 2,\n \"lr\": 1\n}"}}, {{"recipe", "{\n \"batch\": 4,\n \"lr\": 1\n}"}}}, `in recipe: rank 0 of 2 has "batch": 2, rank 1 of 2 has "batch": 4`},
		{[2][]Fact{{{"archs", "a\nb"}}, {{"archs", "a\nb\nc"}}}, "in archs: rank 0 of 2 has nothing, rank 1 of 2 has c"},
		{[2][]Fact{{{"seed", "3"}}, {}}, "rank 1 of 2 does other work than rank 0 of 2"},
	} {
		var group sync.WaitGroup
		var errs [2]error
		for r, w := range Together(time.Minute, 2) {
			group.Go(func() { errs[r] = w.Same("the start", c.own[r]...) })
		}
		group.Wait()
		for r, err := range errs {
			if (c.says == "") != (err == nil) || err != nil && !errors.Is(err, ErrDiffer) {
				t.Errorf("%v: rank %d: %v", c.own, r, err)
			}
		}
		if c.says != "" && !strings.Contains(errs[0].Error(), c.says) {
			t.Errorf("%q, want %q", errs[0], c.says)
		}
	}
	var alone *World
	if err := alone.Same("here", Fact{"seed", "1"}); err != nil {
		t.Error(err)
	}
}
