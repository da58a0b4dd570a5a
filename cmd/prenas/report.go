package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"prenas/internal/exhibit"
	"prenas/internal/fsys"
	"prenas/internal/job"
	"prenas/internal/printable"
	"prenas/internal/report"
)

func reportCommand(g *global) *cobra.Command {
	var out string
	c := &cobra.Command{
		Use: "report RUN...", Short: "Write a run's report as one HTML file", Args: cobra.MinimumNArgs(1),
		Long: `Write what prenas board shows as one HTML file, which needs no server and no network: a run that
was measured; several runs beside each other, for which --out is needed; the candidates file of a
search; or the benchmark file of an audit.

Without --out the report of a run is RUN/report.html, and that of a file stands beside it.`,
		Example: "  prenas report run\n  prenas report runs/a runs/b --out both.html\n  prenas report candidates.json",
		RunE: func(_ *cobra.Command, args []string) error {
			lines := newConsole(g)
			path, err := reportPath(args, out)
			if err != nil {
				return err
			}
			p, err := reportOf(args, func(doubt string) { lines.line(warning + doubt) })
			if err == nil {
				err = p.Write(fsys.OS, path)
			}
			if err != nil {
				return err
			}
			return g.printResult(map[string]string{"report": path}, func(w io.Writer) error {
				_, err := fmt.Fprintln(w, path)
				return err
			})
		},
	}
	c.Flags().StringVar(&out, "out", "", "file to write")
	return c
}

// isFile tells whether a path is a file, and so a search or an audit, not a run directory.
func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// reportPath is the file that a report is written to.
func reportPath(args []string, out string) (string, error) {
	for i, arg := range args {
		if slices.ContainsFunc(args[:i], func(other string) bool { return fsys.Same(arg, other) }) {
			return "", usagef("%s stands twice", arg)
		}
		if len(args) > 1 && isFile(arg) {
			return "", usagef("%s is a file: only runs are shown beside each other", arg)
		}
	}
	switch most := exhibit.MostCompared; {
	case len(args) > most:
		return "", usagef("%s cannot be told apart in one report: name at most %d", printable.Count(len(args), "run"), most)
	case out == "" && len(args) > 1:
		return "", usagef("a report of several runs belongs to none of them: name a file with --out")
	case out == "" && isFile(args[0]):
		return strings.TrimSuffix(args[0], filepath.Ext(args[0])) + ".html", nil
	case out == "":
		return filepath.Join(args[0], report.File), nil
	}
	for _, arg := range args {
		if isFile(arg) {
			files := append(job.CandidateFiles(arg), arg)
			return out, noOverwrite(written("--out", out), written("the report's subject", files...)...)
		}
		if err := noOverwriteOfRun(out, arg); err != nil {
			return "", err
		}
	}
	return out, nil
}

// reportOf makes the page of the runs, the search or the audit that are named.
func reportOf(args []string, tell func(string)) (p report.Page, err error) {
	switch {
	case len(args) > 1:
		return report.OfRuns(fsys.OS, args)
	case !isFile(args[0]):
		return report.OfRun(fsys.OS, args[0], tell)
	case filepath.Ext(args[0]) == ".jsonl":
		return report.OfAudit(fsys.OS, args[0])
	}
	p.Title = filepath.Base(args[0])
	p.Sections, err = job.SearchSections(args[0])
	return p, err
}
