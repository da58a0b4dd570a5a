package serve

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"prenas/internal/classify"
	"prenas/internal/crash"
	"prenas/internal/data"
	"prenas/internal/export"
	"prenas/internal/printable"
)

// runner is what is needed of an open model; *classify.Model is one.
type runner interface {
	Info() export.Info
	Prepare(img data.Image) ([]float32, error)
	Logits(inputs [][]float32) ([][]float32, error)
	Rank(logits []float32, top int) []classify.Class
	Close() error
}

// model is an open model with the requests that wait for it.
type model struct {
	runner
	name    string // of its file, without the ending
	file    stamp
	batch   int // images that are computed at once, at most
	compute *sync.Mutex
	queue   chan *ask
	waiting atomic.Int64 // images in the queue and in work
	prepare latency      // of one image
	batches latency
	metrics *metrics
	done    chan struct{} // closed when the queue has been worked off
}

// ask is one prepared image that waits for its logits.
type ask struct {
	ctx    context.Context
	input  []float32
	answer chan answer // has room for one
}

// answer to an ask.
type answer struct {
	logits         []float32
	err            error
	batch          int
	began          time.Time
	queued, worked time.Duration
}

func newModel(name string, file stamp, r runner, o Options, compute *sync.Mutex, m *metrics) *model {
	v := &model{runner: r, name: name, file: file, batch: o.Batch, compute: compute, queue: make(chan *ask, o.Queue), batches: latency{sizes: batchSizes(o.Batch)}, metrics: m, done: make(chan struct{})}
	crash.Go(v.work)
	return v
}

// modelName of a file.
func modelName(path string) string {
	return strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
}

// measure runs the model on black images, so that its programs are compiled and its
// latency is known before the first request: each size of batch once to get ready and then
// some times.
func (m *model) measure(ctx context.Context) error {
	a := m.Info().Architecture
	began := time.Now()
	input, err := m.Prepare(data.Image{Pixels: make([]uint8, 3*a.ImageSize*a.ImageSize), Height: a.ImageSize, Width: a.ImageSize, Channels: 3})
	if err != nil {
		return err
	}
	m.prepare.add(1, time.Since(began))
	for _, size := range batchSizes(m.batch) {
		for turn := range 6 {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			took, err := m.timed(slices.Repeat([][]float32{input}, size))
			if err != nil {
				return err
			}
			if turn > 0 {
				m.batches.add(size, took)
			}
		}
	}
	return nil
}

// timed is how long a batch takes, one batch of the whole process at a time: two at once would share
// the cores, and neither would take as long as was measured. The wait for others is not part of it:
// a model may be opened under load.
func (m *model) timed(inputs [][]float32) (time.Duration, error) {
	m.compute.Lock()
	defer m.compute.Unlock()
	began := time.Now()
	_, err := m.Logits(inputs)
	return time.Since(began), err
}

// work computes what waits, as many images at once as there are, until the queue is closed.
func (m *model) work() {
	defer close(m.done)
	for first := range m.queue {
		m.compute.Lock() // more may arrive while others compute
		asks := m.gather(first)
		m.run(asks)
		m.compute.Unlock()
	}
}

// gather is a first ask and those that wait behind it, up to a batch. Those whose sender has
// gone are left out.
func (m *model) gather(first *ask) []*ask {
	var asks []*ask
	add := func(a *ask) {
		if a.ctx.Err() != nil {
			m.waiting.Add(-1)
			a.answer <- answer{err: context.Cause(a.ctx)}
			return
		}
		asks = append(asks, a)
	}
	add(first)
	for len(asks) < m.batch {
		select {
		case a, open := <-m.queue:
			if !open {
				return asks
			}
			add(a)
		default:
			return asks
		}
	}
	return asks
}

// run computes asks and answers them.
func (m *model) run(asks []*ask) {
	if len(asks) == 0 {
		return
	}
	inputs := make([][]float32, len(asks))
	for i, a := range asks {
		inputs[i] = a.input
	}
	began := time.Now()
	rows, err := m.Logits(inputs)
	worked := time.Since(began)
	if err == nil {
		m.batches.add(len(asks), worked)
		m.metrics.batch(m.name, len(asks), worked)
	}
	if errors.Is(err, classify.ErrNonFinite) && len(asks) > 1 {
		for i := range asks { // the one whose input is out of range must not fail the others
			m.run(asks[i : i+1])
		}
		return
	}
	m.waiting.Add(-int64(len(asks)))
	for i, a := range asks {
		got := answer{err: err, batch: len(asks), began: began, worked: worked}
		if err == nil {
			got.logits = rows[i]
		}
		a.answer <- got
	}
}

// ask puts images into the queue, all or none, and waits for their answers.
func (m *model) ask(ctx context.Context, inputs [][]float32) ([]answer, error) {
	if room := cap(m.queue) - int(m.waiting.Load()); len(inputs) > room {
		return nil, busy("model %s: its queue has %s and room for %d: try again later", m.name, printable.Count(m.waiting.Load(), "image"), cap(m.queue))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // what is still in the queue when this returns is left out
	put := time.Now()
	asks := make([]*ask, len(inputs))
	for i, input := range inputs {
		asks[i] = &ask{ctx: ctx, input: input, answer: make(chan answer, 1)}
		m.waiting.Add(1)
		select {
		case m.queue <- asks[i]:
		default: // others were faster
			m.waiting.Add(-1)
			return nil, busy("model %s: its queue of %s is full: try again later", m.name, printable.Count(cap(m.queue), "image"))
		}
	}
	answers := make([]answer, len(asks))
	for i, a := range asks {
		select {
		case answers[i] = <-a.answer:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		if answers[i].err != nil {
			return nil, answers[i].err
		}
		answers[i].queued = answers[i].began.Sub(put)
	}
	return answers, nil
}

// expect is how long n more images take from now on, where other work takes before.
func (m *model) expect(n int, before time.Duration) time.Duration {
	return time.Duration(n)*m.prepare.expect(1) + before + m.computing(n)
}

// computing is how long n images take in batches.
func (m *model) computing(n int) time.Duration {
	d := time.Duration(n/m.batch) * m.batches.expect(m.batch)
	if rest := n % m.batch; rest > 0 {
		d += m.batches.expect(rest)
	}
	return d
}

// backlog is how long what waits for the model takes.
func (m *model) backlog() time.Duration { return m.computing(int(m.waiting.Load())) }

// stop computes what waits and closes the model. Nobody may ask it any more.
func (m *model) stop() error {
	close(m.queue)
	<-m.done
	return m.Close()
}

// isONNX tells the form of the model's file.
func (m *model) isONNX() bool { return filepath.Ext(m.file.path) == ".onnx" }
