package source

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"sync"
	"testing"
)

// Each file is sent in two parts, with a connection that breaks off between them.
func TestFashionMNISTGoesOnWhereItBrokeOff(t *testing.T) {
	content := func(name string) []byte { return bytes.Repeat([]byte(name), 1000) }
	var mu sync.Mutex
	asked := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := path.Base(r.URL.Path)
		mu.Lock()
		asked[name]++
		mu.Unlock()
		text, from := content(name), 0
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err == nil {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(text)-1, len(text)))
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(text[from:])
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(text)))
		_, _ = w.Write(text[:len(text)/2])
		panic(http.ErrAbortHandler)
	}))
	defer server.Close()
	dir := t.TempDir()
	var done, total int64
	if err := fashionFrom(t.Context(), server.URL+"/", dir, Options{Progress: func(d, all int64) { done, total = d, all }}); err != nil {
		t.Fatal(err)
	}
	for name := range fashionSums {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !bytes.Equal(got, content(name)) || asked[name] != 2 {
			t.Errorf("%s: %d bytes, asked for %d times (%v)", name, len(got), asked[name], err)
		}
	}
	if done == 0 || done != total {
		t.Errorf("progress ended at %d of %d bytes", done, total)
	}
}
