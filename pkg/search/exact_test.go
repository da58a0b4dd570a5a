package search

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"prenas/pkg/space"
)

// The proof of Solve: on every small problem it finds what trying all
// architectures finds.
func TestSolveEqualsTryingEverything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		costs := rapid.IntRange(1, 4).Draw(t, "costs")
		cost := rapid.SliceOfN(rapid.Int64Range(-2, 6), costs, costs)
		score := rapid.Float64Range(-3, 3)
		var trunks []Trunk
		for range rapid.IntRange(0, 3).Draw(t, "trunks") {
			trunk := Trunk{Score: score.Draw(t, "score"), Cost: cost.Draw(t, "cost")}
			for range rapid.IntRange(0, 5).Draw(t, "slots") {
				var options []Option
				for i := range rapid.IntRange(1, 3).Draw(t, "options") {
					options = append(options, Option{Choice: 10 + i, Score: score.Draw(t, "score"), Cost: cost.Draw(t, "cost")})
				}
				trunk.Slots = append(trunk.Slots, options)
			}
			trunks = append(trunks, trunk)
		}
		bounds := Bounds{Least: rapid.Int64Range(-10, 10).Draw(t, "least"), Most: rapid.Int64Range(-5, 40).Draw(t, "most")}
		for range costs - 1 {
			bounds.AtMost = append(bounds.AtMost, rapid.Int64Range(-5, 30).Draw(t, "at most"))
		}
		top := rapid.IntRange(1, 3).Draw(t, "top")

		got, err := Solve(trunks, bounds, top)
		if err != nil {
			t.Fatal(err)
		}
		// Scores by trunk and total of the first cost, best first.
		type key struct {
			trunk int
			total int64
		}
		found, want := map[key][]float64{}, map[key][]float64{}
		for _, s := range got {
			// What a solution says of itself must be what its choices add up to.
			trunk := trunks[s.Trunk]
			sum, total := trunk.Score, slices.Clone(trunk.Cost)
			choices := s.Choices()
			if len(choices) != len(trunk.Slots) {
				t.Fatalf("%d choices for %d slots", len(choices), len(trunk.Slots))
			}
			for slot, c := range choices {
				o := trunk.Slots[slot][c-10]
				sum += o.Score
				for k := range total {
					total[k] += o.Cost[k]
				}
			}
			if sum != s.Score || !slices.Equal(total, s.Cost) || !bounds.hold(total) {
				t.Fatalf("solution %+v adds up to %v, %v", s, sum, total)
			}
			k := key{s.Trunk, s.Cost[0]}
			found[k] = append(found[k], s.Score)
		}
		for i, trunk := range trunks {
			var walk func(slot int, sum float64, total []int64)
			walk = func(slot int, sum float64, total []int64) {
				if slot == len(trunk.Slots) {
					if bounds.hold(total) {
						k := key{i, total[0]}
						want[k] = append(want[k], sum)
					}
					return
				}
				for _, o := range trunk.Slots[slot] {
					next := slices.Clone(total)
					for k := range next {
						next[k] += o.Cost[k]
					}
					walk(slot+1, sum+o.Score, next)
				}
			}
			walk(0, trunk.Score, trunk.Cost)
		}
		if len(found) != len(want) {
			t.Fatalf("totals %v, want %v", found, want)
		}
		for k, all := range want {
			slices.SortFunc(all, func(a, b float64) int { return cmp.Compare(b, a) })
			all = all[:min(len(all), top)]
			// With limits more labels than the top may be left; the top must be
			// among them, in order.
			if len(found[k]) < len(all) || !slices.EqualFunc(found[k][:len(all)], all, func(a, b float64) bool { return math.Abs(a-b) < 1e-12 }) {
				t.Fatalf("%+v: got %v, want %v", k, found[k], all)
			}
		}
	})
}

func (b Bounds) hold(cost []int64) bool {
	if cost[0] < b.Least || cost[0] > b.Most {
		return false
	}
	for k, limit := range b.AtMost {
		if cost[k+1] > limit {
			return false
		}
	}
	return true
}

