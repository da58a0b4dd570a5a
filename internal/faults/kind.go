//go:build linux && amd64

package faults

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Kind is what happens at an operation.
type Kind string

// Kinds of faults.
const (
	Kill  Kind = "kill"  // SIGKILL before the operation
	Term  Kind = "term"  // SIGTERM before it, as a cluster sends before it takes a machine
	Twice Kind = "twice" // two SIGTERMs at once, as timeout sends to a process and to its group
	Hup   Kind = "hup"   // SIGHUP before it, as a terminal that closes

	IOError Kind = "eio"    // a change fails with EIO
	NoSpace Kind = "enospc" // a change that needs room fails with ENOSPC
	Short   Kind = "short"  // a write takes half of its bytes and says so; the next go well
	Torn    Kind = "torn"   // a write takes half of its bytes, and the next that needs room fails with ENOSPC
	Full    Kind = "full"   // as torn, and all that needs room fails from there on

	ReadError Kind = "read-eio"    // a read fails with EIO
	Stale     Kind = "read-estale" // with ESTALE, as of a network's file system
	TooMany   Kind = "read-emfile" // with EMFILE: too many open files
	NoMemory  Kind = "read-enomem" // with ENOMEM
	Denied    Kind = "read-eacces" // with EACCES

	Flip Kind = "flip" // a bit of a file that prenas wrote for the command is another
	Cut  Kind = "cut"  // such a file ends early
)

// Kinds lists all kinds.
var Kinds = []Kind{Kill, Term, Twice, Hup, IOError, NoSpace, Short, Torn, Full, ReadError, Stale, TooMany, NoMemory, Denied, Flip, Cut}

// damages says whether a kind changes files before the command, rather than what the
// command does. Its operations are the bytes of these files.
func (k Kind) damages() bool { return k == Flip || k == Cut }

// reads says whether a kind strikes operations that read, which are counted apart from
// those that change something: several workers read in any order.
func (k Kind) reads() bool { return strings.HasPrefix(string(k), "read-") }

// signal that a kind sends, or 0.
func (k Kind) signal() unix.Signal {
	switch k {
	case Kill:
		return unix.SIGKILL
	case Term, Twice:
		return unix.SIGTERM
	case Hup:
		return unix.SIGHUP
	}
	return 0
}

// errno that a kind makes operations fail with, or 0.
func (k Kind) errno() unix.Errno {
	return map[Kind]unix.Errno{
		IOError: unix.EIO, NoSpace: unix.ENOSPC, Torn: unix.ENOSPC, Full: unix.ENOSPC,
		ReadError: unix.EIO, Stale: unix.ESTALE, TooMany: unix.EMFILE, NoMemory: unix.ENOMEM, Denied: unix.EACCES,
	}[k]
}

// strikes says whether a kind can strike an operation in this way.
func (k Kind) strikes(o Operation) bool {
	if k.reads() != o.Reads {
		return false
	}
	switch k {
	case NoSpace:
		return o.room()
	case Short, Torn:
		return o.writes()
	case TooMany:
		return o.Call == "openat"
	case NoMemory, Denied:
		return !o.takes()
	}
	return true
}

// parseKinds takes names of kinds, each one kind or two joined by a plus, for two attempts
// in a row.
func parseKinds(text string) ([]Kind, error) {
	var list []Kind
	for name := range strings.SplitSeq(text, "+") {
		if !slices.Contains(Kinds, Kind(name)) {
			return nil, fmt.Errorf("unknown kind of fault %q: there are %s", name, joined(Kinds))
		}
		list = append(list, Kind(name))
	}
	if len(list) > 1 && slices.ContainsFunc(list, Kind.damages) {
		return nil, fmt.Errorf("%s: damage stands alone", text)
	}
	return list, nil
}

func joined[T ~string](list []T) string {
	var all []string
	for _, one := range list {
		all = append(all, string(one))
	}
	return strings.Join(all, ", ")
}
