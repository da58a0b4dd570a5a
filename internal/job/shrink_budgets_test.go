package job

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestBudgetsThatCanBe(t *testing.T) {
	for _, c := range []struct {
		name   string
		b      Budgets
		met    []float64
		logged string // a part of what is told
		failed string // a part of the error; empty: none
	}{
		{"as asked", Budgets{Shares: []float64{.75, .5}}, []float64{100, 150}, "", ""},
		{"too small, asked for", Budgets{Shares: []float64{.5, .25}}, nil, "", "budgets from 54.2 M on"},
		{"too small, by default", Budgets{Shares: []float64{.75, .5, .25}, Raised: true}, []float64{56, 100, 150}, "has 27.1 % of the original's 200 M, so the smallest budget is 28 % and not 25 %", ""},
		{"two too small, by default", Budgets{Shares: []float64{.2, .1}, Raised: true}, []float64{56}, "28 % and not 10 %", ""},
		{"one needs no shrinking", Budgets{By: "macs", Values: []float64{60, 200}}, []float64{60}, "needs no shrinking", ""},
		{"none needs shrinking", Budgets{By: "macs", Values: []float64{200}}, nil, "needs no shrinking", "nothing to shrink"},
		{"nothing smaller, by default", Budgets{Shares: []float64{.25}, Raised: true}, []float64{56}, "28 %", ""},
	} {
		var told []string
		met, err := c.b.between(54.2, 200, "macs", func(line string) { told = append(told, line) })
		switch text := strings.Join(told, "\n"); {
		case (err != nil) != (c.failed != ""), err != nil && (!errors.Is(err, ErrBudget) || !strings.Contains(err.Error(), c.failed)):
			t.Errorf("%s: %v, want %q", c.name, err, c.failed)
		case !slices.Equal(met, c.met):
			t.Errorf("%s: %v, want %v", c.name, met, c.met)
		case !strings.Contains(text, c.logged), c.logged == "" && text != "":
			t.Errorf("%s: told %q, want %q", c.name, text, c.logged)
		}
	}
}
