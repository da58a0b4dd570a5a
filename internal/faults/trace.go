//go:build linux && amd64

package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Process is a program to trace.
type Process struct {
	Path   string // of the executable
	Args   []string
	Dir    string
	Env    []string
	Stdout string // files that its output goes to
	Stderr string
	Below  string // folder whose files are watched, absolute and without links
	// Limit is how long it may take before it is killed.
	Limit time.Duration
}

// Fault is what goes wrong at an operation, counted from 0: among those that read for a
// kind that strikes these, else among those that change something.
type Fault struct {
	Kind Kind
	At   int
}

// Ended says how a traced process ended.
type Ended struct {
	Operations []Operation // all of them, in the order of their begin
	Hit        *Operation  // the operation that the fault struck, nil if it came to none
	Code       int         // exit code, or -1
	Signal     unix.Signal // that killed it, or 0
	TooLong    bool        // it was killed at its limit
	Took       time.Duration
}

// TracedName is the name of the executable while it is about to become the program.
const TracedName = "prenas-traced"

// BecomeTraced returns at once but in the process that Trace begins: there it sets the
// filter and becomes the program to trace. It must come first in main.
func BecomeTraced() {
	if filepath.Base(os.Args[0]) != TracedName {
		return
	}
	err := stopAtCalls()
	if err == nil {
		err = unix.Exec(os.Args[1], os.Args[1:], os.Environ())
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[1], err)
	os.Exit(127)
}

// stopAtCalls sets a filter for this thread, and for all that it becomes: calls that touch
// files stop for the tracer, all others go on. (seccomp(2), SECCOMP_RET_TRACE.)
func stopAtCalls() error {
	runtime.LockOSThread()
	const number = 0 // offset of the call's number in struct seccomp_data
	filter := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: number}}
	for call := range calls {
		filter = append(filter,
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: uint32(call)},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_TRACE})
	}
	filter = append(filter, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&program))); errno != 0 {
		return fmt.Errorf("set a filter of system calls: %w", errno)
	}
	return nil
}

// Trace runs a program to its end. At the operation that the fault names, it happens; a
// nil fault lets everything be. An error is of the tracing, not of the program.
func Trace(ctx context.Context, p Process, fault *Fault) (*Ended, error) {
	type result struct {
		ended *Ended
		err   error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // whoever begins a traced process is the thread that may steer it; the thread ends here
		ended, err := trace(ctx, p, fault)
		done <- result{ended, err}
	}()
	r := <-done
	if r.err != nil {
		return nil, fmt.Errorf("trace %s: %w", p.Path, r.err)
	}
	return r.ended, context.Cause(ctx)
}

func trace(ctx context.Context, p Process, fault *Fault) (*Ended, error) {
	const self = "/proc/self/exe" // also after a build put another in its place
	path, err := exec.LookPath(p.Path)
	if err != nil {
		return nil, err
	}
	files := make([]*os.File, 3)
	for i, name := range []string{os.DevNull, p.Stdout, p.Stderr} {
		flags := os.O_CREATE | os.O_WRONLY | os.O_TRUNC
		if i == 0 {
			flags = os.O_RDONLY
		}
		if files[i], err = os.OpenFile(name, flags, 0o644); err != nil {
			return nil, err
		}
		defer files[i].Close()
	}
	began := time.Now()
	main, err := os.StartProcess(self, append([]string{TracedName, path}, p.Args...), &os.ProcAttr{
		Dir: p.Dir, Env: p.Env, Files: files,
		Sys: &unix.SysProcAttr{Ptrace: true, Setpgid: true}, // Ctrl-C at a terminal is for the tracer
	})
	if err != nil {
		return nil, err
	}
	t := tracer{process: p, fault: fault, pid: main.Pid, ended: &Ended{Code: -1}}
	var tooLong atomic.Bool
	limit := time.AfterFunc(p.Limit, func() { tooLong.Store(true); _ = unix.Kill(t.pid, unix.SIGKILL) })
	defer limit.Stop()
	defer context.AfterFunc(ctx, func() { _ = unix.Kill(t.pid, unix.SIGKILL) })()
	err = t.loop()
	_ = main.Release()
	t.ended.Took, t.ended.TooLong = time.Since(began), tooLong.Load()
	return t.ended, err
}

