package fsys

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Environment of a process that holds a folder until its standard input ends.
const (
	holdEnv    = "PRENAS_TEST_HOLD"
	noFlockEnv = "PRENAS_TEST_NO_FLOCK"
)

func TestMain(m *testing.M) {
	if os.Getenv(noFlockEnv) != "" {
		tryFlock = noFlock
	}
	dir := os.Getenv(holdEnv)
	if dir == "" {
		os.Exit(m.Run())
	}
	release, err := HoldFolder(dir)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	temp, err := OS.CreateTemp(dir, ".weights.tmp-*")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("held")
	_, _ = io.Copy(io.Discard, os.Stdin)
	_ = temp.Close()
	_ = os.Remove(temp.Name())
	release()
}

func noFlock(*os.File) error { return syscall.ENOSYS }

// other is another process that holds dir.
func other(t *testing.T, dir string) (end func(), kill func()) {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), holdEnv+"="+dir)
	if strings.HasSuffix(t.Name(), "/no_flock") {
		c.Env = append(c.Env, noFlockEnv+"=1")
	}
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "held\n" {
		t.Fatalf("the other process says %q", line)
	}
	end = func() { in.Close(); _ = c.Wait() }
	kill = func() { _ = c.Process.Kill(); _ = c.Wait() }
	t.Cleanup(kill)
	return end, kill
}

// everywhere runs a test where there is flock and where there is none.
func everywhere(t *testing.T, test func(t *testing.T)) {
	t.Run("flock", test)
	t.Run("no flock", func(t *testing.T) {
		tryFlock = noFlock
		defer func() { tryFlock = flock }()
		test(t)
	})
}

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return strings.Join(list, " ")
}

func TestAFolderIsHeldByOneProcess(t *testing.T) {
	everywhere(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "run")
		end, _ := other(t, dir)
		_, err := HoldFolder(dir)
		var held *HeldError
		if !errors.As(err, &held) || !errors.Is(err, ErrHeld) || held.Away {
			t.Fatal(err)
		}
		host, _ := os.Hostname()
		for _, word := range []string{dir, "process ", host, fmt.Sprint(time.Now().UTC().Year())} {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%q does not say %q", err, word)
			}
		}
		end()
		release, err := HoldFolder(dir)
		if err != nil {
			t.Fatal(err)
		}
		again, err := HoldFolder(dir)
		if err != nil {
			t.Fatal("a process that holds a folder cannot hold it again: ", err)
		}
		release()
		release() // does nothing
		if _, err := os.Stat(filepath.Join(dir, folderLock)); err != nil {
			t.Error("the first release gave the lock back: ", err)
		}
		again()
		if _, err := os.Stat(filepath.Join(dir, folderLock)); !os.IsNotExist(err) {
			t.Error("the lock stays: ", err)
		}
	})
}

