package main

import (
	"cmp"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"prenas/internal/printable"
	"prenas/internal/watch"
)

func watchCommand(g *global) *cobra.Command {
	var every time.Duration
	var once bool
	c := &cobra.Command{
		Use: "watch RUN", Short: "Follow a run in the terminal, with its curves", Args: cobra.ExactArgs(1),
		Long: "Follow a run that another process trains, until it ends. Ctrl-C ends the watching, not the run. With\n" +
			"--json its last state is printed when the watching ends.",
		Example: "  prenas watch run\n  prenas watch run --once --json",
		RunE: func(c *cobra.Command, args []string) error {
			clear := ""
			if !once && term.IsTerminal(int(os.Stdout.Fd())) {
				clear = "\x1b[H\x1b[2J"
			}
			var last watch.Status
			err := watch.Follow(c.Context(), args[0], every, once, func(s watch.Status) error {
				last = s
				if g.json {
					return nil
				}
				width := widthOf(os.Stdout) // which may change meanwhile
				screen := &folding{to: os.Stdout, width: width}
				_, err := fmt.Fprint(screen, clear, printable.Text(s.Picture(cmp.Or(width, columns))))
				return err
			})
			if err == nil && g.json {
				err = printJSON(os.Stdout, last)
			}
			return err
		},
	}
	c.Flags().DurationVar(&every, "every", 2*time.Second, "time between two updates of the screen")
	c.Flags().BoolVar(&once, "once", false, "print once how the run stands, and end")
	return c
}
