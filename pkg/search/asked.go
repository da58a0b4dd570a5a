package search

import "strings"

// Asked is a cost that somebody asked to stay within, and what the chosen architectures
// take of it. It goes with them from the search to the results and the cards.
type Asked struct {
	Cost string `json:"cost"`         // params, macs, latency or memory
	Unit string `json:"unit"`         // of budgets: "M" for millions, "ms", "MB"
	On   string `json:"on,omitempty"` // what it was measured on; empty: it is counted
	// Bound says what the keys of intervals of this cost are: AtMost of budgets that were named, Below of equal
	// steps. Empty where intervals do not divide it, and in files of earlier versions.
	Bound string `json:"bound,omitempty"`
	// Archs are what each takes, in the unit, by the architecture's text form.
	Archs map[string]float64 `json:"architectures"`
}

// What the key of an interval is: an architecture may cost as much as a budget, but must cost less than the
// end of an equal step.
const (
	AtMost = "at most"
	Below  = "below"
)

// KeysOf is a title for the keys of intervals, by the costs that the search was asked for, of which the first
// is the one that intervals divide: "params at most". Candidates of which nothing is known have steps of
// parameters.
func KeysOf(asked []Asked) string {
	if len(asked) == 0 {
		return "params " + Below
	}
	return strings.TrimSpace(asked[0].Cost + " " + asked[0].Bound)
}

// Counted tells whether it is of parameters or MACs, which tables have in columns of their own.
func (a Asked) Counted() bool { return a.Cost == "params" || a.Cost == "macs" }

// Title names the cost and its unit for a column: "latency ms".
func (a Asked) Title() string { return a.Cost + " " + a.Unit }
