package ranks

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"prenas/internal/pytools"
	"prenas/internal/ranks/rankstest"
)

// roleEnv names what this test's own program does as a rank.
const roleEnv = "PRENAS_TEST_ROLE"

func TestMain(m *testing.M) {
	role, is := roles[os.Getenv(roleEnv)]
	if !is {
		os.Exit(m.Run())
	}
	w, err := Open()
	if err == nil {
		err = role(w)
	}
	if err != nil {
		if w == nil {
			fmt.Fprintln(os.Stderr, err)
		}
		w.Abort(1, err.Error())
		os.Exit(1)
	}
}

var roles = map[string]func(w *World) error{
	"all": func(w *World) error {
		if err := everyCall(w); err != nil {
			return err
		}
		local, of := w.Local()
		fmt.Printf("rank %d of %d local %d of %d %s; %d: %s, hosts %v\n", w.Rank(), w.Size(), local, of, w.Library(), w.Rank(), w.Name(w.Rank()), w.Hosts())
		return w.Close()
	},
	"nil": func(w *World) error { // Go finds nil pointers by a signal
		defer func() { fmt.Println("recovered:", recover() != nil); w.Close() }()
		var p *World
		p.places[0].Host = ""
		return nil
	},
	"late": func(w *World) error {
		if w.Rank() == 1 {
			time.Sleep(time.Hour)
		}
		_, err := w.Any("update 3", false)
		return err
	},
	"lost": func(w *World) error {
		_, err := w.Any([]string{"update 3", "update 4"}[w.Rank()], false)
		return err
	},
}

// everyCall does each call and looks at what it gives.
func everyCall(w *World) error {
	n, rank := w.Size(), w.Rank()
	for _, r := range []int{-1, 0, n - 1} {
		if any, err := w.Any("a question", rank == r); err != nil || any != (r >= 0) {
			return fmt.Errorf("any of rank %d: %v, %v", r, any, err)
		}
	}
	text := bytes.Repeat([]byte("rank 0's "), 1000)
	mine := []byte("mine")
	if w.First() {
		mine = text
	}
	if got, err := w.Broadcast("a text", mine); err != nil || !bytes.Equal(got, text) {
		return fmt.Errorf("broadcast of %d bytes, %v", len(got), err)
	}
	all, err := w.Gather("names", bytes.Repeat([]byte{byte(rank)}, 3*rank))
	if err != nil || len(all) != n {
		return fmt.Errorf("gather of %d, %v", len(all), err)
	}
	for r, b := range all {
		if !bytes.Equal(b, bytes.Repeat([]byte{byte(r)}, 3*r)) {
			return fmt.Errorf("gather has %v of rank %d", b, r)
		}
	}
	const chunk = 70000
	own, gathered := slices.Repeat([]float32{float32(rank)}, chunk), make([]float32, n*chunk)
	if err := w.GatherValues("values", own, gathered); err != nil {
		return err
	}
	for i, v := range gathered {
		if want := float32(i / chunk); v != want {
			return fmt.Errorf("gathered has %v at %d, want %v", v, i, want)
		}
	}
	for _, host := range w.Hosts() {
		if host.From <= rank && rank < host.To {
			if err := everyExchange(w, OfHost, host, chunk); err != nil {
				return err
			}
		}
	}
	return everyExchange(w, All, Run{0, n}, chunk)
}

// everyExchange sends chunk+i values, made of both ranks' numbers, to each rank i of a group, and looks at what is got.
func everyExchange(w *World, g Group, group Run, chunk int) error {
	n, own := group.To-group.From, w.Rank()-group.From
	var from []float32
	var sent, got []Run
	for i := range n {
		sent = append(sent, Run{len(from), len(from) + chunk + i})
		from = append(from, slices.Repeat([]float32{float32(1000*w.Rank() + group.From + i)}, chunk+i)...)
		got = append(got, Run{(n - 1 - i) * (chunk + own), (n - i) * (chunk + own)})
	}
	to := make([]float32, n*(chunk+own))
	if err := w.Exchange("parts", g, from, sent, to, got); err != nil {
		return err
	}
	for i, r := range got {
		for _, v := range to[r.From:r.To] {
			if want := float32(1000*(group.From+i) + w.Rank()); v != want {
				return fmt.Errorf("exchange in group %d has %v of rank %d, want %v", g, v, group.From+i, want)
			}
		}
	}
	return nil
}

