package serve

import (
	"net/http"
	"strings"
	"time"

	"prenas/internal/printable"
)

// wish is what a request asks for.
type wish struct {
	model  string        // by name; empty: any
	within time.Duration // 0: however long it takes
	since  time.Time     // when the request arrived
	before time.Duration // that decoding will take
	images int
}

// choice of a model for a request.
type choice struct {
	model    *model
	degraded string // the model that would have answered without load; empty: this one
	expected time.Duration
}

// choose picks the model of a request: the named one; or the most accurate one that is expected to
// answer within the time; or the most accurate one. With degrade, where no model was named, a
// model whose queue is more than half full gives way to the next less accurate one.
func (f *family) choose(w wish, degrade bool) (choice, error) {
	before := f.backlog() + w.before
	if w.model != "" {
		m := f.model(w.model)
		if m == nil {
			return choice{}, refuse(http.StatusNotFound, "no model %q: there are %s", printable.Name(w.model), strings.Join(f.names(), ", "))
		}
		expected := m.expect(w.images, before)
		if w.within > 0 && time.Since(w.since)+expected > w.within {
			return choice{}, f.late(w, m, expected)
		}
		return choice{model: m, expected: expected}, nil
	}
	var wanted *model // were there no load
	var fastest *model
	for _, m := range f.models {
		idle, expected := m.expect(w.images, w.before), m.expect(w.images, before)
		if fastest == nil || idle < fastest.expect(w.images, w.before) {
			fastest = m
		}
		if w.within > 0 && idle > w.within {
			continue
		}
		if wanted == nil {
			wanted = m
		}
		if w.within > 0 && time.Since(w.since)+expected > w.within {
			continue
		}
		if degrade && 2*int(m.waiting.Load()) > cap(m.queue) {
			continue
		}
		return choice{model: m, degraded: instead(wanted, m), expected: expected}, nil
	}
	if w.within > 0 {
		return choice{}, f.late(w, fastest, fastest.expect(w.images, before))
	}
	return choice{model: fastest, degraded: instead(wanted, fastest), expected: fastest.expect(w.images, before)}, nil
}

// instead names the wanted model where another one answers.
func instead(wanted, answers *model) string {
	if wanted == answers {
		return ""
	}
	return wanted.name
}

// late refuses a request that the best model for it, m, cannot answer in time.
func (f *family) late(w wish, m *model, expected time.Duration) error {
	if idle := m.expect(w.images, w.before); idle > w.within {
		return refuse(http.StatusUnprocessableEntity, "no answer within %v: model %s needs %v without any load", w.within, m.name, idle.Round(10*time.Microsecond))
	}
	return refusal{
		status: http.StatusServiceUnavailable, retryAfter: 1,
		text: "no answer within " + w.within.String() + " now: with what waits before it, model " + m.name + " would need " + expected.Round(10*time.Microsecond).String(),
	}
}
