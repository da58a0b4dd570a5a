// Command prenas searches, trains, evaluates and hands out families of
// efficient vision models. One file per command; all work is in internal/.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"prenas/internal/crash"
	"prenas/internal/foreign"
	"prenas/internal/printable"
	_ "prenas/pkg/prenas/pool" // XLA on a CPU is faster with it
)

// Exit codes.
const (
	exitFailed = 1
	exitUsage  = 2
	exitCrash  = 70 // a fault of prenas itself, as sysexits.h has it: EX_SOFTWARE
)

func main() {
	os.Exit(run())
}

// crashed ends the process after a panic.
func crashed(why any, stack []byte) {
	fmt.Fprintf(os.Stderr, "prenas: it met a fault of its own, which is no mistake of yours: %s\n"+
		"What was written before is whole. Please report the command, prenas doctor's text and the lines below.\n\n%s",
		printable.Message(fmt.Sprint(why)), printable.Text(string(stack)))
	os.Exit(exitCrash)
}

func run() int {
	crash.Handle(crashed)
	defer crash.Recover()
	say := func(text string) {
		fmt.Fprintln(os.Stderr, fold("prenas: "+printable.Message(text), widthOf(os.Stderr)))
	}
	if err := foreign.Restart(say); err != nil {
		say(err.Error())
		return exitFailed
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	tell := io.Writer(os.Stderr)
	if !speaks() {
		tell = io.Discard
	}
	g := &global{}
	stopOnSignal(tell, func() { cancel(context.Canceled) }, func() { os.Exit(exitFailed) })

	root := rootOf(g)
	if !speaks() {
		root.SetOut(io.Discard) // of help
	}
	command, err := root.ExecuteContextC(ctx)
	if err == nil {
		return g.end(nil, "")
	}
	return g.end(err, sentence(err)+hint(command, err))
}

// sentence is the text of an error for the user. Where Ctrl-C ended the command it says so in place
// of the text of context.Canceled.
func sentence(err error) string {
	if errors.Is(err, context.Canceled) {
		return strings.ReplaceAll(err.Error(), context.Canceled.Error(), "stopped before it was done")
	}
	return err.Error()
}
