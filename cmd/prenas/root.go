package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"prenas/internal/engine"
	"prenas/internal/nearest"
	"prenas/internal/printable"
	"prenas/internal/ranks"
	"prenas/internal/version"
	"prenas/pkg/space"
)

// usageError is an error in the flags or arguments.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// global are the flags of every command.
type global struct {
	backend string
	devices int
	threads int
	seed    uint64
	json    bool
	quiet   bool

	ranks *ranks.World // nil: this process works alone, or has not joined the others
	asked bool         // to join them
}

func newRoot() *cobra.Command { return rootOf(&global{}) }

func rootOf(g *global) *cobra.Command {
	root := &cobra.Command{
		Use:   "prenas",
		Short: "One training run, a family of efficient vision models",
		Long: `prenas scores every block of a supernet once, at initialisation, picks the one
architecture worth training for each size budget, trains a single weight-sharing
supernet on only those, and hands you a finished model per budget.

The exit code is 0, or 1 where something failed, 2 where other flags or arguments
are needed, and 70 for a fault of prenas itself.`,
		Example:       "  prenas quickstart\n  prenas search --space tiny --out candidates.json",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
	}
	root.PersistentPreRunE = func(c *cobra.Command, _ []string) error {
		if err := expandHomes(c.Flags()); err != nil {
			return err
		}
		if err := checkLimits(c); err != nil {
			return err
		}
		if g.threads > 0 {
			if err := engine.SetThreads(g.threads); err != nil {
				return err
			}
		}
		return g.join(c)
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		var value *pflag.InvalidValueError
		var number *strconv.NumError
		if errors.As(err, &value) && errors.As(err, &number) {
			if kind, known := numbers[value.GetFlag().Value.Type()]; known {
				return usagef("--%s is %q, it must be %s; see %s --help", value.GetFlag().Name, value.GetValue(), kind, c.CommandPath())
			}
		}
		if unknown := (*pflag.NotExistError)(nil); errors.As(err, &unknown) {
			return usagef("%w%s; see %s --help", err, meantFlag(c, unknown.GetSpecifiedName()), c.CommandPath())
		}
		return usagef("%w; see %s --help", err, c.CommandPath())
	})
	f := root.PersistentFlags()
	f.StringVar(&g.backend, "backend", "auto", "auto, xla, cuda, either with :/path/to/plugin.so, or go (slow, needs no plug-in)")
	f.IntVar(&g.devices, "devices", 1, "devices that share each batch of training and of eval RUN, the first ones there are; a CPU is divided into as many")
	f.IntVar(&g.threads, "threads", 0, "threads of a CPU that share the work of training and predicting; 0: as many as this process may run at once, by its affinity and its cgroup's quota")
	f.Uint64Var(&g.seed, "seed", 0, "seed of everything random")
	f.BoolVar(&g.json, "json", false, "print one JSON value instead of text")
	f.BoolVar(&g.quiet, "quiet", false, "print results, warnings and errors only")
	for _, add := range []func(*global) *cobra.Command{
		quickstartCommand, shrinkCommand, importCommand, searchCommand, explainCommand, auditCommand, recipeCommand, trainCommand, finetuneCommand, evalCommand, reportCommand, watchCommand, boardCommand, exportCommand, predictCommand, serveCommand,
		checkCommand, dataCommand, spacesCommand, doctorCommand, manCommand,
	} {
		root.AddCommand(add(g))
	}
	root.Version = version.String()
	root.SetVersionTemplate("prenas {{.Version}}\n")
	root.InitDefaultHelpCmd()
	for _, c := range allCommands(root) {
		if c.Name() == "help" && c.Parent() == root {
			strictHelp(c)
			continue
		}
		markUsageErrors(c)
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if f.DefValue == "[]" && strings.HasPrefix(f.Value.Type(), "float") { // pflag would print (default [])
				f.DefValue = ""
			}
		})
	}
	addCompletions(root)
	cobra.AddTemplateFunc("terminalWidth", func() int { return widthOf(os.Stdout) })
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages ", ".FlagUsagesWrapped terminalWidth "))
	foldHelp(root)
	return root
}

// foldHelp makes help fit the terminal that it is printed to.
func foldHelp(root *cobra.Command) {
	help := root.HelpFunc()
	root.SetHelpFunc(func(c *cobra.Command, args []string) {
		width := widthOf(os.Stdout)
		if width == 0 {
			help(c, args)
			return
		}
		out, long := c.OutOrStdout(), c.Long
		c.SetOut(&folding{to: out, width: width})
		c.Long = paragraphs(long, width)
		help(c, args)
		c.SetOut(out)
		c.Long = long
	})
}

// strictHelp makes it an error to ask for the help of a command that does not exist.
func strictHelp(help *cobra.Command) {
	help.Run = nil
	help.RunE = func(c *cobra.Command, args []string) error {
		at := c.Root()
		for _, name := range args {
			sub := slices.IndexFunc(at.Commands(), func(c *cobra.Command) bool { return c.Name() == name })
			if sub < 0 {
				return usagef("unknown command %q%s; see %s --help", name, meant(at, name), at.CommandPath())
			}
			at = at.Commands()[sub]
		}
		at.InitDefaultHelpFlag()
		return at.Help()
	}
}

