//go:build linux && amd64

package faults

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"prenas/internal/rng"
)

// Campaign is many trials of one program.
type Campaign struct {
	Program  string   // prenas, absolute
	Commands []string // names (default: all; of a sample, those that are not slow)
	Kinds    []string // kind, or kind+kind (default: AllKinds)
	Every    int      // tries each so many-th operation (default 1)
	Sample   int      // so many trials, drawn from Seed, in place of all
	Seed     uint64
	At       int    // only the operation of this number; below 0: all
	Workers  int    // trials at once (default: one per core)
	Out      string // file of results; those that are in it are not tried again
	Keep     string // folder that keeps the folders of trials that failed
	Progress func(done, all, failed int)
}

// AllKinds are the kinds that a campaign tries: each alone, and pairs in two attempts.
var AllKinds = append(func() (all []string) {
	for _, k := range Kinds {
		all = append(all, string(k))
	}
	return all
}(), "kill+kill", "full+kill", "torn+torn", "eio+term")

// Run makes the trials and writes a table of them. failed counts those that went wrong.
func (c Campaign) Run(ctx context.Context, w io.Writer) (failed int, err error) {
	if c.Workers == 0 {
		c.Workers = runtime.NumCPU()
	}
	dir, err := os.MkdirTemp("", "prenas-faults-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return 0, err
	}
	began := time.Now()
	stages, err := c.stages(ctx, dir)
	if err != nil {
		return 0, err
	}
	trials, err := c.trials(stages)
	if err != nil {
		return 0, err
	}
	results, err := c.tryAll(ctx, stages, trials, dir)
	table(w, results)
	fmt.Fprintf(w, "%d of %d trials in %v\n", len(results), len(trials), time.Since(began).Round(time.Second))
	for _, r := range results {
		if len(r.Wrong) > 0 {
			failed++
		}
	}
	return failed, err
}

func (c Campaign) stages(ctx context.Context, dir string) (map[string]*stage, error) {
	stages := map[string]*stage{}
	for i := range Commands {
		command := &Commands[i]
		if len(c.Commands) > 0 && !slices.Contains(c.Commands, command.Name) || len(c.Commands) == 0 && c.Sample > 0 && command.Slow {
			continue
		}
		folder := filepath.Join(dir, command.Name)
		if err := os.Mkdir(folder, 0o755); err != nil {
			return nil, err
		}
		var err error
		if stages[command.Name], err = newStage(ctx, command, c.Program, folder); err != nil {
			return nil, err
		}
	}
	for _, name := range c.Commands {
		if stages[name] == nil {
			var known []string
			for _, command := range Commands {
				known = append(known, command.Name)
			}
			return nil, fmt.Errorf("unknown command %q: there are %s", name, strings.Join(known, ", "))
		}
	}
	return stages, nil
}

// trials are the trials to make. A sample takes the commands and kinds in turns, and of
// each first one operation of every place, then others.
func (c Campaign) trials(stages map[string]*stage) ([]Trial, error) {
	var lists [][]Trial
	for _, command := range Commands {
		s := stages[command.Name]
		if s == nil {
			continue
		}
		for _, kinds := range c.Kinds {
			parsed, err := parseKinds(kinds)
			if err != nil {
				return nil, err
			}
			r := rng.New(c.Seed, "trials of "+command.Name+" "+kinds)
			list := []Trial{}
			for round, ats := range s.places(parsed[0], r.Shuffle) {
				if s.Slow && round > 0 && c.At < 0 {
					break
				}
				for _, at := range ats {
					if at == c.At || c.At < 0 && (c.Sample > 0 || at%max(1, c.Every) == 0) {
						list = append(list, Trial{command.Name, kinds, at})
					}
				}
			}
			lists = append(lists, list)
		}
	}
	if c.Sample == 0 {
		return slices.Concat(lists...), nil
	}
	r := rng.New(c.Seed, "order of trials")
	r.Shuffle(len(lists), func(i, j int) { lists[i], lists[j] = lists[j], lists[i] })
	var sample []Trial
	for round, more := 0, true; more && len(sample) < c.Sample; round++ {
		more = false
		for _, list := range lists {
			if round < len(list) && len(sample) < c.Sample {
				sample, more = append(sample, list[round]), true
			}
		}
	}
	return sample, nil
}

// places are the numbers of the operations that a kind can strike: one of each place
// (a call and a file, or a file that is damaged), then a second of each, and so on; each list is in a drawn order.
func (s *stage) places(kind Kind, shuffle func(int, func(i, j int))) [][]int {
	var order []string
	at := map[string][]int{}
	n := 0
	if kind.damages() {
		for _, name := range s.made {
			order = append(order, name)
			for range s.before[name] {
				at[name] = append(at[name], n)
				n++
			}
		}
	}
	for _, o := range s.ended.Operations {
		if kind.damages() || o.Reads != kind.reads() {
			continue
		}
		if kind.strikes(o) {
			if at[o.place()] == nil {
				order = append(order, o.place())
			}
			at[o.place()] = append(at[o.place()], n)
		}
		n++
	}
	shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	for _, list := range at {
		shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	}
	var rounds [][]int
	for round := 0; ; round++ {
		var list []int
		for _, place := range order {
			if round < len(at[place]) {
				list = append(list, at[place][round])
			}
		}
		if list == nil {
			return rounds
		}
		rounds = append(rounds, list)
	}
}

