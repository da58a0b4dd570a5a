package main

import (
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"prenas/internal/data/source"
	"prenas/internal/job"
	"prenas/internal/recipe"
	"prenas/internal/rundir"
	"prenas/pkg/space"
)

// completion is a function that completes a word for a shell.
type completion = func(c *cobra.Command, args []string, text string) ([]string, cobra.ShellCompDirective)

// completeFrom completes names and files.
func completeFrom(names func() []string) completion {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return names(), cobra.ShellCompDirectiveDefault
	}
}

// completeArch completes the architectures of the run that the first argument names.
func completeArch(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	candidates, err := space.ReadCandidates(filepath.Join(args[0], rundir.CandidatesFile))
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, bin := range candidates {
		for _, c := range bin.Candidates {
			names = append(names, c.Arch.String())
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeSource completes SRC: first its kind, then the path after the colon.
func completeSource(_ *cobra.Command, _ []string, text string) ([]string, cobra.ShellCompDirective) {
	kind, path, found := strings.Cut(text, ":")
	if !found {
		return source.Kinds(), cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
	}
	paths, _ := filepath.Glob(path + "*") // a malformed pattern matches nothing
	for i := range paths {
		paths[i] = kind + ":" + paths[i]
	}
	return paths, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
}

// addCompletions adds the completion of flags to every command that has them.
func addCompletions(root *cobra.Command) {
	flags := map[string]completion{
		"recipe": completeFrom(recipe.Names), "space": completeFrom(space.Names), "data": completeSource, "arch": completeArch, "sampler": completeFrom(recipe.SamplerNames),
		"family": completeFrom(func() []string { return job.Families }), "precision": completeFrom(func() []string { return []string{"float32", "bf16", "auto"} }),
	}
	for _, c := range allCommands(root) {
		for flag, complete := range flags {
			if c.Flags().Lookup(flag) != nil {
				_ = c.RegisterFlagCompletionFunc(flag, complete) // it fails only for a flag that has a completion already
			}
		}
	}
}
