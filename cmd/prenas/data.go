package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"prenas/internal/data"
	"prenas/internal/data/inspect"
	"prenas/internal/data/pack"
	"prenas/internal/data/source"
	"prenas/internal/job"
	"prenas/internal/printable"
	"prenas/internal/recipe"
)

func dataCommand(g *global) *cobra.Command {
	c := &cobra.Command{
		Use: "data", Short: "Fetch, look at, check and pack images",
		Long:    "SRC is\n  " + strings.Join(source.Describe(), "\n  "),
		Example: "  prenas data fetch fashion-mnist\n  prenas data check folder:images",
	}
	c.AddCommand(dataFetchCommand(g), dataInfoCommand(g), dataSheetCommand(g), dataCheckCommand(g), dataPackCommand(g))
	return c
}

// openWhole opens a source with all training images: none are held out.
func openWhole(ctx context.Context, out *console, src string) (*data.Dataset, error) {
	set, err := source.Open(ctx, src, source.Options{Log: out.line, Progress: out.fetching})
	if errors.Is(err, data.ErrSource) {
		return nil, usageError{err}
	}
	return set, err
}

func dataFetchCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "fetch NAME", Short: "Fetch a data set into the cache folder", Args: cobra.ExactArgs(1), ValidArgs: []string{"fashion-mnist"},
		Example: "  prenas data fetch fashion-mnist",
		RunE: func(c *cobra.Command, args []string) error {
			if args[0] != "fashion-mnist" {
				return usagef("data set %q does not fetch itself; fashion-mnist does", args[0])
			}
			out := newConsole(g)
			dir, err := source.FetchFashionMNIST(c.Context(), source.Options{Log: out.line, Progress: out.fetching})
			if err != nil {
				return err
			}
			return g.printResult(map[string]string{"folder": dir}, func(w io.Writer) error {
				_, err := fmt.Fprintln(w, dir)
				return err
			})
		},
	}
}

func dataInfoCommand(g *global) *cobra.Command {
	var sheet string
	var sample, near int
	c := &cobra.Command{
		Use: "info SRC", Short: "Count images and classes, and measure sizes", Args: cobra.ExactArgs(1),
		Example: "  prenas data info folder:images\n  prenas data info tar:shards --sheet sheet.png",
		RunE: func(c *cobra.Command, args []string) error {
			out := newConsole(g)
			set, err := openWhole(c.Context(), out, args[0])
			if err != nil {
				return err
			}
			info, err := inspect.Describe(c.Context(), args[0], set, sample, out.counting("read"))
			if err != nil {
				return err
			}
			if !c.Flags().Changed("near") {
				near = mostCompared(info)
			}
			if info.Twins, err = findTwins(c.Context(), set, near, out); err != nil {
				return err
			}
			if sheet != "" {
				if err := job.WriteSheet(c.Context(), set, "images", g.seed, info.Twins, sheet); err != nil {
					return fmt.Errorf("--sheet: %w", err)
				}
			}
			return g.printResult(info, func(w io.Writer) error { return printInfo(w, info) })
		},
	}
	c.Flags().StringVar(&sheet, "sheet", "", "contact sheet to write, PNG: a row of images for each class")
	c.Flags().IntVar(&sample, "sample", 1000, "images to read for their sizes, spread over all")
	c.Flags().IntVar(&near, "near", 0, nearHelp)
	return c
}

func dataSheetCommand(g *global) *cobra.Command {
	var out, by string
	var near int
	c := &cobra.Command{
		Use: "sheet SRC --out FILE.png", Short: "Draw a contact sheet: classes, augmentation, twins", Args: cobra.ExactArgs(1),
		Long: "Draws the first images of each class, with its name; images as a training by a recipe sees them; and test\n" +
			"images that look the same as a training image, beside it.",
		Example: "  prenas data sheet folder:images --out sheet.png\n  prenas data sheet folder:images --recipe tiny --out sheet.png",
		RunE: func(c *cobra.Command, args []string) error {
			if _, err := recipe.Load(by); err != nil {
				return fmt.Errorf("--recipe: %w", err)
			}
			console := newConsole(g)
			set, err := openWhole(c.Context(), console, args[0])
			if err != nil {
				return err
			}
			if !c.Flags().Changed("near") {
				info, err := inspect.Describe(c.Context(), args[0], set, 100, nil)
				if err != nil {
					return err
				}
				near = mostCompared(info)
			}
			twins, err := findTwins(c.Context(), set, near, console)
			if err != nil {
				return err
			}
			if err := job.WriteSheet(c.Context(), set, by, g.seed, twins, out); err != nil {
				return fmt.Errorf("--out: %w", err)
			}
			return g.printResult(struct {
				Sheet string         `json:"sheet"`
				Twins *inspect.Twins `json:"twins,omitempty"`
			}{out, twins}, func(w io.Writer) error {
				if twins != nil {
					printTwins(w, *twins)
				}
				_, err := fmt.Fprintln(w, out)
				return err
			})
		},
	}
	f := c.Flags()
	f.StringVar(&out, "out", "", "contact sheet to write, PNG")
	f.StringVar(&by, "recipe", "images", "recipe whose augmentation is shown, built-in ("+strings.Join(recipe.Names(), ", ")+") or YAML file")
	f.IntVar(&near, "near", 0, nearHelp)
	require(c, "out")
	return c
}

