package engine

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"
)

// threadsWanted marks a process that says how many threads XLA has, and what a product of theirs is.
const threadsWanted = "PRENAS_TEST_THREADS"

// XLA has as many threads as it is told, and one product has the same bits with each number of them.
func TestThreads(t *testing.T) {
	if n, err := strconv.Atoi(os.Getenv(threadsWanted)); err == nil {
		if err := SetThreads(n); err != nil {
			t.Fatal(err)
		}
		e := engineWithKernels(t)
		random := rand.New(rand.NewPCG(1, 9))
		exec := graph.MustNewExec(e.backend, func(in []*graph.Node) []*graph.Node {
			y, _ := Attention(in[0], 2, nil, dtypes.BFloat16)
			y = Linear(y, in[1], dtypes.BFloat16)
			return append(Gradient(graph.ReduceAllSum(graph.Square(y)), in...), y)
		})
		out, err := exec.Exec(tensors.FromFlatDataAndDimensions(normals(random, 7*65*192), 7, 65, 192), tensors.FromFlatDataAndDimensions(normals(random, 96*64), 96, 64))
		if err != nil {
			t.Fatal(err)
		}
		hash := sha256.New()
		for _, x := range out {
			fmt.Fprint(hash, tensors.MustCopyFlatData[float32](x))
		}
		sum := fmt.Sprintf("%x", hash.Sum(nil))
		names, err := filepath.Glob("/proc/self/task/*/comm")
		if err != nil {
			t.Fatal(err)
		}
		threads := 0
		for _, name := range names {
			if comm, err := os.ReadFile(name); err == nil && bytes.Contains(comm, []byte("XLAEigen")) {
				threads++
			}
		}
		os.Stdout.WriteString("threads " + strconv.Itoa(threads) + " sum " + sum + "\n")
		return
	}
	engineWithKernels(t)
	var sums []string
	for _, n := range []int{1, 2, 5} {
		c := exec.Command(os.Args[0], "-test.run=^TestThreads$")
		c.Env = append(os.Environ(), threadsWanted+"="+strconv.Itoa(n))
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		line := string(out[:max(0, bytes.IndexByte(out, '\n'))])
		threads, sum, _ := strings.Cut(line, " sum ")
		if want := "threads " + strconv.Itoa(n); threads != want {
			t.Errorf("%s, want %s", threads, want)
		}
		sums = append(sums, sum)
	}
	if len(slices.Compact(slices.Clone(sums))) != 1 || sums[0] == "" {
		t.Errorf("results differ with the number of threads: %q", sums)
	}
}
