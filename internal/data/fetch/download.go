package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	downloads  = 4 // at once
	attempts   = 3 // to connect, in a row, that bring nothing
	retryAfter = 200 * time.Millisecond
	Patience   = time.Minute // without a byte
)

var errStalled = errors.New("the server sends nothing more")

// Download reads what is at an address. Where a connection breaks or stands still it goes
// on from there with another one.
type Download struct {
	ctx      context.Context
	address  string
	patience time.Duration
	meter    *metered

	body    io.ReadCloser // nil between connections
	hangUp  context.CancelCauseFunc
	timer   *time.Timer // ends a connection that stands still
	n       int64       // bytes so far
	length  int64       // of all; -1 where the server does not say
	version string      // that the server gives what is there
	failed  int         // attempts in a row that brought nothing
}

func NewDownload(ctx context.Context, address string, patience time.Duration, m *Meter) *Download {
	return &Download{ctx: ctx, address: address, patience: patience, meter: &metered{m: m}, length: -1}
}

func (d *Download) Read(p []byte) (int, error) {
	for {
		final, err := false, error(nil)
		if d.body == nil {
			final, err = d.connect()
		}
		if err == nil {
			var n int
			n, err = d.read(p)
			d.n += int64(n)
			d.meter.add(int64(n))
			if n > 0 {
				d.failed = 0
				if err != nil && err != io.EOF {
					d.Close()
				}
				return n, nil // an end is told again
			}
		}
		switch {
		case err == nil, err == io.EOF:
			return 0, err
		case d.ctx.Err() != nil:
			return 0, d.ctx.Err()
		case final:
			return 0, err
		}
		d.Close()
		if d.failed++; d.failed == attempts {
			if d.n > 0 {
				err = fmt.Errorf("it breaks off after %s, %d times: %w", d.soFar(), attempts, err)
			}
			return 0, err
		}
		select {
		case <-time.After(retryAfter << (d.failed - 1)):
		case <-d.ctx.Done():
		}
	}
}

func (d *Download) soFar() string {
	if d.length < 0 {
		return fmt.Sprintf("%d bytes", d.n)
	}
	return fmt.Sprintf("%d of %d bytes", d.n, d.length)
}

// connect asks for the bytes that are still to come. It reports whether an error will not
// go away by another attempt.
func (d *Download) connect() (final bool, err error) {
	var ctx context.Context
	ctx, d.hangUp = context.WithCancelCause(d.ctx)
	d.timer = time.AfterFunc(d.patience, func() { d.hangUp(errStalled) })
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, d.address, nil)
	if err != nil {
		return true, withoutURL(err)
	}
	request.Header.Set("Accept-Encoding", "identity") // the bytes as they are, so that they can be counted
	if d.n > 0 {
		request.Header.Set("Range", fmt.Sprintf("bytes=%d-", d.n))
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		if context.Cause(ctx) == errStalled {
			err = errStalled
		}
		return false, withoutURL(err)
	}
	d.body = &patient{response.Body, d.timer, d.patience, ctx}
	version := response.Header.Get("ETag") + response.Header.Get("Last-Modified")
	skip := int64(0)
	switch code := response.StatusCode; {
	case code == http.StatusOK && d.n == 0:
		d.version, d.length = version, response.ContentLength
		d.meter.expect(d.length)
	case version != d.version && (code == http.StatusOK || code == http.StatusPartialContent):
		return true, fmt.Errorf("it was changed while it was fetched")
	case code == http.StatusOK: // from the beginning again
		skip = d.n
	case code == http.StatusPartialContent && d.n > 0:
		if part := response.Header.Get("Content-Range"); !strings.HasPrefix(part, fmt.Sprintf("bytes %d-", d.n)) {
			return true, fmt.Errorf("the server sends %q, not the bytes from %d on", part, d.n)
		}
	default:
		return code < 500 && code != http.StatusTooManyRequests, fmt.Errorf("the server says %s", response.Status)
	}
	_, err = io.CopyN(io.Discard, d.body, skip)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return false, err
}

// read reads from the connection that there is.
func (d *Download) read(p []byte) (int, error) {
	n, err := d.body.Read(p)
	if err == io.EOF && d.n+int64(n) < d.length {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Close ends the connection, if there is one.
func (d *Download) Close() {
	if d.hangUp != nil {
		d.hangUp(nil)
		d.timer.Stop()
	}
	if d.body != nil {
		d.body.Close()
		d.body = nil
	}
}

// patient is a body with a timer that runs while it is read.
type patient struct {
	io.ReadCloser
	timer    *time.Timer
	patience time.Duration
	ctx      context.Context
}

func (b *patient) Read(p []byte) (int, error) {
	b.timer.Reset(b.patience)
	n, err := b.ReadCloser.Read(p)
	b.timer.Stop()
	if err != nil && context.Cause(b.ctx) == errStalled {
		err = errStalled
	}
	return n, err
}

// withoutURL drops the address that the caller names, with its password if it has one.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
