package exhibit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"prenas/internal/fsys"
	"prenas/internal/printable"
	"prenas/internal/rundir"
)

// Limits of what is read of a journal.
const (
	maxLine = 1 << 20 // bytes; a longer line is left out
	// maxJournal bounds what is first read of a journal. Of a longer one only the end is read.
	maxJournal = 128 << 20
	seenBytes  = 64 // last bytes that were read, by which a journal is recognised
)

// tail reads the lines of a file that grows, each once.
type tail struct {
	name  string
	at    int64  // offset of the first byte that was not read yet
	end   []byte // the last bytes before at
	cut   bool   // the beginning was left out
	lines int    // lines that were read
	odd   int    // lines that were refused
	why   error  // of the first
}

// read calls each for the whole lines that were added since the last call. Where the file is another
// one, or was cut, it calls anew and reads from the beginning. changed tells whether anything was read.
func (t *tail) read(f fsys.FS, anew func(), each func(line []byte) error) (changed bool, err error) {
	info, err := f.Stat(t.name)
	if err != nil {
		return false, err
	}
	if !info.Mode().IsRegular() {
		return false, fmt.Errorf("%s %w", t.name, fsys.ErrNotRegular)
	}
	if info.Size() == t.at && t.at > 0 {
		return false, nil
	}
	file, err := f.Open(t.name)
	if err != nil {
		return false, err
	}
	defer file.Close()
	source, ok := file.(io.ReaderAt)
	if !ok {
		return false, fmt.Errorf("%s: %w", t.name, errors.ErrUnsupported)
	}
	if t.at > 0 && !t.goesOn(source, info.Size()) {
		*t = tail{name: t.name}
		anew()
	}
	if t.at == 0 && info.Size() > maxJournal {
		t.at, t.cut = info.Size()-maxJournal, true
	}
	began := t.at
	skip := t.cut && t.end == nil // reading begins within a line, whose rest is skipped
	r := io.NewSectionReader(source, t.at, info.Size()-t.at)
	text := make([]byte, 0, 1<<16)
	long := false // the line that text begins in is too long
	for {
		n, readErr := r.Read(text[len(text):cap(text)])
		text = text[:len(text)+n]
		for {
			line, rest, whole := bytes.Cut(text, []byte("\n"))
			if !whole {
				break
			}
			t.at, t.lines = t.at+int64(len(line))+1, t.lines+1
			switch {
			case long:
				t.refuse(fmt.Errorf("a line is longer than %d bytes", maxLine))
			case !skip:
				if err := each(line); err != nil {
					t.refuse(err)
				}
			}
			skip, long, text = false, false, rest
		}
		if readErr != nil {
			if readErr != io.EOF {
				err = readErr
			}
			break
		}
		switch {
		case len(text) >= maxLine:
			t.at, text, long = t.at+int64(len(text)), text[:0], true
		case cap(text)-len(text) < 1<<12:
			text = append(make([]byte, 0, max(1<<16, 2*len(text))), text...)
		}
	}
	if t.at > began {
		t.end = make([]byte, min(t.at, seenBytes))
		if _, readErr := source.ReadAt(t.end, t.at-int64(len(t.end))); readErr != nil {
			*t = tail{name: t.name} // it was cut meanwhile: the next call reads it from the beginning
			anew()
		}
	}
	return t.at != began, err
}

// goesOn tells whether the file still has the last bytes that were read, at their place.
func (t *tail) goesOn(source io.ReaderAt, size int64) bool {
	if size < t.at {
		return false
	}
	now := make([]byte, len(t.end))
	_, err := source.ReadAt(now, t.at-int64(len(now)))
	return err == nil && bytes.Equal(now, t.end)
}

func (t *tail) refuse(why error) {
	if t.odd++; t.odd == 1 {
		t.why = fmt.Errorf("line %d: %w", t.lines, why)
	}
}

// notes say what was left out.
func (t *tail) notes() (notes []string) {
	if t.cut {
		notes = append(notes, fmt.Sprintf("%s is longer than %d MB: only its end is shown.", t.name, maxJournal>>20))
	}
	switch {
	case t.odd == 1:
		notes = append(notes, fmt.Sprintf("%s: a line is damaged and left out: %v.", t.name, t.why))
	case t.odd > 1:
		notes = append(notes, fmt.Sprintf("%s: %s damaged and left out; the first: %v.", t.name, printable.Are(t.odd, "line"), t.why))
	}
	return notes
}

// journals are the journals of a training, as far as they were read.
type journals struct {
	rundir.Metrics
	metrics, timing tail
	failed          []string // errors of the last reading
}

func newJournals(metrics, timing string) *journals {
	return &journals{metrics: tail{name: metrics}, timing: tail{name: timing}}
}

// read reads the lines that were added since the last call.
func (j *journals) read(f fsys.FS) (changed bool) {
	j.failed = nil
	keep := func(grown bool, err error) {
		changed = changed || grown
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			j.failed = append(j.failed, err.Error())
		}
	}
	keep(j.metrics.read(f, func() { j.Metrics = rundir.Metrics{Timings: j.Timings} }, j.AddLine))
	keep(j.timing.read(f, func() { clear(j.Timings) }, j.AddTiming))
	return changed
}

// notes say what was left out.
func (j *journals) notes() []string {
	return append(append(j.metrics.notes(), j.timing.notes()...), j.failed...)
}
