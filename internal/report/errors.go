package report

import "errors"

// ErrIncomplete: the run directory lacks a file that the report is made from, or has one
// that cannot be read. The error's text names the file and the command that writes it.
var ErrIncomplete = errors.New("the run is not complete")
