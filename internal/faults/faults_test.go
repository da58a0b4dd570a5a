//go:build linux && amd64

package faults

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain lets the tests trace this very binary, as the programs below.
func TestMain(m *testing.M) {
	BecomeTraced()
	if len(os.Args) > 1 && programs[os.Args[1]] != nil {
		if err := programs[os.Args[1]](); err != nil {
			fmt.Fprintln(os.Stderr, "prenas:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const written = "0123456789"

// programs write a file in the folder that they are started in; all but the first in a
// way that loses something.
var programs = map[string]func() error{
	"sound":   func() error { return replace("file.json.tmp-1") },
	"drawn":   func() error { return replace(fmt.Sprintf(".file.json.tmp-%d", os.Getpid())) }, // stays after a kill
	"inplace": func() error { return os.WriteFile("file.json", []byte(written), 0o644) },
	"silent":  func() error { _ = replace("file.json.tmp-1"); return nil },
	"crash": func() error {
		if err := replace("file.json.tmp-1"); err != nil {
			panic(err)
		}
		return nil
	},
	"grows": func() error {
		f, err := os.OpenFile("file.jsonl", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		_, err = f.WriteString(written + "\n")
		return errors.Join(err, f.Close())
	},
	"prints": func() error { fmt.Println(written); return nil }, // an error of the output is lost
	"hangs": func() error {
		if err := replace("file.json.tmp-1"); err != nil {
			time.Sleep(time.Hour)
		}
		return nil
	},
	"signals": func() error {
		got := make(chan os.Signal, 2)
		signal.Notify(got, unix.SIGTERM, unix.SIGHUP)
		if err := replace("file.json.tmp-1"); err != nil {
			return err
		}
		for {
			select {
			case s := <-got:
				fmt.Println(s)
			case <-time.After(100 * time.Millisecond):
				return nil
			}
		}
	},
	"trusts": func() error {
		text, err := os.ReadFile("file.json")
		return errors.Join(err, os.WriteFile("copy", text, 0o644))
	},
	"checks": func() error {
		text, err := os.ReadFile("file.json")
		if err == nil && string(text) != written {
			err = errors.New("file.json is damaged")
		}
		if err != nil {
			return err
		}
		return os.WriteFile("copy", text, 0o644)
	},
	"reads": func() error {
		_, err := os.ReadFile("recipe.yaml")
		return err
	},
}

func replace(temporary string) error {
	f, err := os.Create(temporary)
	if err != nil {
		return err
	}
	if _, err = f.WriteString(written); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), "file.json")
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// traced runs one of the programs with a fault and returns how it ended, its folder, and
// what it said.
func traced(t *testing.T, program string, fault *Fault) (*Ended, string, string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "recipe.yaml"), []byte(recipeFile), 0o644); err != nil {
		t.Fatal(err)
	}
	said := filepath.Join(t.TempDir(), "said")
	ended, err := Trace(t.Context(), Process{
		Path: self, Args: []string{program}, Dir: dir, Env: os.Environ(), Stdout: said + ".out", Stderr: said, Below: dir, Limit: time.Minute,
	}, fault)
	if errors.Is(err, unix.EPERM) {
		t.Skip("processes may not be traced here:", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := os.ReadFile(said)
	stdout, err2 := os.ReadFile(said + ".out")
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	return ended, dir, string(stdout) + string(stderr)
}

func TestOperationsAreCounted(t *testing.T) {
	ended, dir, said := traced(t, "sound", nil)
	if text, err := os.ReadFile(filepath.Join(dir, "file.json")); ended.Code != 0 || err != nil || string(text) != written {
		t.Fatalf("code %d, %q, %v, %s", ended.Code, text, err, said)
	}
	var got []string
	for _, o := range ended.Operations {
		if !o.Reads { // the library may look before it renames
			got = append(got, o.String())
		}
	}
	want := []string{"openat file.json.tmp-1", "write file.json.tmp-1", "fsync file.json.tmp-1", "renameat file.json.tmp-1"}
	if !slices.Equal(got, want) {
		t.Errorf("operations %q, want %q", got, want)
	}
}

// Each kind does what it says, at the operation that was asked for.
func TestKinds(t *testing.T) {
	const making, writing, syncing, renaming = 0, 1, 2, 3
	for _, test := range []struct {
		program string
		fault   Fault
		code    int
		says    string
		file    string // name of the file that is there at the end, if any
		text    string
	}{
		{"sound", Fault{Kill, renaming}, -1, "", "file.json.tmp-1", written},
		{"sound", Fault{Kill, making}, -1, "", "", ""},
		{"sound", Fault{IOError, making}, 1, "input/output error", "", ""},
		{"sound", Fault{IOError, syncing}, 1, "sync file.json.tmp-1: input/output error", "", ""},
		{"sound", Fault{NoSpace, writing}, 1, "no space left on device", "", ""},
		{"sound", Fault{NoSpace, renaming}, 0, "", "file.json", written}, // a rename needs no room
		{"sound", Fault{Short, writing}, 0, "", "file.json", written},    // the rest is written too
		{"sound", Fault{Torn, writing}, 1, "no space left on device", "", ""},
		{"inplace", Fault{Torn, writing}, 1, "no space left on device", "file.json", written[:5]},
		{"inplace", Fault{Full, writing}, 1, "no space left on device", "file.json", written[:5]},
		{"sound", Fault{IOError, 4}, 0, "", "file.json", written}, // there is no fifth
		{"reads", Fault{ReadError, 0}, 1, "input/output error", "", ""},
		{"reads", Fault{Stale, 2}, 1, "read recipe.yaml: stale file handle", "", ""},
		{"reads", Fault{TooMany, 0}, 1, "open recipe.yaml: too many open files", "", ""},
		{"reads", Fault{NoMemory, 0}, 1, "cannot allocate memory", "", ""},
		{"reads", Fault{Denied, 0}, 1, "permission denied", "", ""},
		{"signals", Fault{Term, writing}, 0, "terminated\n", "file.json", written},
		{"signals", Fault{Twice, writing}, 0, "terminated\nterminated\n", "file.json", written},
		{"signals", Fault{Hup, writing}, 0, "hangup\n", "file.json", written},
	} {
		t.Run(fmt.Sprintf("%s %s %d", test.program, test.fault.Kind, test.fault.At), func(t *testing.T) {
			ended, dir, said := traced(t, test.program, &test.fault)
			if ended.Code != test.code || !strings.Contains(said, test.says) {
				t.Errorf("code %d, %q", ended.Code, said)
			}
			entries, err := read(dir)
			if err != nil {
				t.Fatal(err)
			}
			delete(entries, "recipe.yaml")
			if len(entries) != min(1, len(test.file)) || string(entries[test.file]) != test.text {
				t.Errorf("left %q", entries)
			}
			if test.fault.Kind == Kill && ended.Signal != unix.SIGKILL {
				t.Errorf("signal %v", ended.Signal)
			}
		})
	}
}

// What loses something is found, and what loses nothing is not.
func TestTrialsFindWhatIsLost(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ program, kinds, wrong string }{
		{"sound", "kill", ""}, {"sound", "eio", ""}, {"sound", "enospc", ""}, {"sound", "short", ""}, {"sound", "torn", ""}, {"sound", "full", ""},
		{"sound", "full+kill", ""}, {"reads", "read-eio", ""},
		{"drawn", "kill", "stays"},
		{"inplace", "kill", "unexpected end of JSON input"},
		{"inplace", "torn", "leaves file.json (5 bytes)"},
		{"silent", "eio", "exit code 0, but file.json is missing"},
		{"crash", "eio", "crash"},
		{"grows", "kill+kill", "differs"},
		{"prints", "enospc", "exit code 0, but it printed 0 bytes"},
		{"sound", "term", "killed by terminated"},
		{"trusts", "cut", "exit code 0, but copy differs (9 bytes instead of 10)"},
		{"trusts", "flip", "exit code 0, but copy differs"},
		{"checks", "cut", ""},
		{"checks", "flip", ""},
	} {
		t.Run(test.program+" "+test.kinds, func(t *testing.T) {
			dir, err := filepath.EvalSymlinks(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			command := &Command{Name: test.program, Line: test.program}
			if kind := Kind(test.kinds); kind.damages() {
				command.Needs = []string{"sound"}
			}
			s, err := prepared(t.Context(), command, self, filepath.Join(dir, "start"))
			if err != nil {
				t.Fatal(err)
			}
			if err := s.undisturbed(t.Context(), filepath.Join(dir, "clean")); errors.Is(err, unix.EPERM) {
				t.Skip("processes may not be traced here:", err)
			} else if err != nil {
				t.Fatal(err)
			}
			var wrong []string
			kinds, err := parseKinds(test.kinds)
			if err != nil {
				t.Fatal(err)
			}
			for _, at := range slices.Concat(s.places(kinds[0], func(int, func(i, j int)) {})...) {
				r, err := s.try(t.Context(), Trial{test.program, test.kinds, at}, filepath.Join(dir, fmt.Sprint(at)))
				if err != nil {
					t.Fatal(err)
				}
				wrong = append(wrong, r.Wrong...)
			}
			if all := strings.Join(wrong, "\n"); (test.wrong == "") != (all == "") || !strings.Contains(all, test.wrong) {
				t.Errorf("found %q, want %q", all, test.wrong)
			}
		})
	}
}
