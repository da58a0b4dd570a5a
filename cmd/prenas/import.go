package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"prenas/internal/data"
	"prenas/internal/job"
	"prenas/internal/pretrained"
	"prenas/internal/printable"
	"prenas/pkg/space"
)

func importCommand(g *global) *cobra.Command {
	var o job.ImportOptions
	c := &cobra.Command{
		Use: "import FILE --out FILE.safetensors", Short: "Bring in a model that another program trained", Args: cobra.ExactArgs(1),
		Long: "Reads weights of timm, Hugging Face (ViT, DeiT, DINOv2, the image towers of CLIP and SigLIP), torchvision,\n" +
			"PreNAS or AutoFormer, or of MobileNetV2, MobileNetV3, EfficientNet-lite and EfficientNet-B0 (timm,\n" +
			"torchvision, efficientnet-pytorch), or of once-for-all. The file is safetensors, .pth, or the index of a\n" +
			"model in several files. Nothing in it is executed.\n" +
			"Writes a model, for predict, eval, export, finetune and as a teacher, with its card, and a space file\n" +
			"(.space.yaml) whose choices shrink it. config.json beside the weights is read. What neither says is\n" +
			"assumed, in a line that names the flag to change it; where no assumption is safe, the flag is asked for.",
		Example: "  prenas import deit.pth --order-by folder:images --out deit.safetensors\n" +
			"  prenas eval deit.safetensors --data folder:images\n" +
			"  prenas search --space deit.space.yaml --weights deit.safetensors --data folder:images --proxy cuts --out candidates.json\n" +
			"  prenas train --candidates candidates.json --weights deit.safetensors --data folder:images --out run",
		RunE: func(c *cobra.Command, args []string) (err error) {
			o.File, o.Command = args[0], strings.Join(os.Args, " ")
			if !strings.HasSuffix(o.Out, ".safetensors") {
				return usagef("--out %s: the name ends in .safetensors", o.Out)
			}
			if err := checkHints(o.Hints); err != nil {
				return err
			}
			if err := noOverwrite(written("--out", o.Out, job.SpacePath(o.Out), o.Out+".json", o.Out+".md"), named{"FILE", o.File}); err != nil {
				return err
			}
			if o.Order.Data != "" {
				out := newConsole(g)
				if o.Order.Engine, err = g.open(c.Context(), out); err != nil {
					return err
				}
				defer o.Order.Engine.Close()
				o.Order.Seed, o.Order.Log = g.seed, out.line
				o.Order.Progress = func(done, total int) { out.progress("importance", int64(done), int64(total), "") }
			}
			r, err := job.Import(c.Context(), o)
			if errors.Is(err, job.ErrForm) || errors.Is(err, job.ErrAsk) || errors.Is(err, data.ErrSource) {
				return usageError{err}
			}
			if err != nil {
				return err
			}
			return g.printResult(r, func(w io.Writer) error {
				for _, note := range r.Notes {
					fmt.Fprintf(w, "note: %s\n", printable.Name(note))
				}
				if len(r.Others) > 0 {
					fmt.Fprintf(w, "note: a model is also under %s (--entry)\n", strings.Join(printable.Names(r.Others), ", "))
				}
				if n := len(r.Skipped); n > 0 {
					const most = 8
					more := ""
					if n > most {
						more = fmt.Sprintf(" and %d more", n-most)
					}
					fmt.Fprintf(w, "left out, since it takes no part in the outputs: %s%s\n", strings.Join(printable.Names(r.Skipped[:min(n, most)]), ", "), more)
				}
				entry := ""
				if r.Entry != "" {
					entry = ", entry " + printable.Name(r.Entry)
				}
				fmt.Fprintf(w, "form %s%s, %s; %s, %.3f M parameters, %s\n%s\n",
					r.Form, entry, printable.Count(r.Tensors, "tensor"), r.Largest, millions(r.Params), printable.Count(r.Classes, "output"), r.Weights)
				if r.Space == "" {
					return nil
				}
				_, err := fmt.Fprintln(w, r.Space)
				return err
			})
		},
	}
	f := c.Flags()
	f.StringVar(&o.Form, "form", job.FormAuto, "training code whose names and layouts the file has: auto, prenas, autoformer or timm")
	addHints(f, &o.Hints, "image-size")
	f.StringVar(&o.Order.Data, "order-by", "", "sort heads, hidden units, features and blocks by importance on images, SRC (prenas data --help): slices keep what matters most, the whole stays equal")
	f.IntVar(&o.Order.Workers, "workers", 0, "goroutines that prepare images (default: one per core)")
	f.StringVar(&o.Licence, "licence", "", "licence of the weights, for the card")
	f.StringVar(&o.Out, "out", "", "safetensors file to write")
	require(c, "out")
	return c
}

// addHints adds the flags for what a file of weights may leave unsaid about its model.
func addHints(f *pflag.FlagSet, h *pretrained.Hints, size string) {
	f.StringVar(&h.Entry, "entry", "", "entry of the file that holds the weights, where several do, as model_ema")
	f.IntVar(&h.HeadDim, "head-dim", 0, "features of an attention head (default: what config.json says, else 64)")
	f.Float64Var(&h.NormEps, "norm-eps", 0, "epsilon of the norms (default: what config.json says, else the form's usual)")
	f.StringVar(&h.Activation, "activation", "", "activation of the MLPs ("+strings.Join(space.Activations(), ", ")+"), or of a convolutional network ("+strings.Join(space.ConvActivations(), ", ")+")")
	f.StringVar(&h.Padding, "padding", "", "padding of a convolutional network: symmetric, or same as TensorFlow has it (default: what config.json says, else symmetric)")
	f.StringVar(&h.Pool, "pool", "", "what is classified: "+strings.Join(pretrained.Pools(), ", "))
	f.IntVar(&h.ImageSize, size, 0, "pixels of an image's side that the weights are for, where their positions leave two readings")
	f.Float32SliceVar(&h.Mean, "mean", nil, "mean of each channel of pixels in [0, 1] in the model's training, like `0.485,0.456,0.406`")
	f.Float32SliceVar(&h.Std, "std", nil, "standard deviation of each channel, like `0.229,0.224,0.225`")
}

// checkHints refuses values that no model has.
func checkHints(h pretrained.Hints) error {
	activations := slices.Compact(slices.Sorted(slices.Values(append(space.Activations(), space.ConvActivations()...))))
	switch {
	case h.Activation != "" && !slices.Contains(activations, h.Activation):
		return usagef("--activation %s: it is one of %s", h.Activation, strings.Join(activations, ", "))
	case h.Padding != "" && !slices.Contains(pretrained.Paddings(), h.Padding):
		return usagef("--padding %s: it is one of %s", h.Padding, strings.Join(pretrained.Paddings(), ", "))
	case h.Pool != "" && !slices.Contains(pretrained.Pools(), h.Pool):
		return usagef("--pool %s: it is one of %s", h.Pool, strings.Join(pretrained.Pools(), ", "))
	case len(h.Mean) != len(h.Std):
		return usagef("--mean has %d numbers and --std %d: give one of each for every channel", len(h.Mean), len(h.Std))
	}
	return nil
}
