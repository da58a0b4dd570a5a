package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"prenas/internal/evaluate"
	"prenas/internal/input"
	"prenas/internal/job"
	"prenas/pkg/search"
)

func exportCommand(g *global) *cobra.Command {
	var o job.ExportOptions
	var format string
	var form job.FormatOptions
	c := &cobra.Command{
		Use: "export RUN|MODEL --arch NAME|KEY|all --out FILE", Short: "Take a model out of a run, ready to be used by itself", Args: cobra.ExactArgs(1),
		Long: "Write an architecture's slice of a run's weights as a model of its own, with its description (.json)\n" +
			"and its model card (.md) beside it. An interval's key means the best architecture of the interval.\n" +
			"Of the safetensors of a model, which prenas import writes too, export makes a file of another format.",
		Example: "  prenas export run --arch e128-h6x3_4-r3_4x3 --out model.safetensors\n" +
			"  prenas export run --arch 0.58 --format onnx --out model.onnx\n" +
			"  prenas export run --arch all --out models\n" +
			"  prenas export run --arch 0.58 --format onnx --precision fp16 --out half.onnx\n" +
			"  prenas export vit.safetensors --format onnx --out vit.onnx",
		RunE: func(c *cobra.Command, args []string) (err error) {
			if o.Format, err = job.ParseFormat(format, form); err != nil {
				return usageError{err}
			}
			if err := noOverwriteOfRun(o.Out, args[0]); err != nil {
				return err
			}
			o.Run, o.Log = args[0], newConsole(g).line
			list, err := job.Export(c.Context(), o)
			if errors.Is(err, input.Arch) || errors.Is(err, job.ErrEnding) {
				return usageError{err}
			}
			if err != nil {
				return err
			}
			return g.printResult(list, func(w io.Writer) error { return printExported(w, list) })
		},
	}
	f := c.Flags()
	f.StringVar(&o.Arch, "arch", "", "architecture's name, key of its interval, or "+job.AllArchs+" (default: the only one there is)")
	f.StringVar(&o.Candidates, "candidates", "", "candidates file of other architectures of the run's space to choose from (default: those that were trained)")
	f.StringVar(&format, "format", "safetensors", "safetensors, onnx, or transformers (FOLDER/model.safetensors with config.json, for Hugging Face's from_pretrained)")
	f.StringVar(&form.Quantize, "quantize", "", "int8: with --format onnx, products in 8 bits, and the weights of convolutions")
	f.StringVar(&form.Precision, "precision", "float32", "float32, or with --format onnx fp16")
	f.IntVar(&form.Opset, "opset", 0, "newest opset that an ONNX file may need: 20 for readers older than 23, which has attention as one node (default 23)")
	f.StringVar(&o.Licence, "licence", "", "licence of the weights, for the model card")
	f.StringVar(&o.Out, "out", "", "file to write, with --arch "+job.AllArchs+" the folder for the files")
	require(c, "out")
	return c
}

func printExported(w io.Writer, list []job.Exported) error {
	var t table
	for _, e := range list {
		top1, within := "-", "-"
		if a := e.Accuracy; a != nil {
			top1, within = fmt.Sprintf("%.2f", 100*a.Top1), evaluate.Range(a.Top1, a.Images)
		}
		row := []string{fmt.Sprintf("%.3f", millions(e.Parameters)), fmt.Sprintf("%.1f", millions(e.MACs)), top1, within, e.File}
		t.head = []string{"parameters M", "MACs M", "top-1 %", "95 % interval", "file"}
		if e.Keys != "" { // a run, whose architectures have intervals
			row, t.head = append([]string{search.NumberText(e.Interval)}, row...), append([]string{e.Keys}, t.head...)
		}
		t.add(row...)
	}
	return t.print(w)
}
