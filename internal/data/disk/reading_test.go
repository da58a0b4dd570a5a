//go:build unix

package disk

import (
	"os"
	"syscall"
	"testing"
	"testing/synctest"

	"prenas/internal/data/codec"
)

// Whatever the system says, only some of it is worth another try.
func TestPatience(t *testing.T) {
	for err, want := range map[error]int{
		nil: 1, syscall.EACCES: 1, syscall.ENOENT: 1, codec.ErrFormat: 1,
		syscall.EIO: 1 + len(pauses), syscall.ESTALE: 1 + len(pauses), syscall.ENOMEM: 1 + len(pauses), syscall.ENFILE: 1 + len(pauses), &os.PathError{Op: "open", Path: "x", Err: syscall.EMFILE}: 1 + len(pauses),
	} {
		tries := 0
		synctest.Test(t, func(t *testing.T) {
			if _, got := Patiently(func() (int, error) { tries++; return 0, err }); got != err || tries != want {
				t.Errorf("%v: %d tries, want %d; %v", err, tries, want, got)
			}
		})
	}
}
