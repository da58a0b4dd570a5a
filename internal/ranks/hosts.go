package ranks

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"prenas/internal/printable"
	"slices"
	"strconv"
	"strings"
	"time"

	"prenas/internal/fsys"
	"prenas/internal/version"
)

// HostsEnv says of each rank, in the order of the launcher, on which host it is held to be where values are added within
// hosts first: 0,0,1,1. It is for measurements and tests; devices and processors are shared by the hosts there are.
const HostsEnv = "PRENAS_RANKS_HOSTS"

// place is where a rank is.
type place struct {
	Number int    // by the launcher
	Host   string // its name
	Boot   string // of the host, which tells hosts of one name apart; "": unknown
	Held   string // as which host values are added; "": as Host and Boot are
	PID    int

	Program string // its version, and the digest of its file
}

// thisHost is the place of this process, one of so many; its number is filled in by join.
func thisHost(ranks int) (place, error) {
	sum, err := fsys.Sum(ownProgram)
	if err != nil {
		return place{}, fmt.Errorf("the program's own file: %w", err)
	}
	p := place{PID: os.Getpid(), Program: fmt.Sprintf("version %s (%s)", version.String(), sum[:12])}
	if p.Host, err = os.Hostname(); err != nil {
		p.Host = "unknown"
	}
	if boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
		p.Boot = strings.TrimSpace(string(boot))
	}
	if text := os.Getenv(HostsEnv); text != "" {
		hosts := strings.Split(text, ",")
		if number, _ := Launched(); len(hosts) == ranks && number < ranks {
			p.Held = hosts[number]
		} else {
			return p, fmt.Errorf("%s is %q, it must name a host for each of %s, as 0,0,1,1", HostsEnv, text, printable.Count(ranks, "rank"))
		}
	}
	return p, nil
}

func (p place) onHost(o place) bool { return p.Host == o.Host && p.Boot == o.Boot }

// with tells whether the values of both are added within one host.
func (p place) with(o place) bool { return p.Held == o.Held && (p.Held != "" || p.onHost(o)) }

// ownProgram is the file of this process, whatever is in its place by now. MPI is for Linux.
const ownProgram = "/proc/self/exe"

// join learns where the others are, and numbers the ranks such that those of a host follow one another, whatever the
// launcher did. Rank 0 stays the first. Where the ranks run several programs it returns them with ErrDiffer, for Abort.
func join(t transport, wait time.Duration, own place) (*World, error) {
	own.Number = t.rank()
	w := &World{t: t, wait: wait, places: make([]place, t.size())}
	for r := range w.places {
		w.places[r].Number = r
	}
	text, err := json.Marshal(own)
	if err != nil {
		return nil, err
	}
	texts, err := w.Gather("the start", text)
	if err != nil {
		return nil, err
	}
	for r, text := range texts {
		if err := json.Unmarshal(text, &w.places[r]); err != nil {
			return w, fmt.Errorf("%w in prenas: rank %d has another version than rank %d", ErrDiffer, r, own.Number)
		}
	}
	for r, p := range w.places {
		if p.Program != own.Program {
			return w, fmt.Errorf("%w in prenas: %s has %s, %s has %s", ErrDiffer, w.Name(own.Number), own.Program, w.Name(r), cmp.Or(p.Program, "an earlier version"))
		}
	}
	w.places, w.hosts = byHost(w.places)
	at := slices.IndexFunc(w.places, func(p place) bool { return p.Number == own.Number })
	host := slices.IndexFunc(w.hosts, func(h Run) bool { return h.From <= at && at < h.To })
	return w, w.do("the start", func() error { return t.arrange(at, host) })
}

// byHost orders ranks such that those of a host follow one another, and says which are of which.
func byHost(places []place) (ordered []place, hosts []Run) {
	for i, p := range places {
		if slices.ContainsFunc(places[:i], p.with) {
			continue
		}
		from := len(ordered)
		for _, other := range places[i:] {
			if p.with(other) {
				ordered = append(ordered, other)
			}
		}
		hosts = append(hosts, Run{from, len(ordered)})
	}
	return ordered, hosts
}

// Hosts are the ranks of each host.
func (w *World) Hosts() []Run {
	if w == nil {
		return []Run{{0, 1}}
	}
	return w.hosts
}

// Local is this process's number among those of its host, and how many these are.
func (w *World) Local() (number, of int) {
	if w == nil {
		return 0, 1
	}
	own := w.places[w.Rank()]
	for r, p := range w.places {
		if p.onHost(own) {
			if r < w.Rank() {
				number++
			}
			of++
		}
	}
	return number, of
}

// Name is a rank as a person is told of it, by the launcher's number.
func (w *World) Name(rank int) string {
	if w == nil {
		return "this process"
	}
	return w.places[rank].name(w.Size())
}

// LaunchedName is what Name says of this process, before it has joined the others.
func LaunchedName() string {
	l := launched()
	p := place{Number: l.rank}
	p.Host, _ = os.Hostname() // without it the name has no host
	return p.name(l.size)
}

func (p place) name(ranks int) string {
	name := fmt.Sprintf("rank %d of %d", p.Number, ranks)
	if p.Host != "" {
		name += " on host " + p.Host
	}
	return name
}

// stopped are the ranks of this host that a signal stopped, or that wait for a disk.
func (w *World) stopped() (names []string) {
	own := w.places[w.Rank()]
	for r, p := range w.places {
		if !p.onHost(own) || r == w.Rank() {
			continue
		}
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(p.PID) + "/stat") // PID (NAME) STATE ...
		_, state, found := strings.Cut(string(stat), ") ")
		if err == nil && found && strings.ContainsAny(state[:1], "TtD") {
			names = append(names, w.Name(r))
		}
	}
	return names
}