const nearHelp = "images to compare, to find test images that look like training images; 0: none (default: what takes about a minute)"

// mostCompared is the default of --near.
func mostCompared(info inspect.Info) int {
	return inspect.MostCompared(info.Sizes.Width.Median * info.Sizes.Height.Median)
}

// findTwins looks for test and held-out images that look like a training image. It compares at most
// near of each, and returns nil where near is 0.
func findTwins(ctx context.Context, set *data.Dataset, near int, out *console) (*inspect.Twins, error) {
	if near == 0 {
		return nil, nil
	}
	twins, err := inspect.FindTwins(ctx, set, near, out.counting("compare"))
	return &twins, err
}

func printInfo(w io.Writer, info inspect.Info) error {
	held, column := "", ""
	if info.HeldOut > 0 {
		held, column = fmt.Sprintf(", %d held-out", info.HeldOut), "held out\t"
	}
	fmt.Fprintf(w, "%s: %d training%s and %s in %s\n", info.Source, info.Train, held, printable.Count(info.Test, "test image"), printable.Count(len(info.Classes), "class"))
	s := info.Sizes
	fmt.Fprintf(w, "pixels of %d of them: width %d to %d, median %d; height %d to %d, median %d\n",
		s.Images-s.Damaged, s.Width.Min, s.Width.Max, s.Width.Median, s.Height.Min, s.Height.Max, s.Height.Median)
	if s.Damaged > 0 {
		fmt.Fprintf(w, "damaged: %d of the %d that were read; prenas data check %s lists them\n", s.Damaged, s.Images, info.Source)
	}
	v := info.Values
	fmt.Fprintf(w, "values of 0 to 255: lowest of an image %d to %d, median %d; highest %d to %d, median %d\n",
		v.Lowest.Min, v.Lowest.Max, v.Lowest.Median, v.Highest.Min, v.Highest.Max, v.Highest.Median)
	printOneColour(w, v.OneColour)
	if info.Imbalance >= data.Imbalanced {
		fmt.Fprintf(w, "classes differ in size, the largest has %.3g times the training images of the smallest:\n"+
			"  balance_classes: true in a recipe shows each equally often, class_weights:\n"+
			"  balanced weighs the loss instead; eval tells balanced accuracy\n", info.Imbalance)
	}
	if info.Twins != nil {
		printTwins(w, *info.Twins)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "train\t%stest\t  class\n", column)
	for _, class := range info.Classes {
		if held != "" {
			column = fmt.Sprintf("%d\t", class.HeldOut)
		}
		fmt.Fprintf(t, "%d\t%s%d\t  %s\n", class.Train, column, class.Test, printable.Name(class.Name))
	}
	return t.Flush()
}

// printTwins says how many held-out or test images look like a training image.
func printTwins(w io.Writer, t inspect.Twins) {
	if t.Test == 0 {
		return
	}
	of := func(n, all int, what string) string {
		if n < all {
			return fmt.Sprintf("%d of %s", n, printable.Count(all, what))
		}
		return printable.Count(all, what)
	}
	left := ""
	if t.LeftOut > 0 {
		left = fmt.Sprintf("; %d are damaged or of one colour", t.LeftOut)
	}
	fmt.Fprintf(w, "compared %s with %s%s:\n", of(t.Test, t.AllTest, "test image"), of(t.Train, t.AllTrain, "training image"), left)
	if t.Twins == 0 {
		fmt.Fprintln(w, "  none looks like one of them")
		return
	}
	fmt.Fprintf(w, "  %d look like a training image, %d of them one of another class;\n  where they are the same, accuracy on them says too much\n", t.Twins, t.OtherClass)
	if 10*t.Twins > t.Test {
		fmt.Fprintln(w, "  (things on an empty ground look alike without being the same: see data sheet)")
	}
	for _, twin := range t.First[:min(3, len(t.First))] {
		fmt.Fprintf(w, "  %s is like\n    %s\n", printable.Name(twin.Test), printable.Name(twin.Train))
	}
}