// tryAll makes the trials that have no result yet, and returns those there are.
func (c Campaign) tryAll(ctx context.Context, stages map[string]*stage, trials []Trial, dir string) ([]Result, error) {
	results, err := c.earlier()
	if err != nil {
		return nil, err
	}
	var known []Trial
	for _, r := range results {
		known = append(known, r.Trial)
	}
	left := slices.DeleteFunc(slices.Clone(trials), func(t Trial) bool { return slices.Contains(known, t) })
	results = slices.DeleteFunc(results, func(r Result) bool { return !slices.Contains(trials, r.Trial) })
	out := io.Discard
	if c.Out != "" {
		file, err := os.OpenFile(c.Out, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		out = file
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	queue := make(chan Trial)
	go func() {
		defer close(queue)
		for _, t := range left {
			select {
			case queue <- t:
			case <-ctx.Done():
				return
			}
		}
	}()
	var lock sync.Mutex
	var workers sync.WaitGroup
	failed := 0
	for w := range c.Workers {
		workers.Go(func() {
			folder := filepath.Join(dir, fmt.Sprintf("trial%d", w))
			for t := range queue {
				r, err := stages[t.Command].try(ctx, t, folder)
				lock.Lock()
				if err == nil {
					results = append(results, *r)
					if len(r.Wrong) > 0 {
						failed++
						err = c.keep(folder, t)
					}
					if c.Progress != nil {
						c.Progress(len(results), len(trials), failed)
					}
					err = errors.Join(err, json.NewEncoder(out).Encode(r), os.RemoveAll(folder))
				}
				lock.Unlock()
				if err != nil {
					cancel(fmt.Errorf("%s, %s at %d: %w", t.Command, t.Kinds, t.At, err))
					return
				}
			}
		})
	}
	workers.Wait()
	return results, context.Cause(ctx)
}

// keep copies the folder of a trial that failed.
func (c Campaign) keep(folder string, t Trial) error {
	if c.Keep == "" {
		return nil
	}
	return os.CopyFS(filepath.Join(c.Keep, fmt.Sprintf("%s-%s-%d", t.Command, t.Kinds, t.At)), os.DirFS(folder))
}

// earlier are the results that the file of results has. A last line that was cut is none.
func (c Campaign) earlier() ([]Result, error) {
	if c.Out == "" {
		return nil, nil
	}
	text, err := os.ReadFile(c.Out)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	whole := text[:bytes.LastIndexByte(text, '\n')+1]
	if len(whole) < len(text) {
		if err := os.Truncate(c.Out, int64(len(whole))); err != nil {
			return nil, err
		}
	}
	var list []Result
	lines := bufio.NewScanner(bytes.NewReader(whole))
	for lines.Scan() {
		var r Result
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("%s: %w", c.Out, err)
		}
		list = append(list, r)
	}
	return list, lines.Err()
}

// table writes how many trials of each command and kind went wrong, and how.
func table(w io.Writer, results []Result) {
	type cell struct{ tried, failed int }
	cells := map[[2]string]*cell{}
	var commands, kinds []string
	for _, r := range results {
		key := [2]string{r.Command, r.Kinds}
		if cells[key] == nil {
			cells[key] = &cell{}
		}
		cells[key].tried++
		if len(r.Wrong) > 0 {
			cells[key].failed++
		}
		if !slices.Contains(commands, r.Command) {
			commands = append(commands, r.Command)
		}
		if !slices.Contains(kinds, r.Kinds) {
			kinds = append(kinds, r.Kinds)
		}
	}
	slices.Sort(commands)
	slices.SortFunc(kinds, func(a, b string) int { return slices.Index(AllKinds, a) - slices.Index(AllKinds, b) })
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(columns, "failed/tried\t%s\t\n", strings.Join(kinds, "\t"))
	for _, command := range commands {
		fmt.Fprintf(columns, "%s\t", command)
		for _, kind := range kinds {
			if c := cells[[2]string{command, kind}]; c != nil {
				fmt.Fprintf(columns, "%d/%d", c.failed, c.tried)
			}
			fmt.Fprint(columns, "\t")
		}
		fmt.Fprintln(columns)
	}
	_ = columns.Flush() // an error of w comes up at the next line
	for _, r := range results {
		for _, wrong := range r.Wrong {
			fmt.Fprintf(w, "%s, %s at %d: %s\n", r.Command, r.Kinds, r.At, wrong)
		}
	}
}
