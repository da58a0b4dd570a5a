package source

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"prenas/internal/data"
	"prenas/internal/data/codec"
	"prenas/internal/data/datatest"
	"prenas/internal/data/fetch"
	"prenas/internal/data/inspect"
	"prenas/internal/pytools"
)

// A dictionary holds a page once that thousands of rows name.
func TestParquetBomb(t *testing.T) {
	type row struct {
		Image struct {
			Bytes []byte `parquet:"bytes,dict"`
		} `parquet:"image"`
		Label int64 `parquet:"label"`
	}
	var text bytes.Buffer
	w := parquet.NewGenericWriter[row](&text, parquet.Compression(&parquet.Zstd))
	w.SetKeyValueMetadata("huggingface", datatest.Features)
	one := row{}
	one.Image.Bytes = append(datatest.PNG(t, 5, 5, 1), make([]byte, 1<<16)...)
	for range fetch.UnpackFree>>16 + 1000 {
		if _, err := w.Write([]row{one}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	refusesBomb(t, "parquet:", "bomb.parquet", text.Bytes())
}

func TestParquet(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	dir := t.TempDir()
	datatest.Write(t, dir, map[string][]byte{
		"data/train-00000-of-00002.parquet": datatest.Parquet(t, datatest.Features, datatest.Rows(t, 0, 7)...), "data/train-00001-of-00002.parquet": datatest.Parquet(t, datatest.Features, datatest.Rows(t, 7, 3)...),
		"data/validation-00000-of-00001.parquet": datatest.Parquet(t, datatest.Features, datatest.Rows(t, 10, 2)...), "data/test-00000-of-00001.parquet": datatest.Parquet(t, datatest.Features, datatest.Rows(t, 12, 3)...),
	})
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer server.Close()
	for _, src := range []string{
		dir, dir, // the second time from the cache
		server.URL + "/data/train-0000{0,1}-of-00002.parquet," + server.URL + "/data/{validation,test}-00000-of-00001.parquet",
	} {
		d, err := Open(context.Background(), "parquet:"+src, Options{Seed: 3, HeldOut: 0.5})
		if err != nil {
			t.Fatal(err)
		}
		if d.Train.Len() != 10 || d.HeldOut.Len() != 2 || d.Test.Len() != 3 || !slices.Equal(d.Classes, []string{"red", "green", "blue"}) {
			t.Fatalf("%s: %d train, %d held out, %d test, classes %q", src, d.Train.Len(), d.HeldOut.Len(), d.Test.Len(), d.Classes)
		}
		for i := range 15 {
			img, err := d.All().Image(i)
			if err != nil || d.All().Label(i) != i%3 || img.Width != 5+i%4 || img.Pixels[0] != byte(i) {
				t.Errorf("%s: image %d: label %d, width %d, %v", src, i, d.All().Label(i), img.Width, err)
			}
		}
	}
}

// Parquet as the field writes it: all compressions, pages of both versions, with and without
// dictionaries, rows in groups.
func TestParquetOfPyArrow(t *testing.T) {
	python := pytools.Python(t, pytools.PyArrow)
	dir := t.TempDir()
	images := make([][]byte, 40)
	for i := range images {
		images[i] = datatest.PNG(t, 6, 6+i%5, byte(i/2*2))
	}
	input, err := json.Marshal(map[string]any{"dir": dir, "images": images})
	if err != nil {
		t.Fatal(err)
	}
	pytools.Run(t, python, `
import base64, json, sys
import pyarrow as pa, pyarrow.parquet as pq
given = json.load(sys.stdin)
images = [base64.b64decode(i) for i in given["images"]]
meta = {b"huggingface": json.dumps({"info": {"features": {
    "img": {"_type": "Image"}, "fine_label": {"names": [str(i) for i in range(9)], "_type": "ClassLabel"},
    "coarse_label": {"names": ["x"], "_type": "ClassLabel"}}}}).encode()}
struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
for codec in ["none", "snappy", "gzip", "brotli", "zstd", "lz4"]:
    for version in ["1.0", "2.0"]:
        for dictionary in [True, False]:
            schema = pa.schema([("coarse_label", pa.int64()), ("img", struct), ("fine_label", pa.uint8() if dictionary else pa.int64())], metadata=meta)
            rows = pa.table({
                "coarse_label": [0] * len(images),
                "img": pa.array([{"bytes": b, "path": None} for b in images], struct),
                "fine_label": pa.array([i % 9 for i in range(len(images))], schema.field("fine_label").type),
            }, schema=schema)
            name = f"{given['dir']}/{codec}-{version}-{dictionary}.parquet"
            pq.write_table(rows, name, compression=codec, data_page_version=version, use_dictionary=dictionary,
                           row_group_size=17, data_page_size=300, write_page_index=dictionary, write_batch_size=4)
`, input)
	files, err := filepath.Glob(filepath.Join(dir, "*.parquet"))
	if err != nil || len(files) != 24 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	for _, file := range files {
		d, err := Open(context.Background(), "parquet:"+file, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if d.Train.Len() != len(images) || len(d.Classes) != 9 {
			t.Fatalf("%s: %d images in %d classes", file, d.Train.Len(), len(d.Classes))
		}
		for i, want := range images {
			got, err := d.Train.Image(i)
			written, failed := codec.Decode(want)
			if err != nil || failed != nil || !bytes.Equal(got.Pixels, written.Pixels) || got.Width != written.Width || d.Train.Label(i) != i%9 {
				t.Fatalf("%s: row %d is not what was written (%v, %v)", file, i, err, failed)
			}
		}
	}
}

func TestHostileParquet(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	type named struct {
		Image datatest.Picture `parquet:"image"`
		Label string           `parquet:"label"`
	}
	type many struct {
		Image []datatest.Picture `parquet:"image"`
		Label int64              `parquet:"label"`
	}
	type other struct {
		Photo []byte `parquet:"photo"`
	}
	whole := datatest.Parquet(t, datatest.Features, datatest.Rows(t, 0, 7)...)
	minus, large := int64(-1), int64(3)
	for name, text := range map[string][]byte{
		"cut.parquet":       whole[:len(whole)-9],
		"text.parquet":      []byte("PAR1 but no more"),
		"empty.parquet":     nil,
		"string.parquet":    datatest.Parquet(t, "", named{Label: "two\nlines"}),
		"many.parquet":      datatest.Parquet(t, "", many{}),
		"photo.parquet":     datatest.Parquet(t, "", other{}),
		"unlabeled.parquet": datatest.Parquet(t, "", datatest.Row{Label: &minus}),
		"null.parquet":      datatest.Parquet(t, "", datatest.Row{}),
		"label.parquet":     datatest.Parquet(t, datatest.Features, datatest.Row{Label: &large}),
	} {
		path := filepath.Join(t.TempDir(), name)
		datatest.Write(t, filepath.Dir(path), map[string][]byte{name: text})
		if _, err := Open(context.Background(), "parquet:"+path, Options{}); !errors.Is(err, data.ErrFormat) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want ErrFormat that names it", name, err)
		}
	}
	// A row without an image is a damaged image, and told by its row.
	rows := datatest.Rows(t, 0, 4)
	rows[2].Image = nil
	path := filepath.Join(t.TempDir(), "some.parquet")
	datatest.Write(t, filepath.Dir(path), map[string][]byte{"some.parquet": datatest.Parquet(t, "", rows...)})
	d, err := Open(context.Background(), "parquet:"+path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if checked, err := inspect.Check(context.Background(), d, 1, nil); err != nil || len(checked.Damaged) != 1 || checked.Damaged[0].Image != path+", row00000002.jpg" {
		t.Errorf("damaged %v, %v", checked, err)
	}
}

// A label may be the name of a class.
func TestParquetLabelsThatAreNames(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	type row struct {
		Image datatest.Picture `parquet:"image"`
		Label string           `parquet:"label"`
	}
	dir := t.TempDir()
	image := datatest.PNG(t, 4, 4, 1)
	rows := []row{{datatest.Picture{Bytes: image}, "dog"}, {datatest.Picture{Bytes: image}, "cat"}, {datatest.Picture{Bytes: image}, "dog"}}
	datatest.Write(t, dir, map[string][]byte{"Train-0.parquet": datatest.Parquet(t, "", rows...), "Testing-0.parquet": datatest.Parquet(t, "", rows[:1]...)})
	d := open0(t, "parquet:"+dir)
	if got := fmt.Sprint(d.Classes, d.Train.Label(0), d.Train.Label(1), d.Train.Len(), d.Test.Len()); got != "[cat dog] 1 0 3 1" {
		t.Error(got)
	}
	rows[1].Label = " "
	datatest.Write(t, dir, map[string][]byte{"Train-1.parquet": datatest.Parquet(t, "", rows...)})
	if _, err := Open(context.Background(), "parquet:"+dir, Options{}); !errors.Is(err, data.ErrFormat) || !strings.Contains(err.Error(), "row 1") {
		t.Errorf("an empty label: %v", err)
	}
}
