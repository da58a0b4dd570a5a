package tensorfile

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The files and expected.json are what PyTorch wrote: testdata/pth/make.py.
func TestFilesOfPyTorch(t *testing.T) {
	text, err := os.ReadFile("testdata/pth/expected.json")
	if err != nil {
		t.Fatal(err)
	}
	var expected map[string]map[string]struct {
		DType, Hex string
		Shape      []int
	}
	if err := json.Unmarshal(text, &expected); err != nil {
		t.Fatal(err)
	}
	names := map[string]DType{
		"float64": F64, "float32": F32, "float16": F16, "bfloat16": BF16, "int64": I64, "int32": I32, "int16": "I16", "int8": "I8", "uint8": U8, "bool": "BOOL",
	}
	for _, c := range []struct{ file, content, entry string }{
		{"zip", "run", "model."}, {"legacy", "run", "model."}, {"protocol4", "run", "model."}, {"bare", "bare", ""}, {"numpy", "run", "ema.0."},
	} {
		got, err := ReadAny("testdata/pth/" + c.file + ".pth")
		if err != nil {
			t.Errorf("%s: %v", c.file, err)
			continue
		}
		if len(got.Tensors) != len(expected[c.content]) {
			t.Errorf("%s: %d tensors, want %d", c.file, len(got.Tensors), len(expected[c.content]))
		}
		for name, want := range expected[c.content] {
			x := got.Tensors[c.entry+name]
			if x.DType != names[want.DType] || !slices.Equal(x.Shape, want.Shape) || hex.EncodeToString(x.Data) != want.Hex {
				t.Errorf("%s: %s is %s %v %x, want %+v", c.file, name, x.DType, x.Shape, x.Data, want)
			}
		}
	}
}

func TestWholeModuleIsRefusedByItsName(t *testing.T) {
	_, err := ReadAny("testdata/pth/module.pth")
	if !errors.Is(err, ErrGlobal) || !strings.Contains(err.Error(), "torch.nn.modules.linear.Linear") {
		t.Errorf("%v", err)
	}
}

// A cut anywhere, in either form, is an error.
func TestCutFilesAreRefused(t *testing.T) {
	for _, name := range []string{"zip", "legacy"} {
		whole, err := os.ReadFile(filepath.Join("testdata/pth", name+".pth"))
		if err != nil {
			t.Fatal(err)
		}
		for n := range whole {
			if _, err := parseAny(whole[:n]); !errors.Is(err, ErrFormat) {
				t.Errorf("%s cut at %d: %v", name, n, err)
			}
		}
	}
}

// One header in 32 has a length whose first byte is that of a pickle.
func TestHeaderThatBeginsLikeAPickle(t *testing.T) {
	f := sample()
	path := write(t, f)
	for text, _ := os.ReadFile(path); text[0] != 0x80; text, _ = os.ReadFile(path) {
		f.Metadata["pad"] += " "
		path = write(t, f)
	}
	got, err := ReadAny(path)
	if err != nil || len(got.Tensors) != len(f.Tensors) {
		t.Errorf("%v", err)
	}
}

func TestEndlessFilesAreRefused(t *testing.T) {
	_, err := ReadAny("/dev/zero")
	if err == nil || !strings.Contains(err.Error(), "/dev/zero is not a regular file") {
		t.Errorf("%v", err)
	}
	if _, err := Read("/dev/zero"); err == nil {
		t.Error("Read has no objection")
	}
}

func FuzzPth(f *testing.F) {
	files, err := filepath.Glob("testdata/pth/*.pth")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, h := range hostilePth() {
		if len(h.data) < 1<<12 {
			f.Add(h.data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseAny(data)
		if err != nil {
			if !errors.Is(err, ErrFormat) && !errors.Is(err, ErrGlobal) {
				t.Errorf("untyped error %v", err)
			}
			return
		}
		for name, x := range c.Tensors {
			if err := x.check(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// FuzzPickle runs programs without the zip around them, which fuzzing rarely
// gets through.
func FuzzPickle(f *testing.F) {
	for _, h := range hostilePth() {
		if h.program != "" && len(h.program) < 1<<12 {
			f.Add([]byte(h.program))
		}
	}
	f.Fuzz(func(t *testing.T, program []byte) {
		s := &storage{dtype: F32, data: make([]byte, 64), count: 16}
		p := &pickle{data: program, resolve: func(id tuple) (*storage, error) { return s, nil }}
		root, err := p.run()
		if err == nil {
			_, err = checkpoint(root, p.views, 64)
		}
		if err != nil && !errors.Is(err, ErrFormat) && !errors.Is(err, ErrGlobal) {
			t.Errorf("untyped error %v", err)
		}
	})
}
