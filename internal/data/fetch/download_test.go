package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// Connections that break, stand still or begin anew still bring every byte once, in order;
// where none brings more, the error says how far it came.
func TestDownloadGoesOn(t *testing.T) {
	text := make([]byte, 300_000)
	for i := range text {
		text[i] = byte(i * 7 / 5)
	}
	half := len(text) / 2
	whole := func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(text))
	}
	// cut sends all or, when asked for a range, the rest, and breaks off after n bytes.
	cut := func(w http.ResponseWriter, r *http.Request, n int) {
		from := 0
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err == nil {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(text)-1, len(text)))
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(text)-from))
		if from > 0 {
			w.WriteHeader(http.StatusPartialContent)
		}
		_, _ = w.Write(text[from:min(from+n, len(text))])
		panic(http.ErrAbortHandler)
	}
	first := func(count int) bool { return count == 1 }
	for name, c := range map[string]struct {
		serve func(w http.ResponseWriter, r *http.Request, count int)
		want  string // words of the error; none: it succeeds
	}{
		"sound":  {func(w http.ResponseWriter, r *http.Request, _ int) { whole(w, r) }, ""},
		"breaks": {func(w http.ResponseWriter, r *http.Request, _ int) { cut(w, r, len(text)/4) }, ""},
		"breaks, has no ranges": {func(w http.ResponseWriter, r *http.Request, count int) {
			if r.Header.Del("Range"); first(count) {
				cut(w, r, half)
			}
			whole(w, r)
		}, ""},
		"breaks, then is busy": {func(w http.ResponseWriter, r *http.Request, count int) {
			switch count {
			case 1:
				cut(w, r, half)
			case 2:
				w.WriteHeader(http.StatusServiceUnavailable)
			default:
				whole(w, r)
			}
		}, ""},
		"stands still": {func(w http.ResponseWriter, r *http.Request, count int) {
			if first(count) {
				_, _ = w.Write(text[:half])
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
				return
			}
			whole(w, r)
		}, ""},
		"never answers":   {func(_ http.ResponseWriter, r *http.Request, _ int) { <-r.Context().Done() }, errStalled.Error()},
		"breaks for good": {func(w http.ResponseWriter, r *http.Request, _ int) { r.Header.Del("Range"); cut(w, r, half) }, fmt.Sprintf("after %d of %d bytes", half, len(text))},
		"changes": {func(w http.ResponseWriter, r *http.Request, count int) {
			w.Header().Set("ETag", fmt.Sprintf(`"%d"`, count))
			if first(count) {
				cut(w, r, half)
			}
			whole(w, r)
		}, "changed"},
		"sends another range": {func(w http.ResponseWriter, r *http.Request, count int) {
			if first(count) {
				cut(w, r, half)
			}
			r.Header.Set("Range", "bytes=5-")
			whole(w, r)
		}, "not the bytes from"},
		"loses it": {func(w http.ResponseWriter, r *http.Request, count int) {
			if first(count) {
				cut(w, r, half)
			}
			http.NotFound(w, r)
		}, "404"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			count := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				count++
				c.serve(w, r, count)
			}))
			defer server.Close()
			var done, total int64
			d := NewDownload(context.Background(), server.URL, 200*time.Millisecond, &Meter{tell: func(d, t int64) { done, total = d, t }})
			got, err := io.ReadAll(d)
			d.Close()
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), server.URL) {
					t.Errorf("error %v, want one with %q", err, c.want)
				}
				return
			}
			if err != nil || !bytes.Equal(got, text) {
				t.Fatalf("%d bytes of %d, %v", len(got), len(text), err)
			}
			if done != int64(len(text)) || total != 0 && total != done {
				t.Errorf("progress ends with %d of %d", done, total)
			}
		})
	}
}

func TestDownloadIsStopped(t *testing.T) {
	ctx, stop := context.WithCancel(context.Background())
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		stop()
		<-r.Context().Done()
	}))
	defer server.Close()
	d := NewDownload(ctx, server.URL, Patience, &Meter{})
	defer d.Close()
	if _, err := io.ReadAll(d); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}
