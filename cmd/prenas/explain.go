package main

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"prenas/internal/job"
	"prenas/pkg/search"
	"prenas/pkg/space"
)

func explainCommand(g *global) *cobra.Command {
	var o job.ExplainOptions
	c := &cobra.Command{
		Use: "explain --candidates FILE", Short: "Show why the winner of an interval beat the runner-up, layer by layer", Args: cobra.NoArgs,
		Long: "Reads the candidates file that search wrote, and the sums beside it, and shows what each layer adds to\n" +
			"the score of the winner and of the runner-up. Nothing is scored anew.",
		Example: "  prenas explain --candidates candidates.json\n" +
			"  prenas explain --candidates candidates.json --interval 6.0 --against e192-h4x12-r4x12",
		RunE: func(c *cobra.Command, _ []string) error {
			all, err := job.Explain(o)
			if errors.Is(err, space.ErrArch) || errors.Is(err, search.ErrMethod) {
				return usageError{err}
			}
			if err != nil {
				return err
			}
			return g.printResult(all, func(w io.Writer) error {
				if len(all) == 0 {
					fmt.Fprintln(w, "No interval has a runner-up.")
				}
				for i, x := range all {
					if i > 0 {
						fmt.Fprintln(w)
					}
					if err := printExplained(w, x); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	f := c.Flags()
	f.StringVar(&o.Candidates, "candidates", "", "candidates file that search wrote")
	f.StringVar(&o.Interval, "interval", "", "only this interval, by its upper bound as in the file")
	f.StringVar(&o.Against, "against", "", "architecture to compare with, instead of the runner-up")
	require(c, "candidates")
	return c
}

// printExplained prints a table of layers: the choices of the winner and of the runner-up, and by how
// much the winner's score is ahead.
func printExplained(w io.Writer, x job.Explained) error {
	ahead := x.WinnerScore - x.RunnerUpScore
	if r := x.Ranked; r != nil {
		other := "was not on the shortlist"
		if r.RunnerUp != nil {
			other = fmt.Sprintf("has %.6g", *r.RunnerUp)
		}
		fmt.Fprintf(w, "%s %s: the winner has %.6g by %s, the other %s; of parts there are only those of the score that made the shortlist:\n", x.Keys, search.NumberText(x.Interval), r.Winner, r.Proxy, other)
	}
	fmt.Fprintf(w, "%s %s, by %s: the winner is ahead by %.6g (%.2g %%)\n  winner     %s  %.6g\n  runner-up  %s  %.6g\n\n",
		x.Keys, search.NumberText(x.Interval), x.Proxy, ahead, 100*ahead/x.RunnerUpScore, x.Winner, x.WinnerScore, x.RunnerUp, x.RunnerUpScore)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	if x.Explanation.Winner.IsConv() {
		fmt.Fprintln(t, "block\tkernel\texpansion\tblock's lead\t")
		fmt.Fprintf(t, "trunk\t\t\t%s\t\n", lead(x.Trunk.Margin()))
		for _, l := range x.Layers {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t\n", l.Layer, against(l.Winner.Kernel, l.RunnerUp.Kernel), against(l.Winner.Expand, l.RunnerUp.Expand), lead(l.Margin()))
		}
		return t.Flush()
	}
	fmt.Fprintln(t, "layer\theads\tlead\tMLP ratio\tlead\tnorms, biases\tlayer's lead\t")
	fmt.Fprintf(t, "trunk\t\t\t\t\t\t%s\t\n", lead(x.Trunk.Margin()))
	for _, l := range x.Layers {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", l.Layer,
			against(l.Winner.NumHeads, l.RunnerUp.NumHeads), lead(l.Heads.Margin()), against(l.Winner.MLPRatio, l.RunnerUp.MLPRatio), lead(l.MLP.Margin()), lead(l.Rest.Margin()), lead(l.Margin()))
	}
	return t.Flush()
}

// lead is by how much the winner is ahead; empty where both are equal.
func lead(margin float64) string {
	if margin == 0 {
		return ""
	}
	return fmt.Sprintf("%+.5g", margin)
}

// against shows the choices of both, or once what both chose. A layer that one does not have has no
// choice.
func against[T comparable](winner, runnerUp T) string {
	var none T
	name := func(v T) string {
		if v == none {
			return "-"
		}
		return fmt.Sprint(v)
	}
	if winner == runnerUp {
		return name(winner)
	}
	return name(winner) + " vs " + name(runnerUp)
}
