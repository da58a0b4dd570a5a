package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"prenas/internal/engine"
	"prenas/internal/machine"
	"prenas/internal/printable"
	"prenas/internal/ranks"
	"prenas/internal/train"
	"prenas/internal/trainstep"
)

// sharedByRanks is the annotation of commands whose work several ranks share.
const sharedByRanks = "shared by ranks"

// shared marks a command with it.
func shared(c *cobra.Command) *cobra.Command {
	if c.Annotations == nil {
		c.Annotations = map[string]string{}
	}
	c.Annotations[sharedByRanks] = "yes"
	return c
}

// speaks tells whether this process is the one that prints. Of several ranks it is the first.
func speaks() bool {
	rank, _ := ranks.Launched()
	return rank == 0
}

// join connects this process with the others of a launcher, before the command c begins.
func (g *global) join(c *cobra.Command) error {
	_, size := ranks.Launched()
	switch {
	case size <= 1:
		return nil
	case c.Annotations[sharedByRanks] == "":
		return usagef("%s is the work of one process, and %d were started: start it without mpirun or srun, or with -n 1", c.CommandPath(), size)
	case g.devices > 1:
		return usagef("--devices %d: each of the %s has one device; leave --devices out", g.devices, printable.Count(size, "rank"))
	}
	var err error
	g.asked = true
	if g.ranks, err = ranks.Open(); err != nil {
		return err
	}
	return g.takeCores()
}

// takeCores gives each rank of a host its share of the processors. It warns where the launcher lets
// the ranks use only some of them.
func (g *global) takeCores() error {
	_, local := g.ranks.Local()
	own, all := runtime.GOMAXPROCS(0), onlineProcessors()
	share := max(1, all/local)
	if own < share {
		g.ranks.Warn(fmt.Sprintf("may run on %d of the %s that each of its host's %s could have: the launcher binds it; "+
			"give mpirun --bind-to none, or --map-by ppr:%d:node:PE=%d", own, printable.Count(share, "processor"), printable.Count(local, "rank"), local, share))
	}
	if g.threads > 0 || own <= share || os.Getenv("GOMAXPROCS") != "" {
		return nil
	}
	runtime.GOMAXPROCS(share)
	return engine.SetThreads(share)
}

// end ends what a command came to on this rank, with all others, and returns the exit code.
func (g *global) end(err error, text string) int {
	if err == nil {
		err = g.ranks.Close()
		if err == nil {
			return 0
		}
		text = sentence(err)
	}
	code := exitFailed
	var usage usageError
	if errors.As(err, &usage) {
		code = exitUsage
	}
	if g.ranks == nil && !g.asked {
		// It ended before it joined the others. Not every launcher ends them with it, and most often they say the same.
		g.ranks, _ = ranks.OpenWithin(firstSpeaks) // where that fails they are ended or told apart
	}
	switch {
	case g.ranks == nil:
		if !speaks() { // what all ranks meet is printed by the first, and the launcher ends them
			time.Sleep(firstSpeaks)
			text = ranks.LaunchedName() + ": " + text
		}
		fmt.Fprintln(os.Stderr, fold("prenas: "+printable.Message(text), widthOf(os.Stderr)))
	case errors.Is(err, train.ErrInterrupted): // all ranks were interrupted, in the same step
		if speaks() {
			fmt.Fprintln(os.Stderr, fold("prenas: "+printable.Message(text), widthOf(os.Stderr)))
		}
		if err := g.ranks.Close(); err != nil {
			g.ranks.Abort(code, printable.Message(sentence(err)))
		}
	case speaks():
		g.ranks.Abort(code, printable.Message(text))
	default:
		// An error that all ranks have is printed by the first, which then ends them all.
		time.Sleep(firstSpeaks)
		g.ranks.Abort(code, printable.Message(g.ranks.Name(g.ranks.Rank())+": "+text))
	}
	return code
}

// firstSpeaks is how long other ranks wait for the first one to print the same error.
const firstSpeaks = 5 * time.Second

// mpiDiagnosis is how several ranks work together.
type mpiDiagnosis struct {
	Library   string   `json:"library"`
	Ranks     []string `json:"ranks"` // and the device of each
	Hosts     int      `json:"hosts"`
	SumMS     float64  `json:"sum_ms"`     // of gradients of gradientMB, over all ranks: the best of sums
	HostBytes int64    `json:"host_bytes"` // the most that a host sends to the others for it
}

const (
	gradientMB = 20
	sums       = 5
)

// diagnoseMPI measures with all ranks; nil where this process is alone.
func (g *global) diagnoseMPI(e *engine.Engine) (*mpiDiagnosis, error) {
	w := e.Ranks()
	if w.Size() == 1 {
		return nil, nil
	}
	d := &mpiDiagnosis{Library: w.Library(), Hosts: len(w.Hosts())}
	device := printable.Count(runtime.GOMAXPROCS(0), "processor")
	if kind, _, _ := strings.Cut(g.backend, ":"); kind == "cuda" {
		local, _ := w.Local()
		device = fmt.Sprintf("GPU %d", local)
	}
	devices, err := w.Gather("the devices", []byte(device))
	if err != nil {
		return nil, err
	}
	for rank, device := range devices {
		d.Ranks = append(d.Ranks, fmt.Sprintf("%s: %s", w.Name(rank), device))
	}
	cost, err := trainstep.MeasureSumsOf(e, gradientMB*1e6/4, sums)
	d.SumMS, d.HostBytes = cost.Took.Seconds()*1e3, cost.HostBytes
	return d, err
}

// print is for a person.
func (d *mpiDiagnosis) print(w io.Writer) {
	fmt.Fprintf(w, "MPI         %s\n", d.Library)
	for _, rank := range d.Ranks {
		fmt.Fprintf(w, "            %s\n", rank)
	}
	fmt.Fprintf(w, "            %.1f ms to add gradients of %d MB, the best of %d", d.SumMS, gradientMB, sums)
	if d.Hosts > 1 {
		fmt.Fprintf(w, "; each of %s adds its own first, and sends %s to the others at most", printable.Count(d.Hosts, "host"), machine.Bytes(float64(d.HostBytes)))
	}
	fmt.Fprintln(w)
}
