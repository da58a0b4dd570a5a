package serve

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"prenas/internal/classify"
	"prenas/internal/crash"
	"prenas/internal/input"
	"prenas/internal/printable"
	"prenas/internal/web"
)

// Server answers requests with the models of a family.
type Server struct {
	o        Options
	family   *Family
	metrics  *metrics
	requests *semaphore.Weighted // with a body, that are answered at once
	pixels   *semaphore.Weighted // of all images that are decoded at once
	decoding latency             // of a million pixels
	ready    atomic.Bool
	token    [sha256.Size]byte
}

// Open opens all models of a folder of prenas export, or one model file, and measures them.
func Open(ctx context.Context, dir string, o Options) (*Server, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	open := func(ctx context.Context, path string) (runner, error) {
		return classify.Open(ctx, path, classify.Options{
			Backend: o.Backend, Precision: o.Precision, Stop: ctx.Done(), Batch: o.Batch, Sizes: batchSizes(o.Batch),
			Log: func(text string) { o.Log.Info(text) },
		})
	}
	return newServer(ctx, dir, o, open)
}

func newServer(ctx context.Context, dir string, o Options, open func(context.Context, string) (runner, error)) (*Server, error) {
	s := &Server{o: o, metrics: newMetrics(), requests: semaphore.NewWeighted(int64(o.Requests)), pixels: semaphore.NewWeighted(2 * int64(o.Pixels)), token: sha256.Sum256([]byte(o.Token))}
	var err error
	if s.family, err = openFamily(ctx, dir, o, s.metrics, open); err != nil {
		return nil, err
	}
	s.metrics.gauges(s.family)
	o.Log.Info("models are ordered by "+s.family.current.ranking, "models", s.family.current.names())
	s.ready.Store(true)
	return s, nil
}

// Close closes the models.
func (s *Server) Close() error { return s.family.close() }

// Run answers requests on a listener until ctx is cancelled, then ends those in flight and
// closes the listener.
func (s *Server) Run(ctx context.Context, listener net.Listener) error {
	watching, stop := context.WithCancel(ctx)
	watched := make(chan struct{})
	crash.Go(func() {
		defer close(watched)
		s.family.watch(watching, s.o.Reload)
	})
	defer func() { stop(); <-watched }()

	server := web.NewServer(s.Handler(), s.o.Log)
	server.ReadTimeout, server.WriteTimeout = s.o.Timeout, 2*s.o.Timeout
	serve := func() error { return server.Serve(listener) }
	if s.o.CertFile != "" {
		serve = func() error { return server.ServeTLS(listener, s.o.CertFile, s.o.KeyFile) }
	}
	return web.Run(ctx, server, serve, s.o.Grace, func() {
		s.ready.Store(false)
		s.o.Log.Info("stopping: requests in flight are finished", "grace", s.o.Grace.String())
	})
}

