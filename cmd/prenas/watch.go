package main

import (
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"prenas/internal/watch"
)

func watchCommand(*global) *cobra.Command {
	var o watch.Options
	c := &cobra.Command{
		Use: "watch RUN", Short: "Follow a run in the terminal, with its curves", Args: cobra.ExactArgs(1),
		Long:    "Follow a run that another process trains, until it ends. Ctrl-C ends the watching, not the run.",
		Example: "  prenas watch run\n  prenas watch run --once",
		RunE: func(c *cobra.Command, args []string) error {
			if o.Every <= 0 {
				return usagef("--every is %s, it must be longer than nothing", o.Every)
			}
			o.Run, o.Width = args[0], 80
			if width, _, err := term.GetSize(int(os.Stdout.Fd())); err == nil {
				o.Width, o.Clear = width, !o.Once
			}
			return watch.Follow(c.Context(), o, os.Stdout)
		},
	}
	c.Flags().DurationVar(&o.Every, "every", 2*time.Second, "time between two pictures")
	c.Flags().BoolVar(&o.Once, "once", false, "one picture of how the run stands now")
	return c
}