func TestAKilledProcessHoldsNothingAndLeavesNothing(t *testing.T) {
	everywhere(t, func(t *testing.T) {
		dir := t.TempDir()
		_, kill := other(t, dir)
		if got := names(t, dir); !strings.Contains(got, ".weights.tmp-") || !strings.Contains(got, folderLock) {
			t.Fatal(got)
		}
		kill()
		for _, keep := range []string{"weights.tmp-1", ".weights.tmp-x", ".tmp"} {
			if err := os.WriteFile(filepath.Join(dir, keep), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		release, err := HoldFolder(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		if got := names(t, dir); got != ".prenas.lock .tmp .weights.tmp-x weights.tmp-1" {
			t.Error(got)
		}
	})
}

// A file that is written without a lock, as a report, clears what killed writers of that
// file left, and nothing of those that still write.
func TestAFileIsClearedOfItsStaleTemporaryOnes(t *testing.T) {
	everywhere(t, func(t *testing.T) {
		dir := t.TempDir()
		for _, name := range []string{".a.html.tmp-1-0", ".b.html.tmp-1-0"} {
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		open, err := OS.CreateTemp(dir, ".a.html.tmp-*") // of a process that still writes
		if err != nil {
			t.Fatal(err)
		}
		defer open.Close()
		if err := WriteAtomic(OS, filepath.Join(dir, "a.html"), func(w io.Writer) error { return nil }); err != nil {
			t.Fatal(err)
		}
		want := filepath.Base(open.Name()) + " .b.html.tmp-1-0 a.html"
		if strings.HasSuffix(t.Name(), "no_flock") { // which could not tell the two
			want = ".a.html.tmp-1-0 " + want
		}
		if got := names(t, dir); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
}

// A lock that says what it may say without a process behind it.
func TestLocksThatWereLeftBehind(t *testing.T) {
	me := thisProcess()
	later, away, reused := me, me, me
	later.Boot, later.PID = "another start", 1
	away.Host, away.Boot = "elsewhere", "another start"
	reused.Started = "1"
	old := time.Now().Add(-time.Minute)
	everywhere(t, func(t *testing.T) {
		for _, c := range []struct {
			name string
			text any
			held string // words of the error; empty: it is stale
		}{
			{"of the machine before it was started anew", later, ""},
			{"of a process whose number another one has now", reused, ""},
			{"of another machine", away, `on "elsewhere"`},
			{"empty", nil, ""},
			{"no lock at all", "something", ""},
		} {
			dir := t.TempDir()
			path := filepath.Join(dir, folderLock)
			var text []byte
			if c.text != nil {
				text, _ = json.Marshal(c.text)
			}
			if err := os.WriteFile(path, text, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(path, old, old); err != nil {
				t.Fatal(err)
			}
			release, err := HoldFolder(dir)
			switch {
			case c.held == "" && err != nil:
				t.Errorf("%s: %v", c.name, err)
			case c.held != "" && (err == nil || !strings.Contains(err.Error(), c.held) || !strings.Contains(err.Error(), "remove "+path)):
				t.Errorf("%s: %v", c.name, err)
			}
			if err == nil {
				release()
				if got := names(t, dir); got != "" {
					t.Errorf("%s: %s stays", c.name, got)
				}
			}
		}
	})
}

// What stands where the lock does is not written to, and not waited for.
func TestALockIsNoLinkAndNoPipe(t *testing.T) {
	dir := t.TempDir()
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	lock := filepath.Join(dir, folderLock)
	for _, plant := range []func() error{
		func() error { return os.Symlink(victim, lock) },
		func() error { return makePipe(lock) },
		func() error { return os.Mkdir(lock, 0o755) },
	} {
		if err := plant(); err != nil {
			t.Fatal(err)
		}
		if _, err := HoldFolder(dir); err == nil || !strings.Contains(err.Error(), lock) {
			t.Error(err)
		}
		if err := os.Remove(lock); err != nil {
			t.Fatal(err)
		}
	}
	if text, _ := os.ReadFile(victim); string(text) != "mine" {
		t.Errorf("the lock was written through a link: %q", text)
	}
}

func TestHoldingAFileTouchesItsSiblingsAlone(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{".a.json.tmp-1", ".a.meta.json.tmp-2", ".ab.json.tmp-3", ".b.json.tmp-4"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	release, err := HoldFile(filepath.Join(dir, "a.json"))
	if err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); got != ".a.prenas.lock .ab.json.tmp-3 .b.json.tmp-4" {
		t.Error(got)
	}
	release()
	if got := names(t, dir); got != ".ab.json.tmp-3 .b.json.tmp-4" {
		t.Error(got)
	}
}

func TestAFolderThatWasMadeToBeHeldIsNotLeftEmpty(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "a", "b")
	for _, fill := range []bool{false, true} {
		release, err := HoldFolder(dir)
		if err != nil {
			t.Fatal(err)
		}
		if fill {
			if err := os.WriteFile(filepath.Join(dir, "x"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		release()
		if got := names(t, root); (got == "a") != fill {
			t.Errorf("filled: %v, then there is %q", fill, got)
		}
	}
}

// Of many that try at once, one holds at a time, also where holders end without giving
// the lock back.
func TestOneAtATime(t *testing.T) {
	ended := thisProcess()
	ended.Boot = "another start"
	left, err := json.Marshal(ended)
	if err != nil {
		t.Fatal(err)
	}
	everywhere(t, func(t *testing.T) {
		dir := t.TempDir()
		path := filepath.Join(dir, "lock")
		inside := make(chan bool, 1)
		done := make(chan error)
		const tries, workers = 20, 4
		for range workers {
			go func() {
				for try := range tries {
					unlock, err := Lock(t.Context(), path)
					if err != nil {
						done <- err
						return
					}
					select {
					case inside <- true:
						<-inside
					default:
						err = errors.New("two hold it")
					}
					unlock()
					if try%2 == 0 { // and one takes it that ends without a word
						if file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644); err == nil {
							_, _ = file.Write(left)
							_ = file.Close()
						}
					}
					if err != nil {
						done <- err
						return
					}
				}
				done <- nil
			}()
		}
		for range workers {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if got := names(t, dir); got != "" && got != "lock" {
			t.Errorf("%s stays", got)
		}
	})
}

// Without flock, one that was killed while it cleared a stale lock is told of.
func TestALockThatSomebodyBeganToClear(t *testing.T) {
	tryFlock = noFlock
	defer func() { tryFlock = flock }()
	path := filepath.Join(t.TempDir(), "lock")
	old := time.Now().Add(-time.Minute)
	for _, name := range []string{path, path + ".clear"} {
		if err := os.WriteFile(name, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, old, old); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := takeLock(path); err == nil || !strings.Contains(err.Error(), path+".clear") {
		t.Error(err)
	}
}