// Handler is all routes.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	route := func(pattern string, f func(w http.ResponseWriter, r *http.Request) error) {
		mux.Handle(pattern, s.wrap(pattern, f, true))
	}
	open := func(pattern string, f func(w http.ResponseWriter, r *http.Request) error) {
		mux.Handle(pattern, s.wrap(pattern, f, false))
	}
	open("GET /{$}", page("page.html", "text/html; charset=utf-8"))
	open("GET /page.js", page("page.js", "text/javascript; charset=utf-8"))
	open("GET /page.css", page("page.css", "text/css; charset=utf-8"))
	route("GET /models", s.models)
	route("POST /classify", s.limited(s.classify))
	route("GET /metrics", func(w http.ResponseWriter, r *http.Request) error {
		s.metrics.handler().ServeHTTP(w, r)
		return nil
	})
	open("GET /v2/health/live", func(w http.ResponseWriter, _ *http.Request) error {
		return reply(w, map[string]bool{"live": true})
	})
	open("GET /v2/health/ready", s.isReady)
	route("GET /v2", s.serverMetadata)
	for _, version := range []string{"", "/versions/{version}"} {
		route("GET /v2/models/{model}"+version, s.modelMetadata)
		open("GET /v2/models/{model}"+version+"/ready", s.modelReady)
		route("POST /v2/models/{model}"+version+"/infer", s.limited(s.infer))
	}
	// What no route takes is refused as all else is, in JSON, with a line in the log.
	unknown := s.wrap("ANY other", func(w http.ResponseWriter, r *http.Request) error {
		h, _ := mux.Handler(r)
		var only onlyStatus
		h.ServeHTTP(&only, r)
		if only.status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", only.Header().Get("Allow"))
			return refuse(only.status, "%s does not take %s, but %s", r.URL.Path, r.Method, only.Header().Get("Allow"))
		}
		return refuse(http.StatusNotFound, "there is no %s here", printable.Name(r.URL.Path))
	}, false)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(r); pattern == "" {
			unknown.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// onlyStatus is an answer of which the status and the headers count.
type onlyStatus struct {
	header http.Header
	status int
}

func (o *onlyStatus) Header() http.Header {
	if o.header == nil {
		o.header = http.Header{}
	}
	return o.header
}

func (o *onlyStatus) Write(text []byte) (int, error) { return len(text), nil }

func (o *onlyStatus) WriteHeader(status int) { o.status = status }

// seen counts what a handler answered, for the log.
type seen struct {
	http.ResponseWriter
	status int
	fields []any
}

func (w *seen) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *seen) Write(text []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(text)
}

// Unwrap is for http.ResponseController.
func (w *seen) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// note adds fields to the request's line of the log.
func note(w http.ResponseWriter, fields ...any) {
	if s, ok := w.(*seen); ok {
		s.fields = append(s.fields, fields...)
	}
}

// wrap is what all routes have in common: limits, the token, errors as JSON, a line in the
// log and metrics.
func (s *Server) wrap(pattern string, f web.Handler, private bool) http.Handler {
	_, route, _ := strings.Cut(pattern, " ")
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		began, id := time.Now(), requestID(r)
		w := &seen{ResponseWriter: rw}
		h := w.Header()
		h.Set("X-Request-Id", id)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'")
		ctx, cancel := context.WithTimeoutCause(r.Context(), s.o.Timeout,
			refuse(http.StatusServiceUnavailable, "not answered within %v: try again later", s.o.Timeout))
		defer cancel()
		r = r.WithContext(ctx)
		r.Body = http.MaxBytesReader(w, r.Body, s.o.Bytes)
		err := error(nil)
		if private && !s.allowed(r) {
			h.Set("WWW-Authenticate", "Bearer")
			err = refuse(http.StatusUnauthorized, "a token is needed: send the header Authorization: Bearer TOKEN")
		} else {
			err = f.Guarded(s.o.Log)(w, r)
		}
		if err != nil {
			fail(w, s.explain(err))
		}
		took := time.Since(began)
		s.metrics.request(route, w.status, took)
		level := slog.LevelInfo
		switch {
		case w.status >= 500 && w.status != http.StatusServiceUnavailable:
			level = slog.LevelError
		case !private && err == nil:
			level = slog.LevelDebug // probes of health and the page
		}
		fields := append([]any{"id", id, "method", r.Method, "route", route, "status", w.status, "ms", milliseconds(took)}, w.fields...)
		if err != nil {
			fields = append(fields, "error", err.Error())
		}
		s.o.Log.Log(context.WithoutCancel(ctx), level, "request", fields...)
	})
}

// limited refuses a request with a body where as many as allowed are being answered.
func (s *Server) limited(f func(http.ResponseWriter, *http.Request) error) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		if !s.requests.TryAcquire(1) {
			return busy("this server answers %d requests at once: try again later", s.o.Requests)
		}
		defer s.requests.Release(1)
		if coding := r.Header.Get("Content-Encoding"); coding != "" && coding != "identity" {
			w.Header().Set("Accept-Encoding", "identity")
			return refuse(http.StatusUnsupportedMediaType, "the body is coded as %s (Content-Encoding); send it as it is", printable.Name(coding))
		}
		return f(w, r)
	}
}

