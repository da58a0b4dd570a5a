package serve

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics for Prometheus, in a registry of the server's own.
type metrics struct {
	registry  *prometheus.Registry
	requests  *prometheus.CounterVec   // route, code
	seconds   *prometheus.HistogramVec // route
	images    *prometheus.CounterVec   // model
	batches   *prometheus.HistogramVec // model
	computing *prometheus.HistogramVec // model
	degraded  *prometheus.CounterVec   // model that answered
	reloads   *prometheus.CounterVec   // outcome
}

func newMetrics() *metrics {
	times := prometheus.ExponentialBuckets(0.0005, 2, 16) // half a millisecond to 16 s
	m := &metrics{
		registry:  prometheus.NewRegistry(),
		requests:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "prenas_requests_total", Help: "Requests by route and status code."}, []string{"route", "code"}),
		seconds:   prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "prenas_request_seconds", Help: "Time from a request's headers to its answer.", Buckets: times}, []string{"route"}),
		images:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "prenas_images_total", Help: "Images that a model has computed."}, []string{"model"}),
		batches:   prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "prenas_batch_images", Help: "Images that a model computed at once.", Buckets: prometheus.ExponentialBuckets(1, 2, 8)}, []string{"model"}),
		computing: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "prenas_compute_seconds", Help: "Time that a batch took to compute.", Buckets: times}, []string{"model"}),
		degraded:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "prenas_degraded_total", Help: "Requests that a less accurate model answered because of load."}, []string{"model"}),
		reloads:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "prenas_models_read_total", Help: "Model files read, by outcome."}, []string{"outcome"}),
	}
	m.registry.MustRegister(m.requests, m.seconds, m.images, m.batches, m.computing, m.degraded, m.reloads,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// gauges adds what is asked for at each scrape: what waits, and the latency that is expected.
func (m *metrics) gauges(f *Family) {
	m.registry.MustRegister(familyCollector{f})
}

func (m *metrics) batch(model string, n int, took time.Duration) {
	m.images.WithLabelValues(model).Add(float64(n))
	m.batches.WithLabelValues(model).Observe(float64(n))
	m.computing.WithLabelValues(model).Observe(took.Seconds())
}

func (m *metrics) request(route string, code int, took time.Duration) {
	m.requests.WithLabelValues(route, strconv.Itoa(code)).Inc()
	m.seconds.WithLabelValues(route).Observe(took.Seconds())
}

func (m *metrics) reload(outcome string) { m.reloads.WithLabelValues(outcome).Inc() }

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

var (
	waitingImages = prometheus.NewDesc("prenas_waiting_images", "Images that wait for a model or are in work.", []string{"model"}, nil)
	expectSeconds = prometheus.NewDesc("prenas_expected_seconds", "Expected time of one image without load.", []string{"model"}, nil)
)

// familyCollector tells of the models that are served at the time.
type familyCollector struct{ f *Family }

func (familyCollector) Describe(to chan<- *prometheus.Desc) {
	to <- waitingImages
	to <- expectSeconds
}

func (c familyCollector) Collect(to chan<- prometheus.Metric) {
	current, release := c.f.acquire()
	defer release()
	for _, m := range current.models {
		to <- prometheus.MustNewConstMetric(waitingImages, prometheus.GaugeValue, float64(m.waiting.Load()), m.name)
		to <- prometheus.MustNewConstMetric(expectSeconds, prometheus.GaugeValue, m.expect(1, 0).Seconds(), m.name)
	}
}
