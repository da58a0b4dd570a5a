package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"prenas/internal/engine"
	"prenas/internal/job"
	"prenas/internal/printable"
)

func predictCommand(g *global) *cobra.Command {
	o := job.PredictOptions{Precision: engine.Float32}
	c := &cobra.Command{
		Use: "predict MODEL IMAGE...", Short: "Classify pictures with an exported model", Args: cobra.MinimumNArgs(2),
		Long: "Print the most probable classes of each picture. MODEL is a file of prenas export: .safetensors, or\n" +
			".onnx where the onnxruntime library is at hand. IMAGE is a file, a folder of them, or - for paths on\n" +
			"standard input. Pictures that cannot be read are named, and so are those for which the model's\n" +
			"outputs are not finite; the others are classified. The exit code is then 1.",
		Example: "  prenas predict model.safetensors cat.jpg\n" +
			"  find photos -name '*.jpg' | prenas predict model.onnx --top 1 -",
		RunE: func(c *cobra.Command, args []string) error {
			out := newConsole(g)
			o.Model, o.Images, o.Stdin, o.Backend, o.Log = args[0], args[1:], os.Stdin, g.backend, out.line
			var list []job.Prediction
			ctx, stop := context.WithCancel(c.Context())
			defer stop()
			w := newResults()
			o.Each = func(p job.Prediction) {
				switch {
				case p.Error != "":
					fmt.Fprintln(os.Stderr, fold("prenas: "+printable.Message(p.Error), widthOf(os.Stderr)))
				case !g.json:
					fmt.Fprintln(w, p)
					if w.err != nil { // nobody reads the output any more
						stop()
					}
				}
				if g.json {
					list = append(list, p)
				}
			}
			sum, err := job.Predict(ctx, o)
			if lost := w.failed(); lost != nil {
				return lost
			}
			if errors.Is(err, engine.ErrBackend) {
				return usageError{err}
			}
			if err != nil {
				return err
			}
			if g.json {
				err = cmp.Or(printJSON(w, struct {
					job.Predicted
					Predictions []job.Prediction `json:"predictions"`
				}{sum, list}), w.failed())
			}
			out.line(fmt.Sprintf("%s, %.0f images/s", printable.Count(sum.Images, "image"), sum.Rate))
			if err == nil && sum.Failed > 0 {
				err = fmt.Errorf("%d of %s could not be classified", sum.Failed, printable.Count(sum.Failed+sum.Images, "image"))
			}
			return err
		},
	}
	f := c.Flags()
	f.IntVar(&o.Top, "top", 3, "classes to print, the most probable first")
	f.IntVar(&o.Batch, "batch", 32, "images that are computed at once")
	addPrecision(f, &o.Precision, "")
	f.IntVar(&o.Workers, "workers", 0, "goroutines that prepare images (default: one per core)")
	return c
}