func run(t *testing.T, l rankstest.Launcher, n int, role string, env ...string) (string, error) {
	t.Helper()
	c := l.Command(n, os.Args[0])
	c.Env = append(append(c.Env, roleEnv+"="+role), env...)
	text, err := c.CombinedOutput()
	return string(text), err
}

func TestEveryCall(t *testing.T) {
	rankstest.Each(t, func(t *testing.T, l rankstest.Launcher) {
		for _, n := range []int{2, 4} {
			text, err := run(t, l, n, "all")
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			for r := range n {
				if want := fmt.Sprintf("rank %d of %d local %d of %d ", r, n, r, n); !strings.Contains(text, want) {
					t.Errorf("no %q in\n%s", want, text)
				}
			}
			if library := map[string]string{"openmpi": "Open MPI", "mpich": "MPICH"}[l.Name]; !strings.Contains(text, library) {
				t.Errorf("not by %s:\n%s", library, text)
			}
		}
	})
}

// MPI 5 says what a library looks like from outside, whoever made it.
func TestTheABIOfMPI5(t *testing.T) {
	bin := filepath.Dir(pytools.Python(t, pytools.MPICH))
	library := filepath.Join(filepath.Dir(bin), "lib", "libmpi_abi.so.1")
	for role, says := range map[string]string{"all": "(" + library + ")", "nil": "recovered: true", "signals": "heard: true"} {
		c := exec.Command(filepath.Join(bin, "mpiexec"), "-n", "3", os.Args[0])
		c.Env = append(os.Environ(), roleEnv+"="+role, LibraryEnv+"="+library, HostsEnv+"=a,b,a")
		text, err := c.CombinedOutput()
		if err != nil || strings.Count(string(text), says) != 3 {
			t.Errorf("%s: %v\n%.2000s", role, err, text)
		}
	}
}

func TestNilPointersAreFoundUnderMPI(t *testing.T) {
	rankstest.Each(t, func(t *testing.T, l rankstest.Launcher) {
		text, err := run(t, l, 2, "nil")
		if err != nil || strings.Count(text, "recovered: true") != 2 {
			t.Errorf("%v\n%s", err, text)
		}
	})
}

func TestALateRankIsNamed(t *testing.T) {
	rankstest.Each(t, func(t *testing.T, l rankstest.Launcher) {
		text, err := run(t, l, 3, "late", WaitEnv+"=1s")
		if err == nil || !strings.Contains(text, "rank 1 of 3 on host ") || !strings.Contains(text, "did not come to update 3 within 1s") {
			t.Errorf("%v\n%s", err, text)
		}
	})
}

func TestARankThatIsElsewhereIsNamed(t *testing.T) {
	text, err := run(t, rankstest.Find(t, "openmpi"), 2, "lost")
	if err == nil || !strings.Contains(text, "is at update 4, and rank 0 of 2") {
		t.Errorf("%v\n%s", err, text)
	}
}

func TestALauncherOfAnotherMPI(t *testing.T) {
	files, _ := filepath.Glob("/usr/lib/*/libmpi.so.40")
	if len(files) == 0 {
		t.Skip("Open MPI is not installed")
	}
	text, err := run(t, rankstest.Find(t, "mpich"), 2, "all", LibraryEnv+"="+files[0])
	if err == nil || !strings.Contains(text, "of another MPI than the launcher") {
		t.Errorf("%v\n%s", err, text)
	}
	for _, file := range []string{"/nowhere/libmpi.so", "libmpi.so.40"} { // the second is not absolute
		text, err = run(t, rankstest.Find(t, "openmpi"), 2, "all", LibraryEnv+"="+file)
		if err == nil || !strings.Contains(text, file) || !strings.Contains(text, LibraryEnv) {
			t.Errorf("%v\n%s", err, text)
		}
	}
}

