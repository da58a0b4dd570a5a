package export

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"prenas/internal/fsys"
	"prenas/internal/sealed"
	"prenas/internal/tensorfile"
)

// MetadataKey is where a model's file, safetensors or ONNX, holds its Info as JSON.
const MetadataKey = "prenas.model"

// Names of the input and the output of an ONNX model.
const (
	InputName  = "images"
	OutputName = "logits"
)

// Write writes the model as safetensors.
func (m *Model) Write(f fsys.FS, path string) error {
	text, err := json.Marshal(m.Info)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return tensorfile.Write(f, path, &tensorfile.File{Tensors: m.Tensors, Metadata: map[string]string{MetadataKey: string(text)}})
}

// Read reads a model that Write wrote. Errors name the file and wrap ErrModel, or what
// tensorfile has for damaged files.
func Read(f fsys.FS, path string) (*Model, error) {
	file, err := tensorfile.ReadVerified(f, path)
	if err != nil {
		return nil, err
	}
	m, err := Of(file)
	if errors.Is(err, ErrNoDescription) {
		err = fmt.Errorf("%w; prenas export writes models", err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// Of is the model that the tensors of a file are; the error is ErrNoDescription where the
// file is none of a model.
func Of(file *tensorfile.File) (*Model, error) {
	text, ok := file.Metadata[MetadataKey]
	if !ok {
		return nil, ErrNoDescription
	}
	m := &Model{Tensors: file.Tensors}
	var err error
	if m.Info, err = ParseInfo([]byte(text)); err == nil {
		err = m.check()
	}
	return m, err
}

// Description is path.json beside a model's file: the Info again, and the digests of the
// model's file and of its card, by name. It is written last, so where it agrees with both
// they are of one export.
type Description struct {
	Info
	Files map[string]string `json:"files"`
}

// WriteSiblings writes what people read beside a model's file that was written through the
// same set, whatever its format: its card, path.md, and its Description, path.json.
func WriteSiblings(set *fsys.Set, path string, c Card) error {
	c.SHA256 = set.Sum(path)
	card, err := c.markdown()
	if err != nil {
		return fmt.Errorf("%s: model card: %w", path, err)
	}
	err = fsys.WriteAtomic(set, path+".md", func(w io.Writer) error {
		_, err := w.Write(card)
		return err
	})
	if err != nil {
		return err
	}
	d := Description{Info: c.Info, Files: map[string]string{}}
	for _, file := range []string{path, path + ".md"} {
		d.Files[filepath.Base(file)] = set.Sum(file)
	}
	return sealed.Write(set, path+".json", d)
}

// An ONNX file's metadata has, last of all and so at the file's end, the SHA-256 of the file
// as it is with zeros in the digest's place.
const (
	sealKey = "prenas.sha256"
	// sealHead is what stands before the digest: the key, and the tag and length of the
	// value, in protobuf's form.
	sealHead = sealKey + "\x12\x40"
)

// Seal is the entry of metadata that SealONNX fills: it must be the file's last bytes.
func Seal() (key, value string) { return sealKey, strings.Repeat("0", 2*sha256.Size) }

// SealONNX puts the digest into an ONNX file whose last entry of metadata is Seal.
func SealONNX(text []byte) error {
	digest := len(text) - 2*sha256.Size
	if digest < len(sealHead) || string(text[digest-len(sealHead):digest]) != sealHead {
		return fmt.Errorf("%w: there is no place for its digest", ErrModel)
	}
	sum := sha256.Sum256(text)
	hex.Encode(text[digest:], sum[:])
	return nil
}

// CheckONNX returns ErrDamaged for an ONNX file whose bytes are not those that its digest is of, and
// tells whether it has one; ErrCut for one without, as files of other programs, that is not whole.
func CheckONNX(path string) (has bool, err error) {
	file, err := fsys.OpenRegular(path)
	if err != nil {
		return false, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return false, err
	}
	_, zeros := Seal()
	length := int64(len(sealHead) + len(zeros))
	if info.Size() < length {
		if err := wholeONNX(file, info.Size()); err != nil {
			return false, fmt.Errorf("%s: %w", path, err)
		}
		return false, nil
	}
	tail := make([]byte, length)
	if _, err := file.ReadAt(tail, info.Size()-length); err != nil {
		return false, fmt.Errorf("%s: %w", path, err)
	}
	head, digest := string(tail[:len(sealHead)]), tail[len(sealHead):]
	digits := 0
	for _, c := range digest {
		if '0' <= c && c <= '9' || 'a' <= c && c <= 'f' {
			digits++
		}
	}
	switch {
	case head != sealHead && digits < len(digest)-1 && !bytes.Contains(tail, []byte(sealKey)):
		if err := wholeONNX(file, info.Size()); err != nil { // nothing like one
			return false, fmt.Errorf("%s: %w", path, err)
		}
		return false, nil
	case head != sealHead || digits != len(digest):
		return true, fmt.Errorf("%s: %w", path, ErrDamaged)
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(file, 0, info.Size()-int64(len(digest)))); err != nil {
		return true, fmt.Errorf("%s: %w", path, err)
	}
	io.WriteString(h, zeros) // a hash's Write never fails
	if hex.EncodeToString(h.Sum(nil)) != string(digest) {
		return true, fmt.Errorf("%s: %w", path, ErrDamaged)
	}
	return true, nil
}

// wholeONNX returns ErrCut where the fields of a protobuf message, which an ONNX file is, do not end
// with the file: the last one of a file that was cut off is longer than what is left.
func wholeONNX(file io.ReaderAt, size int64) error {
	for at := int64(0); at < size; {
		head := make([]byte, min(size-at, 2*binary.MaxVarintLen64))
		if _, err := file.ReadAt(head, at); err != nil && err != io.EOF {
			return err
		}
		_, kind, n := protowire.ConsumeTag(head)
		if n < 0 {
			return ErrCut
		}
		if kind != protowire.BytesType {
			value := protowire.ConsumeFieldValue(1, kind, head[n:])
			if value < 0 {
				return ErrCut
			}
			at += int64(n + value)
			continue
		}
		length, m := protowire.ConsumeVarint(head[n:])
		if m < 0 || length > uint64(size-at)-uint64(n+m) {
			return ErrCut
		}
		at += int64(n+m) + int64(length)
	}
	return nil
}
