//go:build linux

package engine

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"runtime/pprof"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"golang.org/x/sys/unix"

	"prenas/internal/kernels"
)

// withoutAMX marks a process in which PRENAS_NO_AMX must have turned AMX off.
const withoutAMX = "PRENAS_TEST_WITHOUT_AMX"

// Where AMX is refused products and attention are what they are on processors without it.
func TestWithoutAMX(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	if os.Getenv(withoutAMX) != "" {
		if kernels.AMX() == "" {
			t.Error("AMX is used")
		}
		return
	}
	if refused := kernels.AMX(); refused != "" {
		t.Skip("AMX: ", refused)
	}
	c := exec.Command(os.Args[0], "-test.run=^(TestWithoutAMX|TestLinearCallIsTheProduct|TestAttentionIsTheFormula|TestProductsKeepWhatIsNotFinite)$/bf16|$^")
	c.Env = append(os.Environ(), withoutAMX+"=1", "PRENAS_NO_AMX=1")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// What is not finite comes out where the formula has it, and nowhere else: not in the rows and columns beside it, with which it shares tiles.
func TestProductsKeepWhatIsNotFinite(t *testing.T) {
	e := engineWithKernels(t)
	for _, precision := range []Precision{Float32, BFloat16} {
		if !kernels.Products(precision == BFloat16) {
			continue
		}
		t.Run(string(precision), func(t *testing.T) {
			const rows, in, out = 37, 70, 50
			random := rand.New(rand.NewPCG(3, 4))
			x, w, v := normals(random, rows*in), normals(random, out*in), normals(random, rows*out)
			x[5*in+69], x[20*in+3] = float32(math.NaN()), float32(math.Inf(1))
			w[33*in+2] = float32(math.Inf(-1))
			v[36*out+49] = float32(math.NaN())
			exec := graph.MustNewExec(e.backend, func(in []*graph.Node) []*graph.Node {
				y := linearCall(in[0], in[1], precision.Operands())
				return append(Gradient(graph.ReduceAllSum(graph.Mul(y, in[2])), in[:2]...), y)
			})
			results, err := exec.Exec(tensors.FromFlatDataAndDimensions(x, rows, in), tensors.FromFlatDataAndDimensions(w, out, in), tensors.FromFlatDataAndDimensions(v, rows, out))
			if err != nil {
				t.Fatal(err)
			}
			sums := func(n, m, depth int, a, b func(i, k int) float32) []float32 {
				c := make([]float32, n*m)
				for i := range c {
					for k := range depth {
						c[i] += a(i/m, k) * b(i%m, k)
					}
				}
				return c
			}
			at := func(of []float32, row, column int) func(i, k int) float32 {
				return func(i, k int) float32 { return of[i*row+k*column] }
			}
			want := [][]float32{
				sums(rows, in, out, at(v, out, 1), at(w, 1, in)),
				sums(out, in, rows, at(v, 1, out), at(x, 1, in)),
				sums(rows, out, in, at(x, in, 1), at(w, in, 1)),
			}
			kind := func(v float32) string {
				if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
					return fmt.Sprint(v)
				}
				return "finite"
			}
			for i := range want {
				got := tensors.MustCopyFlatData[float32](results[i])
				for at := range want[i] {
					if kind(got[at]) != kind(want[i][at]) {
						t.Fatalf("result %d has %v at %d, want %v", i, got[at], at, want[i][at])
					}
				}
			}
		})
	}
}

// Signals come while threads have tiles, and goroutines in thousands move between threads: the bits are those of a quiet process.
func TestTilesBesideSignalsAndGoroutines(t *testing.T) {
	e := engineWithKernels(t)
	if refused := kernels.AMX(); refused != "" {
		t.Skip("AMX: ", refused)
	}
	random := rand.New(rand.NewPCG(5, 6))
	inputs := []any{
		tensors.FromFlatDataAndDimensions(normals(random, 4*50*3*64), 4, 50, 3*64),
		tensors.FromFlatDataAndDimensions(normals(random, 256*64), 256, 64),
	}
	exec := graph.MustNewExec(e.backend, func(in []*graph.Node) []*graph.Node {
		y, _ := Attention(in[0], 1, nil, dtypes.BFloat16)
		y = Linear(y, in[1], dtypes.BFloat16)
		return append(Gradient(graph.ReduceAllSum(graph.Square(y)), in...), y)
	})
	run := func() []byte {
		out, err := exec.Exec(inputs...)
		if err != nil {
			t.Fatal(err)
		}
		var all []byte
		for _, x := range out {
			all = fmt.Append(all, tensors.MustCopyFlatData[float32](x))
		}
		return all
	}
	want := run()
	var profile bytes.Buffer
	if err := pprof.StartCPUProfile(&profile); err != nil {
		t.Skip(err) // the whole test run is profiled
	}
	defer pprof.StopCPUProfile()
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGUSR1)
	defer signal.Stop(caught)
	var stop atomic.Bool
	var all sync.WaitGroup
	for range 3000 {
		all.Go(func() {
			for !stop.Load() {
				time.Sleep(20 * time.Millisecond)
				select {
				case <-caught:
				default:
				}
			}
		})
	}
	all.Go(func() {
		for !stop.Load() { // to every thread, XLA's too
			threads, _ := os.ReadDir("/proc/self/task")
			for _, thread := range threads {
				if id, err := strconv.Atoi(thread.Name()); err == nil {
					unix.Tgkill(syscall.Getpid(), id, syscall.SIGUSR1)
				}
			}
			time.Sleep(50 * time.Microsecond)
		}
	})
	for range 10 {
		if !bytes.Equal(run(), want) {
			t.Error("a run among signals differs")
			break
		}
	}
	stop.Store(true)
	all.Wait()
}
