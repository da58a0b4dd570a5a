package main

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"text/tabwriter"
)

// room is a writer on which so many writes succeed.
type room struct {
	strings.Builder
	left int
}

func (r *room) Write(p []byte) (int, error) {
	if r.left--; r.left < 0 {
		return len(p) / 2, syscall.ENOSPC
	}
	return r.Builder.Write(p)
}

// Wherever the output ends, a table is written to its end, and the error is told.
func TestResultsThatCannotBePrinted(t *testing.T) {
	table := func(w *results) {
		for range 2 {
			columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
			for line := range 3 {
				fmt.Fprintf(columns, "name\t%d\t\n", line)
				if line == 1 {
					columns.Flush()
				}
			}
			columns.Flush()
		}
	}
	whole := &room{left: 1000}
	table(&results{to: whole})
	writes := 1000 - whole.left
	for left := range writes {
		some := &room{left: left}
		w := &results{to: some}
		table(w)
		if err := w.failed(); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("after %d of %d writes: %v", left, writes, err)
		}
		if !strings.HasPrefix(whole.String(), some.String()) {
			t.Errorf("after %d of %d writes: %q", left, writes, some.String())
		}
	}
	w := &results{to: &room{left: writes}}
	table(w)
	if w.failed() != nil {
		t.Error(w.failed())
	}
}
