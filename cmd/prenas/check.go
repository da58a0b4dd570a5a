package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"prenas/internal/job"
	"prenas/internal/printable"
)

func checkCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "check RUN|MODEL|FOLDER", Short: "Find damaged files of runs, models, searches, packed images and the cache", Args: cobra.ExactArgs(1),
		Long: "Read every file and compare it with its digest: checkpoints, manifest and results of a run; a model, its\n" +
			"description and its card; a candidates file with its meta file, sums and parts; packed images; or all of\n" +
			"these in a folder, such as the cache. Nothing is changed. Files without a digest, such as those of\n" +
			"earlier versions, are listed. The exit code is 1 if a file is damaged.",
		Example: "  prenas check run\n  prenas check models/one.onnx\n  prenas check candidates.json\n  prenas check ~/.cache/prenas",
		RunE: func(c *cobra.Command, args []string) error {
			out := newConsole(g)
			found, err := job.Check(c.Context(), args[0], func(done, total int) { out.progress("check", int64(done), int64(total), "files") })
			if err != nil {
				return err
			}
			err = g.printResult(found, func(w io.Writer) error { return printChecked(w, found) })
			if err == nil && found.Damaged > 0 {
				err = fmt.Errorf("%s has %s", args[0], printable.Count(found.Damaged, "damaged file"))
			}
			return err
		},
	}
}

func printChecked(w io.Writer, found job.Checked) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range found.Files {
		line := string(f.State) + "\t" + printable.Name(f.File)
		if f.Why != "" {
			line += ": " + printable.Name(f.Why)
		}
		fmt.Fprintln(t, line)
	}
	fmt.Fprintf(t, "%s: %d sound, %d damaged, %d without a digest\n", printable.Count(len(found.Files), "file"), found.Sound, found.Damaged, found.Unchecked)
	return t.Flush()
}
