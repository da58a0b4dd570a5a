//go:build linux && amd64

package faults

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"prenas/internal/rng"
)

// Trial is one fault of one command, or two in two attempts that follow each other.
type Trial struct {
	Command string `json:"command"`
	Kinds   string `json:"kinds"` // kind, or kind+kind
	At      int    `json:"at"`    // operation of the first, or byte; where the second strikes is drawn from all of this
}

// Result of a trial. It went well if nothing is wrong.
type Result struct {
	Trial
	Struck  string   `json:"struck,omitempty"` // operations that the faults met
	Wrong   []string `json:"wrong,omitempty"`
	Seconds float64  `json:"seconds"`
}

const (
	outputFile = "stdout" // what a command prints, in its folder: a disk that is full is full for that too
	limit      = 2 * time.Minute
)

// stage holds what all trials of a command share.
type stage struct {
	*Command
	program string
	start   string   // folder with what the command begins with
	before  contents // of that folder
	made    []string // files of it that prenas wrote
	clean   contents // after the command alone
	ended   *Ended
}

// newStage prepares a command below a folder, and runs it twice without a fault: what
// differs between the two has no place in a comparison, and is an error.
func newStage(ctx context.Context, c *Command, program, dir string) (*stage, error) {
	s, err := prepared(ctx, c, program, filepath.Join(dir, "start"))
	for i := 0; i < 2 && err == nil; i++ {
		err = s.undisturbed(ctx, filepath.Join(dir, fmt.Sprintf("clean%d", i)))
	}
	if err != nil {
		return nil, fmt.Errorf("%s without a fault: %w", c.Name, err)
	}
	return s, nil
}

// prepared is a stage whose folder is ready; start is made.
func prepared(ctx context.Context, c *Command, program, start string) (*stage, error) {
	s := &stage{Command: c, program: program, start: start}
	err := os.Mkdir(start, 0o755)
	if err == nil {
		err = c.draw(start)
	}
	var given contents
	if err == nil {
		given, err = read(start)
	}
	if err == nil {
		err = c.need(ctx, program, start)
	}
	if err == nil {
		s.before, err = read(start)
	}
	for _, name := range s.before.ours() {
		if _, was := given[name]; !was {
			s.made = append(s.made, name)
		}
	}
	return s, err
}

func (s *stage) undisturbed(ctx context.Context, dir string) error {
	if err := os.CopyFS(dir, os.DirFS(s.start)); err != nil {
		return err
	}
	ended, stderr, err := s.trace(ctx, dir, s.Line, nil)
	if err != nil {
		return err
	}
	if ended.Code != 0 {
		return fmt.Errorf("prenas %s: exit code %d: %s", s.Line, ended.Code, stderr)
	}
	got, err := read(dir)
	if err != nil {
		return err
	}
	if s.clean != nil {
		if wrong := s.unlike(got); len(wrong) > 0 {
			return fmt.Errorf("two runs differ: %s", strings.Join(wrong, "; "))
		}
	}
	s.clean, s.ended = got, ended
	return os.RemoveAll(dir)
}

// trace runs a command line in a folder with a fault, and returns what it says on stderr.
func (s *stage) trace(ctx context.Context, dir, line string, fault *Fault) (*Ended, string, error) {
	stderr := dir + ".stderr" // beside the folder: nothing is counted there
	defer os.Remove(stderr)
	ended, err := Trace(ctx, Process{
		Path: s.program, Args: args(line), Dir: dir, Env: environment(dir), Below: dir, Limit: limit,
		Stdout: filepath.Join(dir, outputFile), Stderr: stderr,
	}, fault)
	if err != nil {
		return nil, "", err
	}
	text, err := os.ReadFile(stderr)
	return ended, string(text), err
}

// run is trace without tracing.
func (s *stage) run(ctx context.Context, dir, line string) (*Ended, string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	stdout, err := os.Create(filepath.Join(dir, outputFile))
	if err != nil {
		return nil, "", err
	}
	defer stdout.Close()
	var stderr strings.Builder
	c := exec.CommandContext(ctx, s.program, args(line)...)
	c.Dir, c.Env, c.Stdout, c.Stderr = dir, environment(dir), stdout, &stderr
	c.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	if err := c.Run(); c.ProcessState == nil {
		return nil, "", err
	}
	ended := &Ended{Code: c.ProcessState.ExitCode(), TooLong: ctx.Err() != nil}
	if status, ok := c.ProcessState.Sys().(unix.WaitStatus); ok && status.Signaled() {
		ended.Signal = status.Signal()
	}
	return ended, stderr.String(), nil
}

