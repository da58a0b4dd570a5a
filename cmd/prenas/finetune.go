package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"prenas/internal/data"
	"prenas/internal/input"
	"prenas/internal/job"
	"prenas/internal/recipe"
)

func finetuneCommand(g *global) *cobra.Command {
	var o job.FinetuneOptions
	var recipeName string
	var layerDecay float64
	var freeze bool
	var bad onBadImage
	c := &cobra.Command{
		Use: "finetune RUN|MODEL --data SRC --out RUN", Short: "Go on training one architecture on other images", Args: cobra.ExactArgs(1),
		Long: "Begins with an architecture's trained weights: one of a run (--arch), or a .safetensors file of prenas\n" +
			"export. Other classes get a new head; for another --image-size positions are interpolated. The result\n" +
			"is a run directory like that of prenas train, which prenas train --resume goes on with if it was stopped.\n\n" +
			"The recipe finetune is for images of one's own, a handful of each class or thousands; it suits itself to\n" +
			"their number. The further a layer is from the head, the lower its learning rate.",
		Example: "  prenas finetune run --arch 0.58 --data folder:flowers --out flowers\n" +
			"  prenas finetune model.safetensors --data folder:flowers --freeze --out flowers",
		RunE: func(c *cobra.Command, args []string) (err error) {
			if err = noOverwriteOfData(o.Out, o.Data); err != nil {
				return err
			}
			if o.Recipe, err = recipe.Load(recipeName); err != nil {
				return fmt.Errorf("--recipe: %w", err)
			}
			if c.Flags().Changed("on-bad-image") {
				o.Recipe.SkipBadImages = bad.skip
			}
			if c.Flags().Changed("layer-decay") {
				if o.Recipe.Optimizer.LayerDecay = layerDecay; !(layerDecay > 0 && layerDecay <= 1) {
					return usagef("--layer-decay is %v, it must be above 0 and at most 1", layerDecay)
				}
			}
			if c.Flags().Changed("freeze") {
				o.Recipe.Optimizer.Freeze = freeze
			}
			out := newConsole(g)
			if o.Engine, err = g.open(c.Context(), out); err != nil {
				return err
			}
			defer o.Engine.Close()
			o.From, o.Seed, o.Command, o.Log = args[0], g.seed, strings.Join(os.Args, " "), out.line
			o.Fetch, o.Progress = out.fetching, out.training
			r, err := job.Finetune(c.Context(), o)
			if errors.Is(err, data.ErrSource) || errors.Is(err, input.Arch) || errors.Is(err, recipe.ErrInvalid) && o.Override != (recipe.Override{}) {
				return usageError{err}
			}
			if err != nil {
				return err
			}
			return g.printResult(r, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "%s; %s\n%s\n", course(r), best("top-1", r), o.Out)
				return err
			})
		},
	}
	f := c.Flags()
	f.StringVar(&o.Arch, "arch", "", "of a run: architecture's name, or the key of its interval (default: the only one there is)")
	f.StringVar(&o.Data, "data", "", "images to train on, SRC (prenas data --help)")
	f.IntVar(&o.ImageSize, "image-size", 0, "pixels of an image's side (default: as it was)")
	f.Float64Var(&layerDecay, "layer-decay", 0, "what each layer further from the head leaves of the learning rate, as 0.75 (default: the recipe's)")
	f.BoolVar(&freeze, "freeze", false, "train the head alone")
	f.StringVar(&recipeName, "recipe", "finetune", "built-in recipe ("+strings.Join(recipe.Names(), ", ")+") or YAML file")
	addOverride(f, &o.Override)
	bad.add(f, " (default: the recipe's)")
	f.StringVar(&o.Out, "out", "", "run directory to write")
	f.IntVar(&o.Workers, "workers", 0, "goroutines that prepare images (default: one per core)")
	require(c, "data", "out")
	return shared(c)
}