// requestID is the one that a request brings, if it is a plain word, or a new one.
func requestID(r *http.Request) string {
	id := r.Header.Get("X-Request-Id")
	plain := func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
	}
	if id != "" && len(id) <= 64 && strings.IndexFunc(id, func(c rune) bool { return !plain(c) }) < 0 {
		return id
	}
	var some [8]byte
	_, _ = rand.Read(some[:]) // never fails
	return hex.EncodeToString(some[:])
}

// allowed tells whether a request brings the token, in a time that tells nothing of it.
func (s *Server) allowed(r *http.Request) bool {
	if s.o.Token == "" {
		return true
	}
	kind, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	sum := sha256.Sum256([]byte(token))
	return strings.EqualFold(kind, "Bearer") && subtle.ConstantTimeCompare(sum[:], s.token[:]) == 1
}

// explain is the refusal that an error is to the sender.
func (s *Server) explain(err error) refusal {
	var told refusal
	var large *http.MaxBytesError
	var network net.Error
	switch {
	case errors.As(err, &told):
		return told
	case errors.As(err, &large):
		return refusal{status: http.StatusRequestEntityTooLarge, text: fmt.Sprintf("the body has more than %d bytes, the limit of this server (%v)", large.Limit, input.Body)}
	case errors.As(err, &network) && network.Timeout():
		return refusal{status: http.StatusRequestTimeout, text: fmt.Sprintf("the body did not arrive within %v", s.o.Timeout)}
	case errors.Is(err, context.Canceled):
		return refusal{status: 499, text: "the request was cancelled"} // as nginx has it; nobody reads it
	}
	return refusal{status: http.StatusInternalServerError, text: err.Error()}
}

// fail answers with a refusal, if nothing was answered yet.
func fail(w *seen, r refusal) {
	if w.status != 0 {
		return
	}
	if r.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(r.retryAfter))
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(r.status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": r.text}) // the sender may be gone
}

// reply answers with JSON.
func reply(w http.ResponseWriter, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(text, '\n')) // the sender may be gone
	return nil
}

func milliseconds(d time.Duration) float64 {
	return float64(d.Round(time.Microsecond)) / float64(time.Millisecond)
}

// isReady answers whether the server takes requests.
func (s *Server) isReady(w http.ResponseWriter, _ *http.Request) error {
	if !s.ready.Load() {
		return refuse(http.StatusServiceUnavailable, "stopping")
	}
	return reply(w, map[string]bool{"ready": true})
}

// described is a model in the answer of GET /models.
type described struct {
	Name       string      `json:"name"`
	Arch       string      `json:"arch"`
	Parameters int64       `json:"parameters"`
	MACs       int64       `json:"macs"`
	Top1       *float64    `json:"top1"`                    // null: not measured
	Within     *[2]float64 `json:"top1_interval,omitempty"` // 95 %
	Images     int         `json:"measured_images,omitempty"`
	Split      string      `json:"measured_split,omitempty"`
	Latency    float64     `json:"latency_ms"` // expected of one image without load, decoding not included
	Waiting    int64       `json:"waiting_images"`
	Size       int         `json:"image_size"`
	Classes    []string    `json:"classes"`
}

// models lists the models, the most accurate first.
func (s *Server) models(w http.ResponseWriter, _ *http.Request) error {
	current, release := s.family.acquire()
	defer release()
	answer := struct {
		OrderedBy string      `json:"ordered_by"`
		Models    []described `json:"models"`
	}{OrderedBy: current.ranking}
	for _, m := range current.models {
		i := m.Info()
		d := described{Name: m.name, Arch: i.Arch, Parameters: i.Parameters, MACs: i.MACs, Latency: milliseconds(m.expect(1, 0)), Waiting: m.waiting.Load(), Size: i.Architecture.ImageSize}
		if i.Accuracy != nil {
			d.Top1, d.Within, d.Images, d.Split = &i.Accuracy.Top1, i.Accuracy.Top1Interval, i.Accuracy.Images, i.Accuracy.Split
		}
		for label := range i.Architecture.NumClasses {
			d.Classes = append(d.Classes, i.ClassName(label))
		}
		answer.Models = append(answer.Models, d)
	}
	return reply(w, answer)
}
