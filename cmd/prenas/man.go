package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"prenas/internal/version"
)

func manCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "man DIR", Short: "Write a man page of each command", Args: cobra.ExactArgs(1),
		Long:    "Writes a man page of each command into a new or empty folder. SOURCE_DATE_EPOCH sets the date in them.",
		Example: "  prenas man man1\n  man ./man1/prenas-train.1",
		RunE: func(c *cobra.Command, args []string) error {
			dir := args[0]
			if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
				return usagef("%s is not empty: name another folder", dir)
			}
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
			root := c.Root()
			root.DisableAutoGenTag = true
			if err := doc.GenManTree(root, &doc.GenManHeader{Title: "PRENAS", Section: "1", Source: "prenas " + version.String(), Manual: "prenas"}, dir); err != nil {
				return fmt.Errorf("man pages in %s: %w", dir, err)
			}
			return g.printResult(map[string]string{"folder": dir}, func(w io.Writer) error {
				_, err := fmt.Fprintln(w, dir)
				return err
			})
		},
	}
}
