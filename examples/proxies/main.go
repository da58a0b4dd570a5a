// Command proxies asks of what makes a proxy good or bad, on benchmarks of prenas audit: are scores
// better on real images than on noise, by the cross entropy than by the sum of logits, from weights
// that are as large as their fan-in wants, on more images, as sums of ranks? Nothing is trained.
//
//	go run ./examples/proxies examples/audit/fashion-mnist.jsonl=fashion-mnist examples/audit/cifar10.jsonl=tar:cifar10
//
// An argument is a benchmark file and the SRC of its images. Each proxy is scored under each of the
// conditions, and its gain over a count of parameters within intervals (docs/audit.md) is printed.
// Then the best of the first benchmark, alone and as a sum of two ranks, is judged on the others:
// what was chosen on a benchmark says nothing there.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"math"
	"slices"
	"strings"

	"prenas/examples/internal/experiment"
	"prenas/internal/audit"
	"prenas/internal/data"
	"prenas/internal/data/load"
	"prenas/internal/data/source"
	"prenas/internal/engine"
	"prenas/internal/fsys"
	"prenas/internal/job"
	"prenas/internal/program"
	"prenas/internal/proxy"
	"prenas/internal/recipe"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/internal/train"
	"prenas/pkg/space"
)

func main() {
	x := &study{}
	flag.StringVar(&x.backend, "backend", "auto", "as in prenas --help")
	flag.StringVar(&x.single, "single", "naswot,az_trainability,grasp", "proxies that take passes of each architecture, scored from the first seed; empty: none")
	flag.IntVar(&x.resamples, "resamples", 1000, "resamples behind an interval")
	flag.Parse()
	program.Main("proxies", func(ctx context.Context) error { return x.run(ctx, flag.Args()) })
}

type study struct {
	backend, single string
	resamples       int
	engine          *engine.Engine
}

// condition is what proxies are scored on.
type condition struct {
	name    string
	fanIn   bool // weights have the deviation 1/√fan_in instead of 0.02
	real    bool // images; else noise
	labels  bool // the loss is the cross entropy
	batches int  // of 64 images
	single  bool // proxies of single architectures are scored on it
}

var conditions = []condition{
	{name: "noise, sum", batches: 1, single: true},
	{name: "images, sum", real: true, batches: 1},
	{name: "images, entropy", real: true, labels: true, batches: 1, single: true},
	{name: "256 images, entropy", real: true, labels: true, batches: 4},
	{name: "noise, sum, fan-in", fanIn: true, batches: 1},
	{name: "images, entropy, fan-in", fanIn: true, real: true, labels: true, batches: 1, single: true},
}

// judged is a benchmark with the scores of all proxies on all conditions.
type judged struct {
	name    string
	bench   *audit.Benchmark
	proxies []audit.Proxy
	rows    []audit.Row
}

func (x *study) run(ctx context.Context, args []string) (err error) {
	if len(args) == 0 {
		return fmt.Errorf("give benchmarks, as FILE=SRC each")
	}
	if x.engine, err = engine.Open(ctx, engine.Options{Backend: x.backend, Devices: 1, Log: experiment.Say}); err != nil {
		return err
	}
	defer x.engine.Close()
	var all []judged
	for _, arg := range args {
		file, src, ok := strings.Cut(arg, "=")
		if !ok {
			return fmt.Errorf("%s: give the images too, as FILE=SRC", arg)
		}
		j := judged{name: file}
		if j.bench, err = audit.Read(fsys.OS, file); err != nil {
			return err
		}
		if j.proxies, err = x.score(ctx, j.bench, src); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		c, err := audit.Correlate(j.bench, j.proxies, x.resamples, j.bench.Draw)
		if err != nil {
			return err
		}
		j.rows = c.Rows
		all = append(all, j)
	}
	x.print(all)
	explain(all)
	return x.combine(all)
}

// counts of an architecture that proxies may stand for.
var counts = []struct {
	name string
	of   func(m space.Model, a space.Arch) float64
}{
	{"count: embedding dim", func(_ space.Model, a space.Arch) float64 { return float64(a.EmbedDim) }},
	{"count: embedding dim, then parameters", func(m space.Model, a space.Arch) float64 {
		return float64(a.EmbedDim)*1e9 + float64(m.Params(a))
	}},
	{"count: layers", func(_ space.Model, a space.Arch) float64 { return float64(a.Depth()) }},
	{"count: hidden units", func(_ space.Model, a space.Arch) (n float64) {
		for _, ratio := range a.MLPRatio {
			n += float64(space.Hidden(a.EmbedDim, ratio))
		}
		return n
	}},
	// What -σ - 1/σ + 2 of az_trainability is if the block's Jacobian is the identity: σ is then the largest eigenvalue of
	// the covariance of as many random signs as there are tokens and images (Marchenko and Pastur, 1967).
	{"count: noise of az_trainability", func(m space.Model, a space.Arch) float64 {
		sigma := math.Pow(1+math.Sqrt(float64(a.EmbedDim)/float64(proxy.NoiseBatch*m.Tokens())), 2)
		return -sigma - 1/sigma + 2
	}},
}

