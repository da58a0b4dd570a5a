// Package program is how benchmarks and examples start, and end when they are interrupted.
package program

import (
	"context"
	"fmt"
	"os"
	"os/signal"
)

// Main runs a command until it ends or is interrupted. An error is printed after the command's
// name, and the exit code is 1.
func Main(name string, run func(context.Context) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}