// tracer is the state of one tracing.
type tracer struct {
	process Process
	fault   *Fault
	pid     int
	ended   *Ended
	changes int // operations so far
	reads   int
	full    bool // the disk has no room
	second  bool // a second signal is due, soon after the first has come
}

// loop lets the process go from stop to stop until it ended.
func (t *tracer) loop() error {
	var status unix.WaitStatus
	if _, err := wait(t.pid, &status); err != nil {
		return err
	}
	// Descendants are traced too, and nothing that is traced outlives this thread.
	const options = unix.PTRACE_O_EXITKILL | unix.PTRACE_O_TRACESECCOMP | unix.PTRACE_O_TRACEEXEC |
		unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK
	if err := unix.PtraceSetOptions(t.pid, options); err != nil {
		return err
	}
	if err := unix.PtraceCont(t.pid, 0); err != nil {
		return err
	}
	for {
		pid, err := wait(-t.pid, &status) // its process group: this thread may have begun others before
		switch {
		case err != nil:
			return err
		case pid == t.pid && status.Exited():
			t.ended.Code = status.ExitStatus()
			return nil
		case pid == t.pid && status.Signaled():
			t.ended.Signal = status.Signal()
			return nil
		case !status.Stopped(): // a thread ended
			continue
		}
		deliver := 0
		switch signal := status.StopSignal(); {
		case signal == unix.SIGTRAP && status.TrapCause() == unix.PTRACE_EVENT_SECCOMP:
			if err := t.before(pid); err != nil && !errors.Is(err, unix.ESRCH) { // ESRCH: it was killed meanwhile
				return err
			}
		case signal == unix.SIGTRAP: // a new thread, or another program
		case signal == unix.SIGSTOP: // the first stop of a new thread
		default:
			deliver = int(signal)
		}
		if err := unix.PtraceCont(pid, deliver); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
		if t.second && deliver == int(unix.SIGTERM) {
			t.second = false
			const soon = time.Millisecond // at once, and signals of one kind may be one
			time.AfterFunc(soon, func() { _ = unix.Kill(t.pid, unix.SIGTERM) })
		}
	}
}

// wait waits for processes that this thread began or traces, threads included.
func wait(pid int, status *unix.WaitStatus) (int, error) {
	for {
		got, err := unix.Wait4(pid, status, unix.WALL|unix.WNOTHREAD, nil)
		if !errors.Is(err, unix.EINTR) {
			return got, err
		}
	}
}

// before counts the operation that a thread stands before, and lets the fault happen.
func (t *tracer) before(pid int) error {
	var r unix.PtraceRegs
	if err := unix.PtraceGetRegs(pid, &r); err != nil {
		return err
	}
	o, ok := decode(pid, &r, t.process.Dir, t.process.Below)
	if !ok {
		return nil
	}
	t.ended.Operations = append(t.ended.Operations, o)
	at := &t.changes
	if o.Reads {
		at = &t.reads
	}
	*at++
	switch {
	case t.full && o.room():
		t.full = t.fault.Kind == Full // a torn write ends with one failure
		return fails(pid, &r, unix.ENOSPC)
	case t.fault == nil || t.ended.Hit != nil || t.fault.Kind.reads() != o.Reads || *at-1 < t.fault.At || !t.fault.Kind.strikes(o):
		return nil // several readers take turns as they like: the next operation that the kind can strike is struck
	}
	t.ended.Hit = &o
	if signal := t.fault.Kind.signal(); signal != 0 {
		t.second = t.fault.Kind == Twice
		return unix.Kill(t.pid, signal)
	}
	switch t.fault.Kind {
	case Torn, Full:
		t.full = true
		fallthrough
	case Short:
		if o.writes() && r.Rdx > 1 {
			r.Rdx /= 2
			return unix.PtraceSetRegs(pid, &r)
		}
		if t.fault.Kind == Short || !o.room() {
			return nil
		}
	}
	return fails(pid, &r, t.fault.Kind.errno())
}

// fails lets the call that a thread stands before fail.
func fails(pid int, r *unix.PtraceRegs, errno unix.Errno) error {
	r.Orig_rax = ^uint64(0) // no call at all
	r.Rax = uint64(-int64(errno))
	return unix.PtraceSetRegs(pid, r)
}
