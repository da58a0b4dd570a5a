package main

import (
	"fmt"
	"io"
	"os"
)

// results is where a command writes what it found: standard output. It keeps the first
// error and takes what comes after it, so that whoever writes a table need not look after
// each line; a text/tabwriter whose caller goes on after an error even panics.
type results struct {
	to  io.Writer
	err error
}

func newResults() *results { return &results{to: os.Stdout} }

// Write implements io.Writer. It never fails.
func (r *results) Write(p []byte) (int, error) {
	if r.err == nil {
		_, r.err = r.to.Write(p)
	}
	return len(p), nil
}

// failed is the first error, told as what it means: results are lost.
func (r *results) failed() error {
	if r.err == nil {
		return nil
	}
	return fmt.Errorf("the results could not be printed: %w", r.err)
}
