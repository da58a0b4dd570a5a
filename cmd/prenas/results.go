package main

import (
	"fmt"
	"io"
	"os"
)

// results is where a command writes what it found: standard output. Write never fails, and the first
// error is kept for the end of the command. So a table can be written without a check after each
// line; text/tabwriter would panic if it were used after an error.
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

// failed is the first error, if there was one. It says that results are lost.
func (r *results) failed() error {
	if r.err == nil {
		return nil
	}
	return fmt.Errorf("the results could not be printed: %w", r.err)
}
