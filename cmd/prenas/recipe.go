package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"prenas/internal/recipe"
)

// recipeText is a recipe as --json prints it.
type recipeText struct {
	Name   string        `json:"name"`
	Text   string        `json:"text"`   // the file, with its comments
	Values recipe.Recipe `json:"values"` // every value, also those that the file leaves out
}

func recipeCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "recipe [NAME]", Short: "Print a recipe of training to start from, or list them", Args: cobra.MaximumNArgs(1),
		Long: "A recipe is a YAML file with everything that decides a training. Without NAME the built-in ones are\n" +
			"listed; with it, the file of one is printed, to be changed and given to --recipe. --recipe takes the\n" +
			"manifest.json of a run too, which has every value that the run used.",
		Example:           "  prenas recipe\n  prenas recipe images > mine.yaml",
		ValidArgsFunction: completeFrom(recipe.Names),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return g.printResult(recipe.Names(), func(w io.Writer) error {
					for _, name := range recipe.Names() {
						text, err := recipe.Text(name)
						if err != nil {
							return err
						}
						if _, err := fmt.Fprintf(w, "%-22s %s\n", name, about(string(text))); err != nil {
							return err
						}
					}
					return nil
				})
			}
			text, err := recipe.Text(args[0])
			if err != nil {
				return usageError{err}
			}
			values, err := recipe.Load(args[0])
			if err != nil {
				return err
			}
			return g.printFile(recipeText{args[0], string(text), values}, text)
		},
	}
}

// about is the beginning of a recipe's comment, up to a colon or a full stop. Where that is too long
// for a line it ends at a comma.
func about(text string) string {
	const width = columns - 24
	var words []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(strings.TrimPrefix(line, "#"))
		if line == "" {
			break
		}
		words = append(words, strings.Fields(line)...)
	}
	said := strings.Join(words, " ")
	for _, end := range []string{": ", ". "} {
		said, _, _ = strings.Cut(said, end)
	}
	for len(said) > width {
		at := strings.LastIndex(said, ",")
		if at < 0 {
			break
		}
		said = said[:at]
	}
	return said
}
