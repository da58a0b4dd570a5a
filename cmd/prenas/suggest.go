package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"prenas/internal/data"
	"prenas/internal/engine"
	"prenas/internal/fsys"
	"prenas/internal/job"
	"prenas/internal/printable"
)

func suggestCommand(g *global) *cobra.Command {
	o := job.SuggestOptions{}
	var params, out string
	c := &cobra.Command{
		Use: "suggest --data SRC", Short: "Write a space that fits images, classes and budgets", Args: cobra.NoArgs,
		Long: "Looks at some of the images, and writes a space whose architectures span the budgets: the size of\n" +
			"images, patches or strides, widths and depths. The file says why each was chosen. Every interval of it\n" +
			"has an architecture.",
		Example: "  prenas spaces suggest --data folder:flowers --params 1..5 --out flowers.yaml\n" +
			"  prenas spaces suggest --data folder:flowers --params 1..5 --latency 10 --out flowers.yaml",
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if o.Params, err = parseRange("--params", params); err != nil {
				return err
			}
			if c.Flags().Changed("latency") && !(o.Latency > 0) {
				return usagef("--latency is %v, it must be a number above 0", o.Latency)
			}
			if o.Family != "" && !slices.Contains(job.Families, o.Family) {
				return usagef("--family is %q, it must be one of %s", o.Family, strings.Join(job.Families, ", "))
			}
			if out != "" {
				if _, err := os.Lstat(out); err == nil {
					return usagef("--out %s exists: name another file, or remove it", out)
				}
			}
			console := newConsole(g)
			var e *engine.Engine
			o.Engine = func() (*engine.Engine, error) {
				if e == nil {
					e, err = g.open(c.Context(), console)
				}
				return e, err
			}
			defer func() {
				if e != nil {
					e.Close()
				}
			}()
			o.Log, o.Name = console.line, "suggested"
			if out != "" {
				o.Name = strings.TrimSuffix(filepath.Base(out), filepath.Ext(out))
			}
			o.Measured = func(done, total int) { console.progress("latency", int64(done), int64(total), "") }
			s, err := job.Suggest(c.Context(), o)
			if errors.Is(err, data.ErrSource) || errors.Is(err, job.ErrSuggest) {
				return usageError{err}
			}
			if err != nil {
				return err
			}
			text := s.File(printable.Name(o.Data))
			if out != "" {
				err := fsys.WriteAtomic(fsys.OS, out, func(w io.Writer) error {
					_, err := w.Write(text)
					return err
				})
				if err != nil {
					return fmt.Errorf("--out: %w", err)
				}
			}
			s.Search = strings.Replace(s.Search, "FILE", cmp.Or(out, "FILE"), 1) + " --out candidates.json"
			if out == "" {
				return g.printFile(s, text)
			}
			return g.printResult(s, func(w io.Writer) error {
				for _, why := range s.Why {
					fmt.Fprintln(w, why)
				}
				_, err := fmt.Fprintf(w, "%s: %.3g to %.3g million parameters, %.3g to %.3g million MACs%s\ngo on with:\n  %s\n", out, s.Params[0], s.Params[1], s.MACs[0], s.MACs[1], milliseconds(s.Latency), s.Search)
				return err
			})
		},
	}
	f := c.Flags()
	f.StringVar(&o.Data, "data", "", "images to fit, SRC (prenas data --help)")
	f.StringVar(&params, "params", "", "parameters from..to, millions, like 1..5 (default: by the size of the images)")
	limit(f, &o.Latency, "latency", "milliseconds of one image on this machine that some architecture must keep within")
	f.StringVar(&o.Family, "family", "", "conv or vit (default: conv, vit with --latency)")
	f.StringVar(&out, "out", "", "space file to write (default: printed)")
	require(c, "data")
	return c
}

func milliseconds(span *[2]float64) string {
	if span == nil {
		return ""
	}
	return fmt.Sprintf(", %.3g to %.3g ms", span[0], span[1])
}

// parseRange reads from..to, or one number, which is the most.
func parseRange(flag, text string) (job.Range, error) {
	none := job.Range{Min: math.NaN(), Max: math.NaN()}
	if text == "" {
		return none, nil
	}
	from, to, both := strings.Cut(text, "..")
	if !both {
		from, to = "", text
	}
	number := func(number string) (float64, error) {
		v, err := strconv.ParseFloat(number, 64)
		if err != nil || !(v > 0) || v > 1e6 {
			return 0, usagef("%s is %q, it must be numbers above 0 like 1..5, or one", flag, printable.Name(text))
		}
		return v, nil
	}
	r := none
	var err error
	if r.Max, err = number(to); err != nil {
		return none, err
	}
	if both {
		if r.Min, err = number(from); err != nil {
			return none, err
		}
		if r.Min > r.Max {
			return none, usagef("%s is %s: the smaller number stands first", flag, text)
		}
	}
	return r, nil
}
