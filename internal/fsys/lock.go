package fsys

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// ErrHeld: another process writes there.
var ErrHeld = errors.New("another process writes there")

// A lock is a file that says who holds it, and that its holder has locked with flock,
// which the system undoes when the process ends in whatever way. Where a file system has
// no flock, the file's existence is the lock, and one whose process has ended is stale.
// flock may not reach from one machine to another, so a lock that another machine left is
// never taken over: whoever knows that its process has ended removes the file.
//
// Lock files are made by O_EXCL alone, never written over, and removed by their holder.

// errLocked: another open file has the lock.
var errLocked = errors.New("locked")

// tryFlock locks an open file, or returns errLocked; any other error means that there is
// no flock here. Tests put one in its place that says so.
var tryFlock = flock

// folderLock is the lock's name in a folder that is held.
const folderLock = ".prenas.lock"

const (
	maxLockFile = 4096            // bytes
	lockWritten = 2 * time.Second // by then a lock that was made says who made it
	lockAgain   = 50 * time.Millisecond
	lockTries   = 1000
)

// holder is what a lock file says.
type holder struct {
	PID  int       `json:"pid"`
	Host string    `json:"host"`
	Time time.Time `json:"time"`
	// Boot and Started tell a process from a later one with its number, where the system
	// tells them: which start of the machine, and when after it.
	Boot    string `json:"boot,omitempty"`
	Started string `json:"started,omitempty"`
}

func thisProcess() holder {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return holder{PID: os.Getpid(), Host: host, Time: time.Now().UTC().Truncate(time.Second), Boot: bootID(), Started: ownStart()}
}

// ownStart is this process's start. It is asked for once: an emulated system has another
// answer for each thread.
var ownStart = sync.OnceValue(func() string {
	started, _ := processStart(os.Getpid())
	return started
})

// here tells whether the holder is a process of this machine.
func (h holder) here() bool {
	me := thisProcess()
	return h.Host == me.Host || h.Boot != "" && h.Boot == me.Boot
}

// alive tells whether a holder of this machine still runs.
func (h holder) alive() bool {
	if boot := bootID(); h.Boot != boot {
		return false // the machine was started anew
	}
	if h.PID == os.Getpid() {
		return h.Started == ownStart()
	}
	started, runs := processStart(h.PID)
	return runs && started == h.Started
}

// bootID names this start of the machine; it is empty where the system has no such name.
func bootID() string {
	text, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(text))
}

// processStart is when a process was started, in the system's units after the machine's
// start and empty where it does not tell, and whether it runs.
func processStart(pid int) (started string, runs bool) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return "", processRuns(pid)
	}
	const state, starttime = 0, 19 // after the name, which is in brackets and may hold anything; see proc(5)
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) <= starttime {
		return "", processRuns(pid)
	}
	return fields[starttime], fields[state] != "Z" && fields[state] != "X"
}

// HeldError says who holds a lock. It is an ErrHeld.
type HeldError struct {
	What   string // that is held: a folder or a file
	Lock   string // the lock's file
	Holder string // process, machine and time, as words; empty if the lock does not say
	Away   bool   // on another machine, from which it cannot be told whether it still runs
}

func (e *HeldError) Error() string {
	holder := e.Holder
	if holder == "" {
		holder = "it does not say which"
	}
	if e.Away {
		return fmt.Sprintf("%s: %v (%s); this machine cannot tell whether that one still runs: if it has ended, remove %s", e.What, ErrHeld, holder, e.Lock)
	}
	return fmt.Sprintf("%s: %v (%s); wait until it is done, or stop it", e.What, ErrHeld, holder)
}

// Unwrap makes it an ErrHeld.
func (e *HeldError) Unwrap() error { return ErrHeld }

func (h holder) String() string {
	if h.PID == 0 {
		return ""
	}
	return fmt.Sprintf("process %d on %q, since %s", h.PID, h.Host, h.Time.Format(time.RFC3339))
}

// holds are the locks of this process. A process that holds a folder may hold it again.
var holds struct {
	sync.Mutex
	byPath map[string]*hold
}

type hold struct {
	times  int
	remove func()
}

// HoldFolder keeps other processes from writing into a folder, which is made where there
// is none, and removes what those that were killed left half-written in it. If another
// process holds it the error is a HeldError. A folder that is still empty when it is
// released is removed, if it was made for that.
func HoldFolder(dir string) (release func(), err error) {
	var made string // highest folder that there was not
	for at := filepath.Clean(dir); ; at = filepath.Dir(at) {
		if _, err := os.Lstat(at); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		made = at
	}
	if err := OS.MkdirAll(dir); err != nil {
		if errors.Is(err, syscall.ENOTDIR) {
			return nil, fmt.Errorf("%s: it is a file, or lies in one", dir)
		}
		return nil, err
	}
	give, err := holdPath(dir, filepath.Join(dir, folderLock), func() error { return RemoveStale(dir) })
	unmake := func() {
		for at := filepath.Clean(dir); made != ""; at = filepath.Dir(at) {
			if os.Remove(at) != nil || at == made { // a folder with something in it stays
				return
			}
		}
	}
	if err != nil {
		unmake()
		return nil, err
	}
	return func() { give(); unmake() }, nil
}