// printOneColour says how many images are of a single colour.
func printOneColour(w io.Writer, o inspect.OneColourInfo) {
	if o.Images > 0 {
		fmt.Fprintf(w, "%s %s\n", printable.Are(o.Images, "image"), printable.Name(o.String()))
	}
}

func dataCheckCommand(g *global) *cobra.Command {
	var workers int
	c := &cobra.Command{
		Use: "check SRC", Short: "Read every image and list the damaged ones", Args: cobra.ExactArgs(1),
		Long:    "Read every image and list the damaged ones. Exit code 1 if there are any.",
		Example: "  prenas data check folder:images",
		RunE: func(c *cobra.Command, args []string) error {
			out := newConsole(g)
			set, err := openWhole(c.Context(), out, args[0])
			if err != nil {
				return err
			}
			found, err := inspect.Check(c.Context(), set, workers, out.counting("check"))
			if err != nil {
				return err
			}
			err = g.printResult(found, func(w io.Writer) error {
				for _, d := range found.Damaged {
					fmt.Fprintf(w, "%s: %s\n", printable.Name(d.Image), printable.Name(d.Why))
				}
				printOneColour(w, found.OneColour)
				_, err := fmt.Fprintf(w, "%s, %d damaged\n", printable.Count(found.Images, "image"), len(found.Damaged))
				return err
			})
			if err == nil && len(found.Damaged) > 0 {
				err = fmt.Errorf("%s has %s; train with --on-bad-image skip to leave out what cannot be read", args[0], printable.Count(len(found.Damaged), "damaged image"))
			}
			return err
		},
	}
	c.Flags().IntVar(&workers, "workers", 0, "goroutines that read images (default: one per core)")
	return c
}

func dataPackCommand(g *global) *cobra.Command {
	var dir string
	var bad onBadImage
	var o pack.Options
	c := &cobra.Command{
		Use: "pack SRC --out DIR", Short: "Decode and resize images once, for fast training", Args: cobra.ExactArgs(1),
		Long: "Write all images as pixels into shards that are mapped into memory, for --data pack:DIR. The shards of a\n" +
			"packing that was stopped are kept when the command is given again.",
		Example: "  prenas data pack folder:images --size 256 --out packed\n  prenas train --data pack:packed --candidates c.json --out run",
		RunE: func(c *cobra.Command, args []string) error {
			if err := noOverwriteOfData(dir, args[0]); err != nil {
				return err
			}
			out := newConsole(g)
			set, err := openWhole(c.Context(), out, args[0])
			if err != nil {
				return err
			}
			o.Source, o.Progress = args[0], out.counting("pack")
			if bad.skip {
				o.Skip = new(data.Skipped)
			}
			m, err := pack.Write(c.Context(), set, dir, o)
			if err != nil {
				return err
			}
			return g.printResult(m, func(w io.Writer) error {
				for _, d := range m.Skipped {
					fmt.Fprintf(w, "left out: %s: %s\n", printable.Name(d.Image), printable.Name(d.Why))
				}
				_, err := fmt.Fprintf(w, "%s: %s, %s left out; train with --data pack:%s\n", dir, printable.Count(len(m.Train)+len(m.HeldOut)+len(m.Test), "shard"), printable.Count(len(m.Skipped), "damaged image"), dir)
				return err
			})
		},
	}
	f := c.Flags()
	f.StringVar(&dir, "out", "", "folder to write")
	f.IntVar(&o.Size, "size", 256, "pixels that the shorter side is resized to where it is longer; 0: images stay as they are")
	f.IntVar(&o.Workers, "workers", 0, "goroutines that read and resize images (default: one per core)")
	bad.add(f, "")
	require(c, "out")
	return c
}

// counting shows the progress of a task in images.
func (c *console) counting(task string) func(done, total int) {
	return func(done, total int) { c.progress(task, int64(done), int64(total), "images") }
}
