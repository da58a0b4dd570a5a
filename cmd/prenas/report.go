package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"prenas/internal/fsys"
	"prenas/internal/report"
)

func reportCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "report RUN", Short: "Write a run's report as one HTML file", Args: cobra.ExactArgs(1), Example: "  prenas report run",
		RunE: func(_ *cobra.Command, args []string) error {
			out := newConsole(g)
			path, err := report.Write(fsys.OS, args[0], func(doubt string) { out.line(warning + doubt) })
			if err != nil {
				return err
			}
			return g.printResult(map[string]string{"report": path}, func(w io.Writer) error {
				_, err := fmt.Fprintln(w, path)
				return err
			})
		},
	}
}