// HoldFile keeps other processes from writing a file and its siblings, whose names
// differ in what stands after a point, and removes what those that were killed left
// half-written of them. If another process holds it the error is a HeldError.
func HoldFile(path string) (release func(), err error) {
	dir, base := filepath.Split(path)
	stem := strings.TrimSuffix(base, filepath.Ext(base))
	return holdPath(path, filepath.Join(dir, "."+stem+folderLock), func() error {
		return removeStale(filepath.Clean(dir), true, func(name string) bool { return name == base || strings.HasPrefix(name, stem+".") })
	})
}

func holdPath(what, lock string, tidy func() error) (release func(), err error) {
	dir, err := filepath.EvalSymlinks(filepath.Dir(lock))
	if err == nil {
		dir, err = filepath.Abs(dir)
	}
	if err != nil {
		return nil, err
	}
	key := filepath.Join(dir, filepath.Base(lock))
	holds.Lock()
	defer holds.Unlock()
	h := holds.byPath[key]
	if h == nil {
		remove, err := takeLock(lock)
		if held := (*HeldError)(nil); errors.As(err, &held) {
			held.What = what
		}
		if err != nil {
			return nil, err
		}
		if err := tidy(); err != nil {
			remove()
			return nil, err
		}
		if holds.byPath == nil {
			holds.byPath = map[string]*hold{}
		}
		h = &hold{remove: remove}
		holds.byPath[key] = h
	}
	h.times++
	return sync.OnceFunc(func() {
		holds.Lock()
		defer holds.Unlock()
		if h.times--; h.times == 0 {
			h.remove()
			delete(holds.byPath, key)
		}
	}), nil
}

// Lock waits until no other process, nor another part of this one, holds the lock at
// path, and takes it. Waiting ends with ctx, and at a lock that another machine left.
func Lock(ctx context.Context, path string) (unlock func(), err error) {
	for {
		unlock, err := takeLock(path)
		held := (*HeldError)(nil)
		if !errors.As(err, &held) || held.Away {
			return unlock, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lockAgain):
		}
	}
}

// takeLock makes the lock file at path, or returns a HeldError. What it returns gives the
// lock back and may be called once.
func takeLock(path string) (remove func(), err error) {
	for range lockTries {
		file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o644)
		if errors.Is(err, fs.ErrExist) {
			if err := clearStale(path); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if locked := tryFlock(file); locked == errLocked || !isAt(file, path) {
			file.Close() // another process took it for one that was left behind
			continue
		}
		text, err := json.Marshal(thisProcess())
		if err == nil {
			_, err = file.Write(append(text, '\n'))
		}
		if err != nil {
			discard(file, path)
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		return func() { discard(file, path) }, nil
	}
	return nil, fmt.Errorf("lock %s: other processes make and remove it again and again", path)
}

// discard removes a lock file that this process has open.
func discard(file *os.File, path string) {
	err := os.Remove(path)
	file.Close()
	if err != nil { // some systems remove no file that is open
		os.Remove(path)
	}
}

// clearStale removes the lock file at path if its holder has ended; if it holds on the
// error is a HeldError.
func clearStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("something that is no lock stands in its place; remove it")
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", path, err)
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", path, err)
	}
	locked := tryFlock(file)
	if locked == nil && !isAt(file, path) {
		return file.Close()
	}
	text, err := io.ReadAll(io.LimitReader(file, maxLockFile))
	var by holder
	known := err == nil && json.Unmarshal(text, &by) == nil && by.PID > 0
	held := func(away bool) error {
		file.Close()
		return &HeldError{What: path, Lock: path, Holder: by.String(), Away: away}
	}
	switch {
	case locked == errLocked:
		return held(false)
	case known && !by.here():
		return held(true)
	case locked == nil: // of a process of this machine that has ended
		discard(file, path)
		return nil
	case known && by.alive():
		return held(false)
	case !known && time.Since(info.ModTime()) < lockWritten:
		file.Close()
		time.Sleep(lockAgain)
		return nil
	}
	file.Close()
	return clearAlone(path, text)
}

// clearAlone removes a stale lock file with that text where there is no flock. Its holder
// has ended, so none but those who clear can remove it; a second file lets one of them do
// so at a time, and each looks again, lest it remove the lock of one that was faster.
func clearAlone(path string, stale []byte) error {
	guard := path + ".clear"
	file, err := os.OpenFile(guard, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, fs.ErrExist) {
		info, err := os.Lstat(guard)
		if err == nil && time.Since(info.ModTime()) > lockWritten {
			return fmt.Errorf("lock %s: %s was left by a process that was killed when it cleared the lock; remove both", path, guard)
		}
		time.Sleep(lockAgain)
		return nil
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", path, err)
	}
	defer discard(file, guard)
	text, err := os.ReadFile(path)
	if err == nil && bytes.Equal(text, stale) {
		err = os.Remove(path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("lock %s: %w", path, err)
	}
	return nil
}

// isAt tells whether an open file is still the one at path.
func isAt(file *os.File, path string) bool {
	open, err := file.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(path)
	return err == nil && os.SameFile(open, there)
}