// try makes a trial in a folder, which is new. An error is of the trial itself, not of the
// command.
func (s *stage) try(ctx context.Context, t Trial, dir string) (*Result, error) {
	began := time.Now()
	kinds, err := parseKinds(t.Kinds)
	if err != nil {
		return nil, err
	}
	if err := os.CopyFS(dir, os.DirFS(s.start)); err != nil {
		return nil, err
	}
	r := &Result{Trial: t}
	if kinds[0].damages() {
		err := s.damaged(ctx, dir, kinds[0], t.At, r)
		r.Seconds = time.Since(began).Seconds()
		return r, err
	}
	second := rng.New(uint64(t.At), "second fault of "+t.Command+" "+t.Kinds)
	for i, kind := range kinds {
		fault := Fault{Kind: kind, At: t.At}
		if i > 0 {
			fault.At = second.IntN(max(1, s.count(kind)))
		}
		if err := s.disturbed(ctx, dir, fault, r); err != nil {
			return nil, err
		}
	}
	looks := slices.Clone(s.Looks)
	if s.Check != "" {
		looks = append(looks, s.Check)
	}
	if len(looks) > 0 {
		if err := s.look(ctx, dir, looks[t.At%len(looks)], r); err != nil {
			return nil, err
		}
	}
	for _, which := range []string{"next attempt", "one more"} {
		line, err := s.again(ctx, dir, which, r)
		if err != nil {
			return nil, err
		}
		got, err := read(dir)
		if err != nil {
			return nil, err
		}
		for _, wrong := range s.unlike(got) {
			r.wrong("after the %s (%s): %s", which, line, wrong)
		}
		if s.Check != "" {
			if ended, stderr, err := s.run(ctx, dir, s.Check); err != nil {
				return nil, err
			} else if ended.Code != 0 {
				r.wrong("after the %s (%s): %s says %s", which, line, s.Check, lastLine(stderr))
			}
		}
		if len(r.Wrong) > 0 {
			break
		}
	}
	r.Seconds = time.Since(began).Seconds()
	return r, nil
}

// damaged runs the command after a bit of its inputs was turned, or one of them was cut. It
// must say so, or end as it does without.
func (s *stage) damaged(ctx context.Context, dir string, kind Kind, at int, r *Result) error {
	name, offset, err := s.byteAt(at)
	if err != nil {
		return err
	}
	text := slices.Clone(s.before[name])
	if kind == Cut {
		text = text[:offset]
		r.Struck = fmt.Sprintf("%s, cut to %d of %d bytes", name, offset, len(s.before[name]))
	} else {
		bit := at % 8
		text[offset] ^= 1 << bit
		r.Struck = fmt.Sprintf("%s, bit %d of byte %d of %d", name, bit, offset, len(text))
	}
	if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
		return err
	}
	ended, stderr, err := s.run(ctx, dir, s.Line)
	if err != nil {
		return err
	}
	wrong := crashed(ended, stderr)
	if ended.Code == 0 && !strings.Contains(stderr, filepath.Base(name)) { // a warning names the file
		got, err := read(dir)
		if err != nil {
			return err
		}
		if bytes.Equal(got[name], text) {
			got[name] = s.clean[name] // the command need not mend it
		}
		for _, lost := range append(s.unlike(got), s.lostOutput(got)...) {
			wrong = append(wrong, "exit code 0, but "+lost)
		}
	}
	for _, one := range wrong {
		r.wrong("%s: %s", r.Struck, one)
	}
	return nil
}

// byteAt is a byte of the files that prenas made, counted over all of them.
func (s *stage) byteAt(at int) (name string, offset int, err error) {
	for _, name := range s.made {
		if at < len(s.before[name]) {
			return name, at, nil
		}
		at -= len(s.before[name])
	}
	return "", 0, fmt.Errorf("%s: there are fewer bytes to damage", s.Name)
}

// count is how many operations a kind may strike.
func (s *stage) count(kind Kind) int {
	n := 0
	for _, o := range s.ended.Operations {
		if o.Reads == kind.reads() {
			n++
		}
	}
	return n
}

func (r *Result) wrong(format string, args ...any) {
	r.Wrong = append(r.Wrong, fmt.Sprintf(format, args...))
}

