//go:build linux && cgo

package ranks

// #cgo CFLAGS: -Wall
// #cgo LDFLAGS: -ldl
// #include <stdlib.h>
// #include "mpi.h"
import "C"

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"unsafe"

	"prenas/internal/crash"
)

// mpi is the transport of a launcher's processes.
type mpi struct{ calls chan func() }

// openMPI loads one of the libraries and joins the other processes. All calls but that which
// ends them are by one thread: MPI wants to be ended by the one that began it.
func openMPI(files []string) (transport, error) {
	// UCX, under MPICH, would take the signals by which Go finds a nil pointer.
	os.Setenv("UCX_ERROR_SIGNALS", "")
	m := mpi{make(chan func())}
	crash.Go(func() {
		runtime.LockOSThread()
		for f := range m.calls {
			f()
		}
	})
	names := make([]*C.char, len(files)) // for ever, as the library's
	for i, file := range files {
		names[i] = C.CString(file)
	}
	var failed string
	m.do(func() {
		if message := C.prenas_mpi_open(&names[0], C.int(len(names))); message != nil {
			failed = C.GoString(message)
		}
	})
	if failed != "" {
		return nil, errors.New(failed)
	}
	return m, nil
}

func (m mpi) do(f func()) {
	done := make(chan struct{})
	m.calls <- func() { f(); close(done) }
	<-done
}

// call does one of MPI's.
func (m mpi) call(name string, f func() C.int) error {
	var code C.int
	m.do(func() { code = f() })
	if code != 0 {
		return fmt.Errorf("MPI_%s failed with code %d", name, code)
	}
	return nil
}

func (m mpi) rank() int { return int(C.prenas_mpi_rank()) }
func (m mpi) size() int { return int(C.prenas_mpi_size()) }

func (m mpi) library() string {
	name, _, _ := strings.Cut(C.GoString(C.prenas_mpi_name()), ",")
	return fmt.Sprintf("%s (%s)", strings.Join(strings.Fields(name), " "), C.GoString(C.prenas_mpi_file()))
}

func at(b []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(b)) }

func (m mpi) broadcast(b []byte) error {
	return m.call("Bcast", func() C.int { return C.prenas_mpi_broadcast(at(b), C.int(len(b)), 0) })
}

func (m mpi) gather(own, all []byte) error {
	return m.call("Allgather", func() C.int { return C.prenas_mpi_gather(at(own), at(all), C.int(len(own))) })
}

func (m mpi) arrange(place, host int) error {
	return m.call("Comm_split", func() C.int { return C.prenas_mpi_arrange(C.int(place), C.int(host)) })
}

func (m mpi) exchange(g Group, from []float32, sent []Run, to []float32, got []Run) error {
	split := func(runs []Run) (counts, at []C.int) {
		for _, r := range runs {
			counts, at = append(counts, C.int(r.To-r.From)), append(at, C.int(r.From))
		}
		return counts, at
	}
	sends, sendsAt := split(sent)
	gets, getsAt := split(got)
	values := func(v []float32) *C.float { return (*C.float)(unsafe.Pointer(unsafe.SliceData(v))) }
	return m.call("Alltoallv", func() C.int {
		return C.prenas_mpi_exchange(C.int(g), values(from), &sends[0], &sendsAt[0], values(to), &gets[0], &getsAt[0])
	})
}

// tag of all messages.
const tag = 22

func (m mpi) send(to int, b []byte) error {
	return m.call("Send", func() C.int { return C.prenas_mpi_send(at(b), C.int(len(b)), C.int(to), tag) })
}

func (m mpi) receive(from int, b []byte) (arrived bool, err error) {
	var has C.int
	err = m.call("Recv", func() C.int {
		code := C.prenas_mpi_arrived(C.int(from), tag, &has)
		if code != 0 || has == 0 {
			return code
		}
		return C.prenas_mpi_receive(at(b), C.int(len(b)), C.int(from), tag)
	})
	return has != 0, err
}

func (m mpi) abort(code int) { C.prenas_mpi_abort(C.int(code)) }

func (m mpi) close() { m.do(func() { C.prenas_mpi_close() }) }
