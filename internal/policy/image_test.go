package policy

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"prenas/internal/pytools"
)

// The image is built with the Go of go.mod and has the onnxruntime of the tests.
func TestDockerfileHasTheVersionsInUse(t *testing.T) {
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	image := read("Dockerfile")
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read("go.mod"))
	if version == nil || !strings.Contains(image, "FROM golang:"+version[1]+"-bookworm ") {
		t.Errorf("the Dockerfile does not build with the Go of go.mod, %v", version)
	}
	runtime := regexp.MustCompile(`(?s)onnxruntime==\S+ .{0,4}(--hash=sha256:[0-9a-f]{64})`).FindStringSubmatch(image)
	if runtime == nil {
		t.Fatal("the Dockerfile does not pin onnxruntime by its hash")
	}
	name, _, _ := strings.Cut(runtime[0], " ")
	if !strings.Contains(pytools.OnnxRuntime, name+" ") || !strings.Contains(pytools.OnnxRuntime, runtime[1]) {
		t.Errorf("the Dockerfile has %s with %s, the tests have\n%s", name, runtime[1], pytools.OnnxRuntime)
	}
}
