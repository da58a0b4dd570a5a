package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"prenas/internal/data"
)

func dataCommand(g *global) *cobra.Command {
	c := &cobra.Command{Use: "data", Short: "Fetch data sets", Example: "  prenas data fetch fashion-mnist"}
	c.AddCommand(&cobra.Command{
		Use: "fetch NAME", Short: "Fetch a data set into the cache folder", Args: cobra.ExactArgs(1), ValidArgs: []string{"fashion-mnist"},
		Example: "  prenas data fetch fashion-mnist",
		RunE: func(c *cobra.Command, args []string) error {
			if args[0] != "fashion-mnist" {
				return usagef("data set %q does not fetch itself; fashion-mnist does", args[0])
			}
			out := newConsole(g)
			dir, err := data.FetchFashionMNIST(c.Context(), data.Options{Log: out.line, Progress: out.fetching})
			if err != nil {
				return err
			}
			return g.printResult(map[string]string{"folder": dir}, func(w io.Writer) error {
				_, err := fmt.Fprintln(w, dir)
				return err
			})
		},
	})
	return c
}
