package disk

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"prenas/internal/data/codec"
	"prenas/internal/fsys"
	"prenas/internal/picture"
	"prenas/internal/plaintext"
)

// Damage is what the bytes of an image are; all else that keeps a program from reading it is
// the system's: too many open files, a disk or a network that fails, a file that is gone.
// An image that the system keeps back may be sound, and is never left out.

// passing are failures of a system that may be over in a moment.
var passing = []error{
	syscall.EMFILE, syscall.ENFILE, syscall.EIO, syscall.ESTALE, syscall.ENOMEM, syscall.EAGAIN, syscall.EINTR, syscall.EBUSY, syscall.ETIMEDOUT,
}

// pauses before reading again after such a failure.
var pauses = []time.Duration{50 * time.Millisecond, 200 * time.Millisecond, 800 * time.Millisecond, 2 * time.Second}

// Patiently reads, and again after a moment where the system failed in a way that may pass.
func Patiently[T any](read func() (T, error)) (T, error) {
	for _, pause := range pauses {
		got, err := read()
		if !slices.ContainsFunc(passing, func(e error) bool { return errors.Is(err, e) }) {
			return got, err
		}
		time.Sleep(pause)
	}
	return read()
}

// Kept names an image that the system keeps back, and why.
func Kept(name string, err error) error {
	return fmt.Errorf("%s: %w (the image may be sound, so it is not left out)", name, WithoutPath(err))
}

// IsFolder tells whether a path is of a folder or of a link to one. What the system does
// not tell is an error; a link to nothing is no folder.
func IsFolder(path string) (bool, error) {
	info, err := Patiently(func() (fs.FileInfo, error) { return os.Stat(path) })
	if LeadsNowhere(err) {
		return false, nil
	}
	return err == nil && info.IsDir(), err
}

// LeadsNowhere tells whether an error of a link, or of a path, is that nothing is there.
func LeadsNowhere(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.ENOTDIR)
}

// IsImage tells an image by the ending of its name, else by its content, whose beginning it
// returns. A link to nothing and what is no file are none.
func IsImage(path string) (is bool, head []byte, err error) {
	if codec.Named(path) {
		return true, nil, nil
	}
	head, err = Patiently(func() ([]byte, error) {
		file, err := fsys.OpenRegular(path)
		if errors.Is(err, fsys.ErrNotRegular) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		defer file.Close()
		return io.ReadAll(io.LimitReader(file, picture.HeadLen))
	})
	if LeadsNowhere(err) {
		err = nil
	}
	return codec.Sniffed(path, head), head, err
}

// ReadImage reads the file of an image, which must not be larger than an image may be.
// An error that wraps ErrFormat says that there is no image.
func ReadImage(path string) ([]byte, error) {
	return Patiently(func() ([]byte, error) {
		info, err := os.Stat(path)
		switch {
		case err != nil:
			return nil, err
		case info.IsDir():
			return nil, fmt.Errorf("%w: it is a folder, or a link to one", codec.ErrFormat)
		case !info.Mode().IsRegular():
			return nil, fmt.Errorf("%w: neither a file nor a link to one", codec.ErrFormat)
		}
		return ReadAtMost(path, codec.MaxBytes)
	})
}

// ReadAtMost reads a file whole that is no larger than some bytes.
func ReadAtMost(path string, most int64) ([]byte, error) {
	file, err := fsys.OpenRegular(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > most {
		return nil, fmt.Errorf("%w: %d bytes are more than %d", codec.ErrFormat, info.Size(), most)
	}
	text := make([]byte, info.Size())
	n, err := io.ReadFull(file, text)
	if err == io.ErrUnexpectedEOF { // it became shorter meanwhile
		err = nil
	}
	return text[:n], err
}

// WithoutPath drops the path that the caller names.
func WithoutPath(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// Lines are the lines of a file that are not empty.
func Lines(path string) ([]string, error) {
	f, err := fsys.OpenRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := LinesOf(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return names, nil
}

func LinesOf(r io.Reader) (names []string, err error) {
	lines := bufio.NewScanner(plaintext.Reader(r))
	for lines.Scan() {
		if name := strings.TrimSpace(lines.Text()); name != "" {
			names = append(names, name)
		}
	}
	return names, lines.Err()
}
