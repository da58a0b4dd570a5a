package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"prenas/internal/job"
	"prenas/internal/printable"
)

func importCommand(g *global) *cobra.Command {
	var o job.ImportOptions
	c := &cobra.Command{
		Use: "import FILE --out FILE.safetensors", Short: "Bring in weights of PyTorch, as a supernet to shrink", Args: cobra.ExactArgs(1),
		Long: "Reads a .pth or safetensors file of a PreNAS or AutoFormer supernet, or of a ViT or DeiT of timm, without\n" +
			"executing anything in it, and writes the supernet's safetensors and, beside it, a space file\n" +
			"(.space.yaml) whose choices shrink the model.",
		Example: "  prenas import deit.pth --out deit.safetensors\n" +
			"  prenas search --space deit.space.yaml --weights deit.safetensors --data folder:images --out candidates.json\n" +
			"  prenas train --candidates candidates.json --weights deit.safetensors --data folder:images --out run",
		RunE: func(_ *cobra.Command, args []string) error {
			o.File = args[0]
			if !strings.HasSuffix(o.Out, ".safetensors") {
				return usagef("--out %s: the name ends in .safetensors", o.Out)
			}
			if err := noOverwrite(written("--out", o.Out, job.SpacePath(o.Out)), named{"FILE", o.File}); err != nil {
				return err
			}
			r, err := job.Import(o)
			if errors.Is(err, job.ErrForm) {
				return usageError{err}
			}
			if err != nil {
				return err
			}
			return g.printResult(r, func(w io.Writer) error {
				for _, note := range r.Notes {
					fmt.Fprintf(w, "note: %s\n", printable.Name(note))
				}
				if len(r.Skipped) > 0 {
					fmt.Fprintf(w, "left out: %s\n", strings.Join(printable.Names(r.Skipped), ", "))
				}
				_, err := fmt.Fprintf(w, "form %s, %d tensors, %d renamed; largest %s, %.3f M parameters\n%s\n%s\n",
					r.Form, r.Tensors, r.Renamed, r.Largest, millions(r.Params), r.Weights, r.Space)
				return err
			})
		},
	}
	f := c.Flags()
	f.StringVar(&o.Form, "form", job.FormAuto, "whose names and layouts: auto, prenas, autoformer or timm")
	f.IntVar(&o.HeadDim, "head-dim", 0, "features of an attention head (default: those of the relative tables, else 64)")
	f.StringVar(&o.Out, "out", "", "safetensors file to write")
	require(c, "out")
	return c
}
