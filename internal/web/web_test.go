package web

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// A panic is an error of its request, and is logged with where it was.
func TestGuarded(t *testing.T) {
	var log bytes.Buffer
	var h Handler = func(http.ResponseWriter, *http.Request) error { panic("broken") }
	err := h.Guarded(slog.New(slog.NewTextHandler(&log, nil)))(nil, httptest.NewRequest("GET", "/here", nil))
	if !errors.Is(err, ErrFault) || !strings.Contains(err.Error(), "broken") {
		t.Errorf("error %v", err)
	}
	if text := log.String(); !strings.Contains(text, "/here") || !strings.Contains(text, "web_test.go") {
		t.Errorf("logged %s", text)
	}
}

// A server that is stopped finishes a request that is short enough, and cuts one that is not.
func TestRunFinishesWhatItBegan(t *testing.T) {
	for _, c := range []struct {
		takes, grace time.Duration
		cut          bool
	}{{50 * time.Millisecond, time.Minute, false}, {time.Minute, 50 * time.Millisecond, true}} {
		began := make(chan struct{})
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(began)
			select {
			case <-time.After(c.takes):
				_, _ = io.WriteString(w, "done")
			case <-r.Context().Done():
			}
		})
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := NewServer(h, slog.New(slog.DiscardHandler))
		ctx, stop := context.WithCancel(t.Context())
		stopping, ended := false, make(chan error, 1)
		go func() {
			ended <- Run(ctx, s, func() error { return s.Serve(listener) }, c.grace, func() { stopping = true })
		}()
		answer := make(chan string, 1)
		go func() {
			r, err := http.Get("http://" + listener.Addr().String())
			if err != nil {
				answer <- "none"
				return
			}
			defer r.Body.Close()
			text, _ := io.ReadAll(r.Body)
			answer <- string(text)
		}()
		<-began
		stop()
		if err := <-ended; errors.Is(err, ErrCut) != c.cut || !c.cut && err != nil || !stopping {
			t.Errorf("a request of %v, %v to finish: error %v, stopping %v", c.takes, c.grace, err, stopping)
		}
		if text := <-answer; (text == "done") == c.cut {
			t.Errorf("a request of %v, %v to finish: answer %q", c.takes, c.grace, text)
		}
	}
}
