package main

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"prenas/internal/job"
)

// bound is the least and the most that a number may be. The upper ends are far above any use. They
// are low enough that a size that is computed from several of them does not overflow.
type bound struct{ least, most float64 }

// limits of numeric flags by name. A command with tighter limits checks these itself.
var limits = map[string]bound{
	"archs":         {2, 1 << 20},
	"batch":         {1, 1 << 16},
	"batches":       {1, 1 << 16},
	"body":          {1, 1 << 16}, // megabytes
	"check":         {0, 1 << 10},
	"crops":         {1, 10},
	"crossover":     {1, 1 << 20},
	"depth-prob":    {1e-6, 1},
	"devices":       {1, 1 << 10},
	"epochs":        {1, 1 << 20},
	"every":         {0.001, 86400}, // seconds
	"generations":   {1, 1 << 20},
	"grace":         {0, 86400}, // seconds, as all times
	"head-dim":      {1, 1 << 12},
	"image-size":    {1, 1 << 13},
	"trained-size":  {0, 1 << 13},
	"images":        {1, 1 << 40},
	"interval":      {0, 1e12},
	"latency":       {0, 1e12}, // milliseconds
	"latency-batch": {1, 1 << 16},
	"lr":            {1e-12, 100},
	"layer-decay":   {0, 1},
	"mutation":      {1, 1 << 20},
	"mutation-prob": {1e-6, 1},
	"near":          {0, 1 << 30},
	"norm-eps":      {0, 1},
	"opset":         {1, 1 << 10},
	"patience":      {0, 100000},
	"pixels":        {1, 1 << 14}, // millions
	"population":    {1, 1 << 20},
	"queue":         {1, 1 << 20},
	"recalibrate":   {0, 1 << 20},
	"reload":        {0, 86400},
	"requests":      {1, 1 << 20},
	"resamples":     {1, 1 << 20},
	"sample":        {1, 1 << 40},
	"seed":          {0, math.MaxUint64},
	"seeds":         {1, 1 << 16},
	"select":        {1, 1 << 20},
	"shortlist":     {2, 1 << 20},
	"size":          {0, 1 << 14},
	"threads":       {0, 1 << 10},
	"timeout":       {0, 86400},
	"top":           {1, 1 << 20},
	"within":        {0, 86400},
	"workers":       {0, 1 << 12},
}

func init() {
	for _, cost := range job.Costs() {
		limits["min-"+cost.Name], limits["max-"+cost.Name] = bound{0, 1e12}, bound{0, 1e12}
	}
}

// checkLimits returns a usage error if a number that was given is out of its limits.
func checkLimits(c *cobra.Command) (err error) {
	c.Flags().Visit(func(f *pflag.Flag) {
		if l, has := limits[f.Name]; has && err == nil {
			err = l.check(f)
		}
	})
	return err
}

func (l bound) check(f *pflag.Flag) error {
	value := f.Value.String()
	number, err := strconv.ParseFloat(value, 64)
	if f.Value.Type() == "duration" {
		var d time.Duration
		d, err = time.ParseDuration(value)
		number = d.Seconds()
	}
	switch {
	case err != nil:
		return nil // a flag of this name that is a text in this command
	case math.IsNaN(number):
		return usagef("--%s is %s, it must be a number, at least %s", f.Name, value, l.text(f, l.least))
	case number < l.least:
		return usagef("--%s is %s, it must be at least %s", f.Name, value, l.text(f, l.least))
	case number > l.most:
		return usagef("--%s is %s, it must be at most %s", f.Name, value, l.text(f, l.most))
	}
	return nil
}

// text writes one end of the limits as a value of the flag.
func (bound) text(f *pflag.Flag, end float64) string {
	if f.Value.Type() == "duration" {
		return time.Duration(end * float64(time.Second)).String()
	}
	if end == math.Trunc(end) && end < 1<<53 {
		return strconv.FormatInt(int64(end), 10)
	}
	return fmt.Sprint(end)
}