func TestAloneNothingIsOpened(t *testing.T) {
	for _, name := range []string{"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"} {
		t.Setenv(name, "1")
		w, err := Open()
		if w != nil || err != nil || w.Size() != 1 || !w.First() {
			t.Errorf("%s=1: %v, %v", name, w, err)
		}
		os.Unsetenv(name)
	}
	var alone *World
	if any, err := alone.Any("here", true); !any || err != nil {
		t.Error(any, err)
	}
	if err := alone.Close(); err != nil {
		t.Error(err)
	}
}

func TestTogether(t *testing.T) {
	for _, hosts := range [][]int{{3}, {2, 1}, {1, 1, 1}} {
		errs := make([]error, 3)
		var group sync.WaitGroup
		for r, w := range Together(time.Minute, hosts...) {
			group.Go(func() { errs[r] = everyCall(w) })
		}
		group.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
}

// However the launcher deals out its ranks, those of a host follow one another.
func TestRanksAreOrderedByHost(t *testing.T) {
	rankstest.Each(t, func(t *testing.T, l rankstest.Launcher) {
		for _, c := range []struct {
			hosts, runs string
			numbers     []int // the launcher's
		}{
			{"a,b,a,b", "[{0 2} {2 4}]", []int{0, 2, 1, 3}},
			{"a,a,b,a", "[{0 3} {3 4}]", []int{0, 1, 3, 2}},
			{"a,b,c", "[{0 1} {1 2} {2 3}]", []int{0, 1, 2}},
		} {
			n := len(c.numbers)
			text, err := run(t, l, n, "all", HostsEnv+"="+c.hosts)
			if err != nil || strings.Count(text, "hosts "+c.runs) != n {
				t.Fatalf("%s: %v\n%s", c.hosts, err, text)
			}
			for rank, number := range c.numbers {
				if want := fmt.Sprintf("; %d: rank %d of %d on host ", rank, number, n); !strings.Contains(text, want) {
					t.Errorf("%s: no %q in\n%s", c.hosts, want, text)
				}
			}
		}
		if text, err := run(t, l, 2, "all", HostsEnv+"=a"); err == nil || !strings.Contains(text, "must name a host for each of 2 ranks") {
			t.Errorf("%v\n%s", err, text)
		}
	})
}

func TestHostsOfOneName(t *testing.T) {
	places := []place{{0, "node", "x", "", 1, ""}, {1, "node", "y", "", 1, ""}, {2, "other", "x", "", 1, ""}, {3, "node", "x", "", 2, ""}}
	_, hosts := byHost(slices.Clone(places))
	if !slices.Equal(hosts, []Run{{0, 2}, {2, 3}, {3, 4}}) {
		t.Error(hosts)
	}
	w := Together(time.Minute, 4)[3]
	w.places = places
	if number, of := w.Local(); number != 1 || of != 2 {
		t.Errorf("local %d of %d", number, of)
	}
}

func TestTheFirstLauncherCounts(t *testing.T) {
	t.Setenv("SLURM_STEP_NUM_TASKS", "1")
	t.Setenv("SLURM_PROCID", "0")
	t.Setenv("OMPI_COMM_WORLD_SIZE", "4")
	t.Setenv("OMPI_COMM_WORLD_RANK", "3")
	if rank, size := Launched(); rank != 3 || size != 4 {
		t.Errorf("rank %d of %d", rank, size)
	}
	if l := launched(); !slices.Contains(l.libraries, "libmpi.so.40") {
		t.Error(l.libraries)
	}
}
