package main

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

var numeric = []string{"int", "int64", "uint64", "uint", "float64", "duration"}

// Every number that a command takes has limits, and values beyond them are usage errors
// that say what would do.
func TestNumbersHaveLimits(t *testing.T) {
	seen := map[string]bool{}
	for _, command := range allCommands(newRoot()) {
		command.InheritedFlags() // adds them to Flags
		command.Flags().VisitAll(func(f *pflag.Flag) {
			if !slices.Contains(numeric, f.Value.Type()) {
				return
			}
			seen[f.Name] = true
			own, has := limits[f.Name]
			if !has {
				t.Errorf("%s --%s has no limits", command.CommandPath(), f.Name)
			}
			for _, value := range []string{"-1", "2147483648", "9223372036854775807", "NaN", "+Inf", "-Inf", "1e308", "1000000h", "-1s"} {
				if f.Name == "seed" || f.Value.Set(value) != nil {
					continue // what is no such number is refused where it is read
				}
				err := own.check(f)
				if err == nil && !(value == "2147483648" && own.most >= math.MaxInt32) {
					t.Errorf("%s --%s %s passes", command.CommandPath(), f.Name, value)
				} else if err != nil && (!strings.Contains(err.Error(), "--"+f.Name) || !strings.Contains(err.Error(), "must be")) {
					t.Errorf("%s --%s %s: %v", command.CommandPath(), f.Name, value, err)
				}
			}
		})
	}
	for name := range limits {
		if !seen[name] {
			t.Errorf("limits of --%s, which no command has", name)
		}
	}
}

// The ends themselves are allowed.
func TestEndsOfLimits(t *testing.T) {
	for value, fits := range map[string]bool{"0": false, "1": true, "65536": true, "65537": false} {
		c := &cobra.Command{}
		c.Flags().Int("batch", 1, "")
		if err := c.Flags().Set("batch", value); err != nil {
			t.Fatal(err)
		}
		if err := checkLimits(c); (err == nil) != fits {
			t.Errorf("--batch %s: %v", value, err)
		}
	}
}
