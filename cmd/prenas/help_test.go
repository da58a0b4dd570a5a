package main

import (
	"strings"
	"testing"
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