// The proof of the whole exact search, with every score, several intervals,
// limits and peaks: the best of each interval are those of trying all.
func TestExactEqualsTryingEverything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := randomSpace(t)
		seed := rapid.Uint64().Draw(t, "seed")
		sums, err := NewSums(s, supernetTensors(s, seed), supernetTensors(s, seed+1), true)
		if err != nil {
			t.Fatal(err)
		}
		var methods []ScoreMethod
		for _, m := range everyScoreMethod() {
			undefined := s.Model.IsConv() && (m.base == "entropy" || m.avg && m.attnMLP)
			if !undefined && (m.base != "taylor5" || !m.pruned) {
				methods = append(methods, m)
			}
		}
		o := Options{Method: Exact, Score: rapid.SampledFrom(methods).Draw(t, "score"), Top: rapid.IntRange(1, 3).Draw(t, "top"), Cost: ParamsCost(s)}
		if !o.Score.avg && rapid.Bool().Draw(t, "other cost") {
			o.Cost = Cost{Name: "latency", Unit: 10, Table: fakeTable(s, seed, 20)}
		}
		if !o.Score.avg && rapid.Bool().Draw(t, "peak") {
			o.Cost = Cost{Name: "memory", Unit: 2, Table: fakeTable(s, seed+4, 20), Peak: true}
		}
		least, most := o.Cost.span(newGrid(s))
		bins := rapid.IntRange(1, 4).Draw(t, "bins")
		from := least/o.Cost.Unit + rapid.Float64Range(0, 0.5).Draw(t, "from")*(most-least)/o.Cost.Unit
		width := (most - least + 1) / o.Cost.Unit
		o.Interval = space.Interval{Min: from, Max: from + width, Step: width / float64(bins) * 0.999}
		for _, l := range []Limit{
			{Cost: MACsCost(s)},
			{Cost: Cost{Name: "other", Unit: 7, Table: fakeTable(s, seed+2, 30)}},
			{Cost: Cost{Name: "peak", Unit: 1, Table: fakeTable(s, seed+3, 9), Peak: true}},
		} {
			if rapid.Bool().Draw(t, "limited by "+l.Cost.Name) {
				lo, hi := l.Cost.span(newGrid(s))
				l.AtMost = (lo + rapid.Float64Range(0, 1).Draw(t, l.Cost.Name)*(hi-lo) + 0.5) / l.Cost.Unit
				o.Limits = append(o.Limits, l)
			}
		}
		if macs := MACsCost(s); rapid.Bool().Draw(t, "limited from below") {
			lo, hi := macs.span(newGrid(s))
			least, err := AtLeast(macs, (lo+rapid.Float64Range(0, 1).Draw(t, "least macs")*(hi-lo)-0.5)/macs.Unit)
			if err != nil {
				t.Fatal(err)
			}
			o.Limits = append(o.Limits, least)
		}

		got, report, err := RunSums(s, sums, o)
		scores, err2 := NewScores(s, sums, o.Score)
		if err2 != nil {
			t.Fatal(err2)
		}
		b, err2 := newBins(o.Interval)
		if err2 != nil {
			t.Fatal(err2)
		}
		want := make([][]float64, b.count)
		everyPick(scores.grid, func(p pick) {
			bin := b.of(o.Cost.of(p) / o.Cost.Unit)
			for _, l := range o.Limits {
				if l.Cost.of(p) > l.AtMost*l.Cost.Unit {
					return
				}
			}
			if bin >= 0 {
				want[bin] = append(want[bin], scores.of(p))
			}
		})
		nonEmpty := 0
		for i, all := range want {
			if len(all) == 0 {
				continue
			}
			nonEmpty++
			slices.SortFunc(all, func(a, b float64) int { return cmp.Compare(b, a) })
			var found []float64
			for _, bin := range got {
				if bin.Key == report.Bins[i].Key {
					for j, c := range bin.Candidates {
						if err := s.Check(c.Arch); err != nil || scores.Of(c.Arch) != c.Score {
							t.Fatalf("%v: %v, score %v is not %v", c.Arch, err, c.Score, scores.Of(c.Arch))
						}
						if slices.ContainsFunc(bin.Candidates[:j], func(o space.Candidate) bool { return o.Arch.Equal(c.Arch) }) {
							t.Fatalf("%v is there twice", c.Arch)
						}
						found = append(found, c.Score)
					}
				}
			}
			if expected := all[:min(len(all), o.Top)]; !slices.EqualFunc(found, expected, func(a, b float64) bool { return math.Abs(a-b) <= 1e-9*math.Max(1, math.Abs(b)) }) {
				t.Fatalf("%v, bin %d: got %v, want %v", o.Score, i, found, expected)
			}
		}
		if nonEmpty == 0 {
			if !errors.Is(err, ErrEmpty) && !errors.Is(err, ErrBudget) {
				t.Fatalf("nothing to find: got %v", err)
			}
		} else if err != nil || len(got) != nonEmpty {
			t.Fatalf("%d intervals, want %d: %v", len(got), nonEmpty, err)
		}
	})
}