// disturbed runs the command with a fault, as a user would: as it is, or, where that is
// refused because of what it began, as it goes on.
func (s *stage) disturbed(ctx context.Context, dir string, fault Fault, r *Result) error {
	line := s.Line
	ended, stderr, err := s.trace(ctx, dir, line, &fault)
	if err == nil && ended.Code != 0 && ended.Hit == nil && s.Again != "" {
		line = s.Again
		ended, stderr, err = s.trace(ctx, dir, line, &fault)
	}
	if err != nil {
		return err
	}
	struck := "nothing"
	if ended.Hit != nil {
		struck = ended.Hit.String()
	}
	r.Struck = strings.TrimPrefix(r.Struck+"; "+struck, "; ")
	what := fmt.Sprintf("%s at %s", fault.Kind, struck)
	for _, wrong := range s.badEnd(ended, stderr, fault) {
		r.wrong("%s: %s", what, wrong)
	}
	got, err := read(dir)
	if err != nil {
		return err
	}
	for _, wrong := range s.notWhole(got) {
		r.wrong("%s leaves %s", what, wrong)
	}
	if ended.Code == 0 {
		if errno := fault.Kind.errno(); errno != 0 && strings.Contains(stderr, errno.Error()) {
			for name, text := range s.clean { // of what no two runs write alike a run can go without, if it says so
				if got[name] == nil && s.differs(name) {
					got[name] = text
				}
			}
		}
		lost := s.unlike(got)
		if len(r.Struck) == len(struck) { // the first attempt; later ones have less to tell
			lost = append(lost, s.lostOutput(got)...)
		}
		for _, wrong := range lost {
			r.wrong("%s: exit code 0, but %s", what, wrong)
		}
	}
	return nil
}

// badEnd says what is wrong with the way in which a command ended after a fault.
func (s *stage) badEnd(ended *Ended, stderr string, fault Fault) []string {
	if fault.Kind == Kill && ended.Hit != nil {
		return nil // whatever it said before
	}
	wrong := crashed(ended, stderr)
	if ended.Code == 0 || ended.Hit == nil || len(wrong) > 0 {
		return wrong
	}
	if errno := fault.Kind.errno(); errno != 0 && !strings.Contains(stderr, errno.Error()) {
		wrong = append(wrong, fmt.Sprintf("the message does not say %q: %s", errno.Error(), lastLine(stderr)))
	}
	if ended.Code != 1 {
		wrong = append(wrong, fmt.Sprintf("exit code %d, which is not that of a failure: %s", ended.Code, lastLine(stderr)))
	}
	return wrong
}

// crashed says what is wrong with any end but success.
func crashed(ended *Ended, stderr string) []string {
	switch {
	case ended.TooLong:
		return []string{fmt.Sprintf("did not end within %v", limit)}
	case ended.Signal != 0:
		return []string{fmt.Sprintf("killed by %v: %s", ended.Signal, lastLine(stderr))}
	}
	for _, sign := range []string{"panic: ", "fatal error: ", "goroutine ", "runtime error"} {
		if at := strings.Index(stderr, sign); at >= 0 {
			return []string{"crash: " + stderr[max(0, at-500):min(len(stderr), at+1000)]}
		}
	}
	if ended.Code != 0 && !strings.HasPrefix(lastLine(stderr), "prenas: ") {
		return []string{fmt.Sprintf("exit code %d without a sentence: %q", ended.Code, lastLine(stderr))}
	}
	return nil
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// look gives another command in a copy of the folder.
func (s *stage) look(ctx context.Context, dir, line string, r *Result) error {
	other := dir + ".look"
	defer os.RemoveAll(other)
	if err := os.CopyFS(other, os.DirFS(dir)); err != nil {
		return err
	}
	ended, stderr, err := s.run(ctx, other, line)
	if err != nil {
		return err
	}
	for _, wrong := range crashed(ended, stderr) {
		r.wrong("then %s: %s", line, wrong)
	}
	return nil
}

// again is an attempt without a fault, which must end well.
func (s *stage) again(ctx context.Context, dir, which string, r *Result) (string, error) {
	lines := slices.DeleteFunc([]string{s.Line, s.Again}, func(line string) bool { return line == "" })
	var said []string
	for _, line := range lines {
		ended, stderr, err := s.run(ctx, dir, line)
		if err != nil || ended.Code == 0 {
			return line, err
		}
		for _, wrong := range crashed(ended, stderr) {
			r.wrong("%s: %s: %s", which, line, wrong)
		}
		said = append(said, lastLine(stderr))
	}
	r.wrong("%s fails: %s", which, strings.Join(said, "; then "))
	return lines[len(lines)-1], nil
}
