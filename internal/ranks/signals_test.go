//go:build unix

package ranks

import (
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"prenas/internal/ranks/rankstest"
)

func init() {
	roles["signals"] = func(w *World) error {
		heard := make(chan os.Signal, 1000)
		signal.Notify(heard, syscall.SIGUSR1)
		stop := time.Now().Add(300 * time.Millisecond)
		for sent := 0; time.Now().Before(stop); sent++ { // a handler of MPI's would run on this goroutine's stack
			if err := syscall.Kill(os.Getpid(), syscall.SIGUSR1); err != nil {
				return err
			}
		}
		<-heard
		fmt.Println("heard: true")
		return w.Close()
	}
}

// A library's handler of SIGUSR1 does not run on a goroutine's stack, where Go ends the process.
func TestSignalsAreHeardUnderMPI(t *testing.T) {
	rankstest.Each(t, func(t *testing.T, l rankstest.Launcher) {
		text, err := run(t, l, 2, "signals")
		if err != nil || strings.Count(text, "heard: true") != 2 {
			t.Errorf("%v\n%.2000s", err, text)
		}
	})
}
