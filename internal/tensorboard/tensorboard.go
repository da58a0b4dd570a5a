// Package tensorboard writes scalars in the event files that TensorBoard reads.
//
// A file is a sequence of records: length (uint64), its checksum, an Event message, the
// message's checksum; numbers are little-endian and a checksum is a CRC-32C, turned and
// shifted ("masked") as TensorFlow's record_writer.cc has it. The messages are those of
// TensorFlow's event.proto and summary.proto, of which scalars need few fields.
package tensorboard

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"prenas/internal/fsys"
)

// FileName is what TensorBoard takes for an event file, by its "tfevents".
const FileName = "events.out.tfevents.prenas"

// Fields of Event, Summary and Summary.Value.
const (
	eventWallTime    = 1
	eventStep        = 2
	eventFileVersion = 3
	eventSummary     = 5
	summaryValue     = 1
	valueTag         = 1
	valueSimple      = 2
)

// Writer appends events to a file.
type Writer struct {
	path string
	file fsys.File
}

// Scalar is a number of a name; names with slashes are grouped by what stands before.
type Scalar struct {
	Tag   string
	Value float64
}

// Create opens an event file and empties it.
func Create(f fsys.FS, path string, now time.Time) (*Writer, error) {
	file, err := f.OpenAppend(path)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	w := &Writer{path: path, file: file}
	if err := f.Truncate(path, 0); err != nil {
		file.Close()
		return nil, fmt.Errorf("empty %s: %w", path, err)
	}
	e := event(now, 0)
	e = protowire.AppendTag(e, eventFileVersion, protowire.BytesType)
	if err := w.record(protowire.AppendString(e, "brain.Event:2")); err != nil {
		file.Close()
		return nil, err
	}
	return w, nil
}

// Write appends the scalars of a step.
func (w *Writer) Write(at time.Time, step int, scalars []Scalar) error {
	var summary []byte
	for _, s := range scalars {
		var value []byte
		value = protowire.AppendTag(value, valueTag, protowire.BytesType)
		value = protowire.AppendString(value, s.Tag)
		value = protowire.AppendTag(value, valueSimple, protowire.Fixed32Type)
		value = protowire.AppendFixed32(value, math.Float32bits(float32(s.Value)))
		summary = protowire.AppendTag(summary, summaryValue, protowire.BytesType)
		summary = protowire.AppendBytes(summary, value)
	}
	e := event(at, step)
	e = protowire.AppendTag(e, eventSummary, protowire.BytesType)
	return w.record(protowire.AppendBytes(e, summary))
}

// Close closes the file.
func (w *Writer) Close() error { return w.file.Close() }

func event(at time.Time, step int) []byte {
	var e []byte
	e = protowire.AppendTag(e, eventWallTime, protowire.Fixed64Type)
	e = protowire.AppendFixed64(e, math.Float64bits(float64(at.UnixNano())/1e9))
	e = protowire.AppendTag(e, eventStep, protowire.VarintType)
	return protowire.AppendVarint(e, uint64(step))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func masked(text []byte) uint32 {
	sum := crc32.Checksum(text, castagnoli)
	return (sum>>15 | sum<<17) + 0xa282ead8
}

func (w *Writer) record(text []byte) error {
	record := binary.LittleEndian.AppendUint64(nil, uint64(len(text)))
	record = binary.LittleEndian.AppendUint32(record, masked(record))
	record = append(record, text...)
	record = binary.LittleEndian.AppendUint32(record, masked(text))
	if _, err := w.file.Write(record); err != nil {
		return fmt.Errorf("write %s: %w", w.path, err)
	}
	return nil
}
