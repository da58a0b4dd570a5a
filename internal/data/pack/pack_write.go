package pack

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"

	"prenas/internal/ahead"
	"prenas/internal/augment"
	"prenas/internal/data"
	"prenas/internal/data/codec"
	"prenas/internal/fsys"
	"prenas/internal/input"
	"prenas/internal/sealed"
)

// shardImages is of how many images of the source a shard is made.
const shardImages = 1024

// Options of WritePack.
type Options struct {
	Source   string // SRC of the data set
	Size     int    // longest that the shorter side of an image may be; 0: as it is
	Workers  int    // goroutines that read and resize; 0: one per core
	Skip     *data.Skipped
	Progress func(done, total int)

	memory int64 // bytes that pixels may take together; 0: what they may in any reading
}

// Write writes a data set, not cut by holding out, in the packed form: images with a
// shorter side of more than Size are made smaller, once, bicubic with antialiasing as
// evaluation has it. Shards that are there already, of the same images and size, stay,
// so that packing that was stopped goes on.
func Write(ctx context.Context, set *data.Dataset, dir string, o Options) (Manifest, error) {
	m := Manifest{
		Version: packVersion, Source: o.Source, Digest: set.Digest, Size: o.Size, Channels: set.Channels, Classes: set.Classes,
		Mean: set.Mean, Std: set.Std, LeftOut: set.LeftOut,
	}
	release, err := fsys.HoldFolder(dir)
	if err != nil {
		return m, fmt.Errorf("%w: %w", input.Out, err)
	}
	defer release()
	done, total := 0, set.All().Len()
	for _, split := range []struct {
		name string
		data.Split
		list *[]ShardFile
	}{{"train", set.Train, &m.Train}, {"held-out", set.HeldOut, &m.HeldOut}, {"test", set.Test, &m.Test}} {
		for k, first := 0, 0; first < split.Len(); k, first = k+1, first+shardImages {
			n := min(shardImages, split.Len()-first)
			w := shardWriter{
				split: split.Split, first: first, n: n, channels: set.Channels, o: o,
				path: filepath.Join(dir, fmt.Sprintf("%s-%05d.pack", split.name, k)),
				plan: fmt.Sprintf("%s %s %d+%d size %d channels %d skip %v", set.Digest, split.name, first, n, o.Size, set.Channels, o.Skip != nil),
				progress: func(i int) {
					if o.Progress != nil {
						o.Progress(done+i, total)
					}
				},
			}
			entry, skipped, err := w.write(ctx)
			if err != nil {
				return m, err
			}
			done += n
			w.progress(0)
			*split.list, m.Skipped = append(*split.list, entry), append(m.Skipped, skipped...)
		}
	}
	return m, sealed.Write(fsys.OS, filepath.Join(dir, File), m)
}

// shardWriter writes one shard: n images of a split, from first on.
type shardWriter struct {
	split              data.Split
	first, n, channels int
	o                  Options
	path, plan         string
	progress           func(done int)
}

func (w shardWriter) write(ctx context.Context) (ShardFile, []data.SkippedImage, error) {
	s, err := openShard(w.path)
	same := false
	if err == nil && s.Plan == w.plan {
		if same, err = w.same(ctx, s.Contents); err != nil {
			return ShardFile{}, nil, errors.Join(err, s.close())
		}
	}
	if !same {
		err = fsys.WriteAtomic(fsys.OS, w.path, func(to io.Writer) error { return w.fill(ctx, to) })
		if err == nil {
			s, err = openShard(w.path)
		}
	}
	if err != nil {
		return ShardFile{}, nil, err
	}
	for _, image := range s.Skipped { // also those that an earlier call left out
		w.o.Skip.Add(&data.DamagedImage{Name: image.Image, Err: errors.New(image.Why)})
	}
	return ShardFile{File: filepath.Base(w.path), Images: len(s.Labels), Index: s.sum}, s.Skipped, s.close()
}

// same tells whether the shard's images, where they come as files, have these digests. Each of
// them is read, which takes far less time than to decode it.
func (w shardWriter) same(ctx context.Context, contents []uint64) (bool, error) {
	if _, has := data.DigestOf(w.split, w.first); !has {
		return true, nil // the plan has the digest of all of them
	}
	if len(contents) != w.n {
		return false, nil
	}
	type digest struct {
		sum uint64
		err error
	}
	for k, read := range ahead.Range(ctx, w.n, w.o.Workers, func(k int) digest {
		sum, err := data.DigestAsItIs(w.split, w.first+k)
		return digest{sum, err}
	}) {
		if read.err != nil || read.sum != contents[k] {
			return false, read.err
		}
	}
	return true, ctx.Err()
}

// fill writes the pixels, and the index behind them.
func (w shardWriter) fill(ctx context.Context, to io.Writer) error {
	index := shardIndex{Plan: w.plan, Channels: w.channels}
	small := func(img data.Image) data.Image {
		if img = augment.Convert(img, w.channels); w.o.Size > 0 {
			img = augment.Shrink(img, w.o.Size)
		}
		return img
	}
	// Images that wait for their turn together take a quarter of the budget. One that is larger
	// than its share is made again when it is its turn.
	share := cmp.Or(w.o.memory, codec.Memory()) / 4 / int64(ahead.Waiting(w.o.Workers))
	prepare := func(i int) reading {
		return read(w.split, w.first+i, func(img data.Image) data.Image {
			if img = small(img); int64(len(img.Pixels)) > share {
				img.Pixels = nil
			}
			return img
		})
	}
	put := func(i int, img data.Image) error {
		if _, err := to.Write(img.Pixels); err != nil {
			return err
		}
		index.Heights, index.Widths = append(index.Heights, img.Height), append(index.Widths, img.Width)
		index.Labels = append(index.Labels, w.split.Label(w.first+i))
		index.Sums = append(index.Sums, crc32.Checksum(img.Pixels, castagnoli))
		return nil
	}
	for i, made := range ahead.Range(ctx, w.n, w.o.Workers, prepare) {
		if sum, has := data.DigestOf(w.split, w.first+i); has {
			index.Contents = append(index.Contents, sum)
		}
		var damaged *data.DamagedImage
		switch {
		case errors.As(made.err, &damaged) && w.o.Skip != nil:
			index.Skipped, index.Left = append(index.Skipped, data.SkippedImage{Image: damaged.Name, Why: damaged.Err.Error()}), append(index.Left, i)
			continue
		case made.err != nil:
			return made.err
		}
		err := error(nil)
		if made.image.Pixels != nil {
			err = put(i, made.image)
		} else {
			err = data.Whole(w.split, w.first+i, func(img data.Image) error { return put(i, small(img)) })
		}
		if err != nil {
			return err
		}
		w.progress(i + 1)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	text, err := json.Marshal(index)
	if err != nil {
		return err
	}
	sum := crc32.Checksum(text, castagnoli)
	text = binary.LittleEndian.AppendUint64(text, uint64(len(text)))
	text = binary.LittleEndian.AppendUint32(text, sum)
	_, err = to.Write(append(text, packMagic...))
	return err
}

// reading is what came of reading an image.
type reading struct {
	image data.Image
	err   error
}

// read keeps of image i what keep makes of it.
func read(s data.Split, i int, keep func(data.Image) data.Image) (r reading) {
	r.err = data.Whole(s, i, func(img data.Image) error {
		r.image = keep(img)
		return nil
	})
	return r
}