func TestExactIsNeverWorseThanPreferred(t *testing.T) {
	f := func(t *rapid.T) {
		s := randomSpace(t)
		seed := rapid.Uint64().Draw(t, "seed")
		sums, err := NewSums(s, supernetTensors(s, seed), supernetTensors(s, seed+1), true)
		if err != nil {
			t.Fatal(err)
		}
		cost := rapid.SampledFrom([]Cost{ParamsCost(s), MACsCost(s), {Name: "memory", Unit: 2, Table: fakeTable(s, seed+4, 20), Peak: true}}).Draw(t, "cost")
		least, most := cost.span(newGrid(s))
		interval := space.Interval{Min: least / cost.Unit, Max: (most + 2) / cost.Unit, Step: (most + 2 - least) / cost.Unit / 3 * 0.9999}
		_, exact, err := RunSums(s, sums, Options{Method: Exact, Interval: interval, Cost: cost})
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range []Options{{AllSplits: true}, {Method: Random, Population: 5}, {Method: Evolution, Population: 6, Generations: 3}} {
			o.Interval, o.Cost, o.Seed = interval, cost, seed
			_, other, err := RunSums(s, sums, o)
			if err != nil {
				t.Fatal(err)
			}
			for i := range exact.Bins {
				if other.Bins[i].Best > exact.Bins[i].Best*(1+1e-12) {
					t.Fatalf("%s found %v in bin %d, exact %v", o.Method, other.Bins[i].Best, i, exact.Bins[i].Best)
				}
				// A method that draws finds something wherever there is something.
				if o.Method != "" && (other.Bins[i].Found == 0) != (exact.Bins[i].Found == 0) {
					t.Fatalf("%s found %d in bin %d, exact %d", o.Method, other.Bins[i].Found, i, exact.Bins[i].Found)
				}
			}
		}
	}
	rapid.Check(t, f)
}

func TestParetoIsTheFrontOfEverything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := randomSpace(t)
		seed := rapid.Uint64().Draw(t, "seed")
		sums, err := NewSums(s, supernetTensors(s, seed), supernetTensors(s, seed+1), false)
		if err != nil {
			t.Fatal(err)
		}
		front, err := Pareto(s, sums, Options{})
		if err != nil {
			t.Fatal(err)
		}
		scores, err := NewScores(s, sums, ScoreMethod{base: "taylor6"})
		if err != nil {
			t.Fatal(err)
		}
		best := map[int64]float64{}
		everyPick(scores.grid, func(p pick) {
			n := s.Model.Params(scores.grid.arch(p))
			best[n] = max(best[n], scores.of(p))
		})
		var want []float64
		top := 0.0
		for _, n := range slices.Sorted(func(yield func(int64) bool) {
			for n := range best {
				if !yield(n) {
					return
				}
			}
		}) {
			if best[n] > top*(1+1e-12) {
				top = best[n]
				want = append(want, top)
			}
		}
		if !slices.EqualFunc(front, want, func(c space.Candidate, w float64) bool { return math.Abs(c.Score-w) < 1e-9*w }) {
			t.Fatalf("got %v, want %v", front, want)
		}
	})
}

func TestCostsTooDiverseToSolve(t *testing.T) {
	var slots [][]Option
	for i := range 40 {
		slots = append(slots, []Option{{Cost: []int64{0}}, {Cost: []int64{1 << i}}})
	}
	_, err := Solve([]Trunk{{Cost: []int64{0}, Slots: slots}}, Bounds{Most: 1 << 50}, 1)
	if !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
}
