package main

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"
)

func doctorCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "Show what engine, devices and speed this machine offers", Args: cobra.NoArgs,
		Long: "Show what engine, devices and speed this machine offers. kernels says whether programs call our functions in C.\n" +
			"A product is XLA's own of large square matrices, which is the most to expect; --precision auto of other\n" +
			"commands times a smaller one, as training computes it.",
		Example: "  prenas doctor\n  prenas doctor --backend go --json",
		RunE: func(c *cobra.Command, _ []string) error {
			e, err := g.open(c.Context(), newConsole(g))
			if err != nil {
				return err
			}
			defer e.Close()
			d, err := e.Diagnose(c.Context())
			if err != nil {
				return err
			}
			return g.printResult(d, func(w io.Writer) error {
				fmt.Fprintf(w, "backend     %s (%s)\n", d.Backend, d.Description)
				if d.Plugin != "" {
					fmt.Fprintf(w, "plug-in     %s\n            sha256 %s\n", d.Plugin, d.PluginSHA256)
				}
				fmt.Fprintf(w, "devices     %d\ncores       %d\nhuge pages  %v\nkernels     %v\n", d.Devices, d.Cores, d.HugePages, d.Kernels)
				for _, name := range slices.Sorted(maps.Keys(d.Versions)) {
					fmt.Fprintf(w, "version     %s %s\n", name, d.Versions[name])
				}
				for _, name := range slices.Sorted(maps.Keys(d.GFLOPS)) {
					fmt.Fprintf(w, "product     %.0f GFLOP/s (%s)\n", d.GFLOPS[name], name)
				}
				return nil
			})
		},
	}
}
