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
	runtime := regexp.MustCompile(`(onnxruntime==\S+)\s(?:\\\s+)?(?:--hash=sha256:)?([0-9a-f]{64})\b`).FindStringSubmatch(image)
	if runtime == nil || !strings.Contains(image, "--require-hashes") {
		t.Fatal("the Dockerfile does not pin onnxruntime by its hash")
	}
	if !strings.Contains(pytools.OnnxRuntime, runtime[1]+" ") || !strings.Contains(pytools.OnnxRuntime, "--hash=sha256:"+runtime[2]) {
		t.Errorf("the Dockerfile has %s with %s, the tests have\n%s", runtime[1], runtime[2], pytools.OnnxRuntime)
	}
}
