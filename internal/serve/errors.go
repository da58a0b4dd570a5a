package serve

import (
	"errors"
	"fmt"
	"net/http"
)

// Errors of this package.
var (
	// ErrFolder: a folder has no model that can be served.
	ErrFolder = errors.New("no model to serve")
	// ErrOptions: options that contradict each other.
	ErrOptions = errors.New("impossible options")
)

// refusal is why a request gets no answer, for its sender.
type refusal struct {
	status     int
	text       string
	retryAfter int // seconds until it is worth trying again; 0: it is not
}

func (r refusal) Error() string { return r.text }

func refuse(status int, format string, args ...any) error {
	return refusal{status: status, text: fmt.Sprintf(format, args...)}
}

// busy refuses what could be answered later.
func busy(format string, args ...any) error {
	return refusal{status: http.StatusTooManyRequests, text: fmt.Sprintf(format, args...), retryAfter: 1}
}
