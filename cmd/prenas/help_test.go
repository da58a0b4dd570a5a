package main

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// Help shows no value of a list that is not given, and of numbers what they look like.
func TestHelpOfLists(t *testing.T) {
	for _, c := range allCommands(newRoot()) {
		text := c.UsageString()
		for _, odd := range []string{"(default [])", "(default )", "float64Slice", "float32Slice"} {
			if strings.Contains(text, odd) {
				t.Errorf("%s --help says %q", c.CommandPath(), odd)
			}
		}
	}
}

// The help of every command fits a narrow terminal: only single words are wider.
func TestHelpFitsTheTerminal(t *testing.T) {
	for _, width := range []string{"80", "60"} {
		t.Setenv("COLUMNS", width)
		most, _ := strconv.Atoi(width)
		for _, c := range allCommands(newRoot()) {
			if c.Name() == "help" {
				continue // that of the root
			}
			var text bytes.Buffer
			c.SetOut(&text)
			if err := c.Help(); err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(text.String()) {
				line = strings.TrimRight(line, "\\ \n")
				if utf8.RuneCountInString(line) > most && strings.ContainsRune(strings.TrimSpace(line), ' ') {
					t.Errorf("%s --help has %d columns in %s: %s", c.CommandPath(), utf8.RuneCountInString(line), width, line)
				}
			}
		}
	}
}

// A mistyped flag is answered with the one that was meant, one that is like none with none.
func TestMistypedFlags(t *testing.T) {
	for args, want := range map[string]string{
		"train --epoch 3":     "unknown flag: --epoch, did you mean --epochs?; see prenas train --help",
		"search --seeed 3":    "unknown flag: --seeed, did you mean --seed?; see prenas search --help",
		"eval run --flatland": "unknown flag: --flatland; see prenas eval --help",
	} {
		root := newRoot()
		root.SetArgs(strings.Fields(args))
		var wrong usageError
		if err := root.Execute(); !errors.As(err, &wrong) || err.Error() != want {
			t.Errorf("%s: %v, want %s", args, err, want)
		}
	}
}
