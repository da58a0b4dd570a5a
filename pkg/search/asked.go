package search

// Asked is a cost that somebody asked to stay within, and what the chosen architectures
// take of it. It goes with them from the search to the results and the cards.
type Asked struct {
	Cost string `json:"cost"`         // params, macs, latency or memory
	Unit string `json:"unit"`         // of budgets: "M" for millions, "ms", "MB"
	On   string `json:"on,omitempty"` // what it was measured on; empty: it is counted
	// Archs are what each takes, in the unit, by the architecture's text form.
	Archs map[string]float64 `json:"architectures"`
}

// Counted tells whether it is of parameters or MACs, which tables have in columns of their own.
func (a Asked) Counted() bool { return a.Cost == "params" || a.Cost == "macs" }

// Title names the cost and its unit for a column: "latency ms".
func (a Asked) Title() string { return a.Cost + " " + a.Unit }