// expandHomes replaces ~ by the home folder at the beginning of values of flags. Shells do not do it
// in --weights=~/w.safetensors, nor after a colon, as in --backend xla:~/p.so. A SRC stays as it was
// given, since package data expands it.
func expandHomes(flags *pflag.FlagSet) (failed error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return nil // without a home folder ~ is an ordinary name
	}
	expand := func(path string) string {
		kind, rest, found := strings.Cut(path, ":")
		switch {
		case path == "~", strings.HasPrefix(path, "~/"):
			return filepath.Join(home, path[1:])
		case found && strings.HasPrefix(rest, "~/"):
			return kind + ":" + filepath.Join(home, rest[1:])
		}
		return path
	}
	flags.Visit(func(f *pflag.Flag) {
		if f.Name == "data" {
			return
		}
		if list, is := f.Value.(pflag.SliceValue); is {
			paths := list.GetSlice()
			for i := range paths {
				paths[i] = expand(paths[i])
			}
			failed = errors.Join(failed, list.Replace(paths))
		} else if f.Value.Type() == "string" {
			failed = errors.Join(failed, f.Value.Set(expand(f.Value.String())))
		}
	})
	return failed
}

// numbers are names of flags' types for people.
var numbers = map[string]string{"int": "a whole number", "uint64": "a whole number that is not negative", "float64": "a number", "float64Slice": "numbers, with commas between them", "bool": "true or false"}

func allCommands(c *cobra.Command) []*cobra.Command {
	list := []*cobra.Command{c}
	for _, sub := range c.Commands() {
		list = append(list, allCommands(sub)...)
	}
	return list
}

// markUsageErrors makes wrong arguments of a command usage errors.
func markUsageErrors(c *cobra.Command) {
	check := c.Args
	c.Args = func(c *cobra.Command, args []string) error {
		if c.HasSubCommands() && len(args) > 0 {
			return usagef("unknown command %q%s; see %s --help", args[0], meant(c, args[0]), c.CommandPath())
		}
		if check != nil && check(c, args) != nil {
			_, takes, _ := strings.Cut(c.Use, " ")
			name := strings.TrimPrefix(c.CommandPath(), c.Root().Name()+" ")
			return usagef("%s takes %s, got %s; see %s --help", name, cmp.Or(takes, "flags only"), quoted(args), c.CommandPath())
		}
		return nil
	}
	if c.HasSubCommands() {
		c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	}
}

// quoted writes arguments for people.
func quoted(args []string) string {
	var all []string
	for _, a := range args {
		all = append(all, strconv.Quote(a))
	}
	return cmp.Or(strings.Join(all, " "), "nothing")
}

// meant is a question for the sub-command that a misspelt one most likely is.
func meant(c *cobra.Command, written string) string {
	var names []string
	for _, sub := range c.Commands() {
		names = append(names, sub.Name())
	}
	name, edits := nearest.Name(written, names)
	if edits > 2 {
		return ""
	}
	return ", did you mean " + name + "?"
}

// meantFlag is the like for a flag.
func meantFlag(c *cobra.Command, written string) string {
	var names []string
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	name, edits := nearest.Name(written, names)
	if len(written) < 2 || edits > 2 {
		return ""
	}
	return ", did you mean --" + name + "?"
}

// open opens the engine, telling each step of finding the plug-in.
func (g *global) open(ctx context.Context, out *console) (*engine.Engine, error) {
	return g.openTelling(ctx, out.line)
}

func (g *global) openTelling(ctx context.Context, log func(string)) (*engine.Engine, error) {
	e, err := engine.Open(ctx, engine.Options{Backend: g.backend, Devices: g.devices, Ranks: g.ranks, Stop: ctx.Done(), Log: log})
	if errors.Is(err, engine.ErrBackend) {
		return nil, usageError{err}
	}
	if err == nil {
		err = e.SameOnRanks()
	}
	return e, err
}

// loadSpace reads the space that a flag or argument names. A name that is neither a built-in space nor
// a file is a usage error. A file that is no valid space is an ordinary error.
func loadSpace(by, nameOrFile string) (*space.Space, error) {
	s, err := space.Load(nameOrFile)
	if errors.Is(err, space.ErrUnknownSpace) {
		return nil, usagef("%s: %w", by, err)
	}
	return s, err
}

// printJSON writes a value as one indented JSON text.
func printJSON(w io.Writer, value any) error {
	text, err := json.MarshalIndent(value, "", "  ")
	if err == nil {
		_, err = w.Write(append(printable.JSON(text), '\n'))
	}
	return err
}

// printResult writes what a command found: a text for people, or with --json the value as JSON.
func (g *global) printResult(value any, text func(w io.Writer) error) error {
	if !g.ranks.First() {
		return nil
	}
	w := newResults()
	var err error
	if g.json {
		err = printJSON(w, value)
	} else {
		folded := &folding{to: w, width: widthOf(os.Stdout)}
		err = cmp.Or(text(printable.Writer(folded)), folded.end())
	}
	return cmp.Or(err, w.failed())
}

// printFile is printResult of the text of a file, whose lines are not folded.
func (g *global) printFile(value any, text []byte) error {
	if g.json || !g.ranks.First() {
		return g.printResult(value, nil)
	}
	w := newResults()
	_, err := printable.Writer(w).Write(text)
	return cmp.Or(err, w.failed())
}
