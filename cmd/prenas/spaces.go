package main

import (
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"prenas/pkg/space"
)

// spaceSummary is what the spaces commands print of a space.
type spaceSummary struct {
	Name          string         `json:"name"`
	Supernet      space.Supernet `json:"supernet"`
	EmbedDim      []int          `json:"embed_dim,omitempty"`
	Depth         []int          `json:"depth"` // choices; of each unit where there are units
	Layers        []int          `json:"layers,omitempty"`
	NumHeads      []int          `json:"num_heads,omitempty"`
	MLPRatio      []float64      `json:"mlp_ratio,omitempty"`
	Resolution    []int          `json:"resolution,omitempty"`
	Kernel        []int          `json:"kernel,omitempty"`
	Expand        []float64      `json:"expand,omitempty"`
	Model         space.Model    `json:"model"`
	Interval      space.Interval `json:"interval_millions"`
	Architectures string         `json:"architectures"`
	Isomers       string         `json:"isomers_original_splits"`
	IsomersAll    string         `json:"isomers_all_splits"`
	Params        [2]int64       `json:"params"`
	MACs          [2]int64       `json:"macs"`
}

func summarize(s *space.Space) spaceSummary {
	small, large := s.Smallest(), s.Largest()
	return spaceSummary{
		Name: s.Name, Supernet: s.Supernet, EmbedDim: s.EmbedDim, Depth: s.Depth, Layers: s.Layers, NumHeads: s.NumHeads, MLPRatio: s.MLPRatio,
		Resolution: s.Resolution, Kernel: s.Kernel, Expand: s.Expand,
		Model: s.Model, Interval: s.Interval, Architectures: s.Size().String(),
		Isomers: s.CountIsomers(false).String(), IsomersAll: s.CountIsomers(true).String(),
		Params: [2]int64{s.Model.Params(small), s.Model.Params(large)},
		MACs:   [2]int64{s.Model.MACs(small), s.Model.MACs(large)},
	}
}

func spacesCommand(g *global) *cobra.Command {
	c := &cobra.Command{Use: "spaces", Short: "List, count, describe, suggest and time search spaces", Example: "  prenas spaces list\n  prenas spaces describe tiny"}
	c.AddCommand(
		latencyCommand(g),
		suggestCommand(g),
		&cobra.Command{
			Use: "list", Short: "List the built-in spaces", Args: cobra.NoArgs, Example: "  prenas spaces list --json",
			RunE: func(*cobra.Command, []string) error {
				var all []spaceSummary
				for _, name := range space.Names() {
					s, err := space.Load(name)
					if err != nil {
						return err
					}
					all = append(all, summarize(s))
				}
				return g.printResult(all, func(w io.Writer) error { return printSpaces(w, all...) })
			},
		},
		&cobra.Command{
			Use: "count SPACE", ValidArgsFunction: completeFrom(space.Names), Short: "Count the architectures of a space", Args: cobra.ExactArgs(1), Example: "  prenas spaces count small",
			RunE: func(_ *cobra.Command, args []string) error {
				s, err := loadSpace("SPACE", args[0])
				if err != nil {
					return err
				}
				sum := summarize(s)
				return g.printResult(sum, func(w io.Writer) error {
					_, err := fmt.Fprintf(w, "%s: %s architectures; %s isomers with the original's splits, %s with all\n", sum.Name, sum.Architectures, sum.Isomers, sum.IsomersAll)
					return err
				})
			},
		},
		&cobra.Command{
			Use: "describe SPACE", ValidArgsFunction: completeFrom(space.Names), Short: "Describe a space and the range of its sizes", Args: cobra.ExactArgs(1), Example: "  prenas spaces describe my-space.yaml",
			RunE: func(_ *cobra.Command, args []string) error {
				s, err := loadSpace("SPACE", args[0])
				if err != nil {
					return err
				}
				sum := summarize(s)
				return g.printResult(sum, func(w io.Writer) error {
					if err := printSpaces(w, sum); err != nil {
						return err
					}
					choices := fmt.Sprintf("embed_dim %v  depth %v  num_heads %v  mlp_ratio %v", s.EmbedDim, s.Depth, s.NumHeads, s.MLPRatio)
					if s.Layers != nil {
						choices += fmt.Sprintf("\nblocks    most important first: %v", s.Layers)
					}
					if s.Reduced != nil {
						choices += "\nreduced: of these, each embedding dim and layer has those that its file lists"
					}
					if s.Model.IsConv() {
						choices = fmt.Sprintf("resolution %v  depth of each unit %v  kernel %v  expand %v", s.Resolution, s.Depth, s.Kernel, s.Expand)
					}
					_, err := fmt.Fprintf(w, "\n%s\nsupernet  %s\nmodel     %s\nsmallest  %s\nlargest   %s\n", choices, settings(reflect.ValueOf(s.Supernet)), settings(reflect.ValueOf(s.Model)), s.Smallest(), s.Largest())
					return err
				})
			},
		})
	return c
}

func printSpaces(w io.Writer, list ...spaceSummary) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "space\timages\tarchitectures\tisomers\tparameters M\tMACs G\tintervals M")
	for _, s := range list {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%.3g to %.3g\t%.3g to %.3g\t%g to %g by %g\n", s.Name, images(s),
			s.Architectures, s.Isomers, millions(s.Params[0]), millions(s.Params[1]), millions(s.MACs[0])/1e3, millions(s.MACs[1])/1e3,
			s.Interval.Min, s.Interval.Max, s.Interval.Step)
	}
	return t.Flush()
}

// settings lists the fields of a struct that are not zero, by their JSON names. Those of the other
// family are zero.
func settings(of reflect.Value) string {
	var text []string
	for i := range of.NumField() {
		if v := of.Field(i); !v.IsZero() {
			name, _, _ := strings.Cut(of.Type().Field(i).Tag.Get("json"), ",")
			text = append(text, name+" "+setting(v))
		}
	}
	return strings.Join(text, ", ")
}

func setting(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Struct:
		return "(" + settings(v) + ")"
	case reflect.Slice:
		var list []string
		for i := range v.Len() {
			list = append(list, setting(v.Index(i)))
		}
		return strings.Join(list, " ")
	}
	return fmt.Sprint(v)
}

// images is the side of a space's images in pixels: of a transformer side/patch, of a convolutional
// network from the least to the largest resolution.
func images(s spaceSummary) string {
	if len(s.Resolution) > 0 {
		if least := slices.Min(s.Resolution); least < s.Model.ImageSize {
			return fmt.Sprintf("%d to %d", least, s.Model.ImageSize)
		}
		return strconv.Itoa(s.Model.ImageSize)
	}
	return fmt.Sprintf("%d/%d", s.Model.ImageSize, s.Model.PatchSize)
}

func millions(n int64) float64 { return float64(n) / 1e6 }