// score scores a benchmark's architectures under all conditions.
func (x *study) score(ctx context.Context, b *audit.Benchmark, src string) (list []audit.Proxy, err error) {
	if !b.Space.Model.IsConv() {
		for _, c := range counts {
			var values []float64
			for _, a := range b.Arches() {
				values = append(values, c.of(b.Space.Model, a))
			}
			list = append(list, audit.Proxy{Name: c.name, BySeed: [][]float64{values}})
		}
	}
	set, err := source.Open(ctx, src, source.Options{Seed: b.Draw, HeldOut: b.Recipe.Holdout, Stratify: b.Recipe.Stratify})
	if err != nil {
		return nil, err
	}
	for _, c := range conditions {
		experiment.Say(fmt.Sprintf("%s: %s", src, c.name))
		var starts []proxy.Start
		for _, seed := range b.Seeds {
			start, err := c.start(ctx, b, set, seed)
			if err != nil {
				return nil, err
			}
			starts = append(starts, start)
		}
		scored, err := job.AdditiveProxies(ctx, x.engine, b, starts)
		if err != nil {
			return nil, err
		}
		if x.single != "" && c.single {
			single, err := job.SingleProxies(ctx, x.engine, b, strings.Split(x.single, ","), starts[:1], 0, nil)
			if err != nil {
				return nil, err
			}
			scored = append(scored, single...)
		}
		for _, p := range scored {
			p.Name = c.name + ": " + p.Name
			list = append(list, p)
		}
	}
	return list, nil
}

// start is what a condition scores from with a seed.
func (c condition) start(ctx context.Context, b *audit.Benchmark, set *data.Dataset, seed uint64) (s proxy.Start, err error) {
	s.Seed = seed
	if s.Weights = supernet.New(b.Space).Init(seed); c.fanIn {
		for name, w := range s.Weights {
			if s.Weights[name], err = asFanIn(name, w); err != nil {
				return s, err
			}
		}
	}
	if !c.real {
		s.Batch = proxy.Noise(b.Space.Model, seed)
		return s, nil
	}
	images, err := train.NewImages(set, b.Space.Model, recipe.Recipe{}, seed, 0)
	if err != nil {
		return s, err
	}
	m, n := b.Space.Model, c.batches*proxy.NoiseBatch
	for batch, err := range images.Train(ctx, 0, 0, n, load.Share{}) {
		if err != nil {
			return s, err
		}
		s.Batch = proxy.ScoringBatch{Images: tensorfile.FromFloat32([]int{n, m.Channels, m.ImageSize, m.ImageSize}, batch.Images), Batches: c.batches}
		for _, label := range batch.Labels {
			if c.labels {
				s.Batch.Labels = append(s.Batch.Labels, int(label))
			}
		}
		break
	}
	return s, nil
}

// asFanIn is a matrix of deviation 0.02, but that of the patches, with deviation 1/√fan_in.
func asFanIn(name string, w tensorfile.Tensor) (tensorfile.Tensor, error) {
	if len(w.Shape) != 2 || !strings.HasSuffix(name, ".weight") {
		return w, nil
	}
	values, err := w.Float32s()
	if err != nil {
		return w, err
	}
	scaled := make([]float32, len(values))
	for i, v := range values {
		scaled[i] = v / (0.02 * float32(math.Sqrt(float64(w.Shape[1]))))
	}
	return tensorfile.FromFloat32(w.Shape, scaled), nil
}

// print prints the gain of each proxy over parameters on each benchmark, the best of the first one first.
func (x *study) print(all []judged) {
	fmt.Print("| proxy |")
	for _, j := range all {
		fmt.Printf(" %s: tau within intervals | less that of parameters |", j.name)
	}
	fmt.Printf("\n| --- |%s\n", strings.Repeat(" --- | --- |", len(all)))
	order := make([]int, len(all[0].rows))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Compare(all[0].rows[b].TauWithin.Value, all[0].rows[a].TauWithin.Value)
	})
	for _, i := range order {
		fmt.Printf("| %s |", all[0].rows[i].Proxy)
		for _, j := range all {
			k := slices.IndexFunc(j.rows, func(r audit.Row) bool { return r.Proxy == all[0].rows[i].Proxy })
			if k < 0 {
				fmt.Print(" - | - |")
				continue
			}
			fmt.Printf(" %s | %s |", j.rows[k].TauWithin, j.rows[k].OverSize)
		}
		fmt.Println()
	}
}

