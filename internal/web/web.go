// Package web is what the servers of prenas have in common: limits against slow and broken clients, an end that
// finishes what it began, and a handler's panic as an error of its request alone.
package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"prenas/internal/crash"
)

// Errors.
var (
	// ErrFault: a handler panicked.
	ErrFault = errors.New("a fault of prenas itself")
	// ErrCut: requests were still in flight when their time was up.
	ErrCut = errors.New("requests were still in flight and are cut")
)

// Handler answers a request, or says why not, before anything is written.
type Handler func(w http.ResponseWriter, r *http.Request) error

// Guarded is the handler; a panic in it is logged and becomes an error that wraps ErrFault.
func (h Handler) Guarded(log *slog.Logger) Handler {
	return func(w http.ResponseWriter, r *http.Request) (err error) {
		defer func() {
			if why := recover(); why != nil {
				log.Error(ErrFault.Error(), "request", r.URL.RequestURI(), "fault", fmt.Sprint(why), "stack", string(debug.Stack()))
				err = fmt.Errorf("%w: %v", ErrFault, why)
			}
		}()
		return h(w, r)
	}
}

// NewServer has the limits on what comes before a request's body; those on bodies and answers are the caller's.
func NewServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug), // of broken connections, which clients can cause at will
	}
}

// Run serves until ctx is cancelled. Then it calls stopping, finishes the requests in flight for as long as grace, and closes
// the listener. Where that was not long enough the error wraps ErrCut.
func Run(ctx context.Context, s *http.Server, serve func() error, grace time.Duration, stopping func()) error {
	ended := make(chan error, 1)
	crash.Go(func() { ended <- serve() })
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	stopping()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	err := s.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.Join(fmt.Errorf("%w after %v", ErrCut, grace), s.Close())
	}
	return err
}