// explain prints how the proxies of single architectures order architectures, beside what they may stand for.
func explain(all []judged) {
	for _, j := range all {
		var against []audit.Proxy
		for _, p := range j.proxies {
			if strings.HasPrefix(p.Name, "count: ") {
				against = append(against, p)
			}
		}
		var params []float64
		for _, t := range j.bench.Archs {
			params = append(params, float64(t.Params))
		}
		against = append(against, audit.Proxy{Name: "parameters", BySeed: [][]float64{params}})
		fmt.Printf("\n%s: Kendall's tau over all architectures, of scores and what they may stand for\n\n| proxy |", j.name)
		for _, p := range against {
			fmt.Printf(" %s |", p.Name)
		}
		fmt.Printf("\n| --- |%s\n", strings.Repeat(" --- |", len(against)))
		for _, p := range j.proxies {
			if !strings.HasSuffix(p.Name, ": naswot") && !strings.HasSuffix(p.Name, ": az_trainability") && !strings.HasSuffix(p.Name, ": grasp") {
				continue
			}
			fmt.Printf("| %s |", p.Name)
			for _, count := range against {
				fmt.Printf(" %.2f |", audit.Kendall(p.BySeed[0], count.BySeed[0]))
			}
			fmt.Println()
		}
	}
}

// combine finds the proxy, and the two whose ranks add up to the best order, on the first benchmark, and judges them on all.
func (x *study) combine(all []judged) error {
	var pairs []audit.Proxy
	named := func(j judged, name string) *audit.Proxy {
		for i := range j.proxies {
			if j.proxies[i].Name == name {
				return &j.proxies[i]
			}
		}
		return nil
	}
	common := func(name string) bool {
		return !slices.ContainsFunc(all, func(j judged) bool { return named(j, name) == nil })
	}
	first := all[0]
	for i, a := range first.proxies {
		for _, b := range first.proxies[:i] {
			if common(a.Name) && common(b.Name) {
				pairs = append(pairs, rankSum(a, b))
			}
		}
	}
	c, err := audit.Correlate(first.bench, pairs, 0, 0)
	if err != nil {
		return err
	}
	best := func(rows []audit.Row) string {
		top := ""
		value := math.Inf(-1)
		for _, r := range rows {
			if r.TauWithin.Value > value && strings.Contains(r.Proxy, ": ") && common(strings.Split(r.Proxy, " + ")[0]) {
				top, value = r.Proxy, r.TauWithin.Value
			}
		}
		return top
	}
	chosen := []string{best(first.rows), best(c.Rows)}
	fmt.Printf("\nThe best on %s, of %d proxies and of %d pairs:\n\n| proxy | benchmark | tau within intervals | less that of parameters |\n| --- | --- | --- | --- |\n", first.name, len(first.proxies), len(pairs))
	for _, name := range chosen {
		for _, j := range all {
			parts := strings.Split(name, " + ")
			p := *named(j, parts[0])
			if len(parts) == 2 {
				p = rankSum(p, *named(j, parts[1]))
			}
			c, err := audit.Correlate(j.bench, []audit.Proxy{p}, x.resamples, j.bench.Draw)
			if err != nil {
				return err
			}
			r := c.Rows[len(c.Rows)-1]
			fmt.Printf("| %s | %s | %s | %s |\n", name, j.name, r.TauWithin, r.OverSize)
		}
	}
	return nil
}

// rankSum is a proxy of the sums of two others' ranks, seed by seed; one that has fewer seeds has its last for the rest.
func rankSum(a, b audit.Proxy) audit.Proxy {
	sum := audit.Proxy{Name: a.Name + " + " + b.Name}
	for seed := range max(len(a.BySeed), len(b.BySeed)) {
		x, y := audit.Ranks(a.BySeed[min(seed, len(a.BySeed)-1)]), audit.Ranks(b.BySeed[min(seed, len(b.BySeed)-1)])
		for i := range x {
			x[i] += y[i]
		}
		sum.BySeed = append(sum.BySeed, x)
	}
	return sum
}
