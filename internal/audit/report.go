package audit

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/stat"

	"prenas/internal/printable"
	"prenas/internal/rng"
)

// Proxy is a score of each architecture of a benchmark, a list for each seed
// of the weights it was computed from; one list where no weights play a part.
type Proxy struct {
	Name   string
	BySeed [][]float64
	// isRun marks the accuracies themselves. Those of each seed are compared with the mean of the
	// other seeds.
	isRun bool
}

// Names of the rows that every report has.
const (
	Params = "parameters"
	MACs   = "MACs"
	OneRun = "one training run"
)

// Estimate is a statistic with the bounds of its 95 % confidence interval.
type Estimate struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

// String is the estimate with two decimals.
func (e Estimate) String() string { return fmt.Sprintf("%.2f [%.2f, %.2f]", e.Value, e.Low, e.High) }

// Row says how well the order of a proxy agrees with the order of mean accuracies. Tau and Rho are
// over all architectures. TauWithin and RhoWithin are means over the intervals of parameters. Of a
// proxy that was scored on several seeds all are means over these.
type Row struct {
	Proxy     string     `json:"proxy"`
	Tau       Estimate   `json:"tau"`
	Rho       Estimate   `json:"rho"`
	TauWithin Estimate   `json:"tau_within"`
	RhoWithin Estimate   `json:"rho_within"`
	OverSize  Estimate   `json:"over_size"` // TauWithin less that of parameters, in the same resamples
	Intervals []Estimate `json:"intervals"` // tau in each
}

// IntervalSummary is what architectures of an interval reached.
type IntervalSummary struct {
	Lower  float64 `json:"lower"` // million parameters
	Upper  float64 `json:"upper"`
	Archs  int     `json:"archs"`
	Top1   float64 `json:"top1"`   // mean
	Spread float64 `json:"spread"` // deviation of architectures' mean accuracies
	Noise  float64 `json:"noise"`  // deviation of an architecture's accuracy between seeds, beyond what a seed does to all
}

// Correlations of a benchmark.
type Correlations struct {
	Seeds     int               `json:"seeds"`
	Resamples int               `json:"resamples"`
	Intervals []IntervalSummary `json:"intervals"`
	Rows      []Row             `json:"rows"`
}

// Correlate reports how well proxies, and beside them parameters, MACs and one
// more training run, order the architectures of a complete benchmark.
// Confidence intervals are percentiles over resamples of the architectures
// (with replacement, within their intervals), of the training seeds and of the
// proxies' seeds, drawn from seed.
func Correlate(b *Benchmark, proxies []Proxy, resamples int, seed uint64) (Correlations, error) {
	if n := b.missing(); n > 0 {
		return Correlations{}, fmt.Errorf("%w: %d of %d results are missing; run the same audit again to go on with it", ErrIncomplete, n, len(b.Archs)*len(b.Seeds))
	}
	all, runs, err := b.judged(proxies)
	if err != nil {
		return Correlations{}, err
	}
	j, err := newJudge(b, runs)
	if err != nil {
		return Correlations{}, err
	}
	c := Correlations{Seeds: len(b.Seeds), Resamples: resamples, Intervals: j.summaries()}
	samples := j.resampled(all, resamples, seed)
	base := j.judge(all[0], j.whole(), 0).tauWithin
	for k, p := range all {
		row := j.row(p, samples[k])
		gains := make([]float64, resamples)
		for i, v := range samples[k] {
			gains[i] = v.tauWithin - samples[0][i].tauWithin
		}
		row.OverSize = bounds(row.TauWithin.Value-base, gains)
		c.Rows = append(c.Rows, row)
	}
	return c, nil
}

// judged are the proxies of a report: parameters first, MACs, one training run where there are
// several seeds, and those that are given. runs are top-1 by seed and architecture. It is an error
// if a proxy has no score of an architecture, or NaN.
func (b *Benchmark) judged(given []Proxy) (all []Proxy, runs [][]float64, err error) {
	params, macs := make([]float64, len(b.Archs)), make([]float64, len(b.Archs))
	runs = make([][]float64, len(b.Seeds))
	for i, t := range b.Archs {
		params[i], macs[i] = float64(t.Params), float64(t.MACs)
		for k, r := range t.Results {
			runs[k] = append(runs[k], r.Top1)
		}
	}
	all = []Proxy{{Name: Params, BySeed: [][]float64{params}}, {Name: MACs, BySeed: [][]float64{macs}}}
	if len(runs) > 1 {
		all = append(all, Proxy{Name: OneRun, BySeed: runs, isRun: true})
	}
	for _, p := range given {
		for _, scores := range p.BySeed {
			if len(scores) != len(b.Archs) {
				return nil, nil, fmt.Errorf("proxy %s scores %s of %d", p.Name, printable.Count(len(scores), "architecture"), len(b.Archs))
			}
			if slices.ContainsFunc(scores, math.IsNaN) {
				return nil, nil, fmt.Errorf("proxy %s scores an architecture with NaN", p.Name)
			}
		}
		all = append(all, p)
	}
	return all, runs, nil
}

// resampled are the correlations of each proxy in each resample, by proxy. All proxies are judged
// on the same resamples.
func (j judge) resampled(all []Proxy, resamples int, seed uint64) [][]verdict {
	samples := make([][]verdict, len(all))
	for i := range resamples {
		r := rng.New(seed, "bootstrap", uint64(i))
		s := j.resample(r)
		for k, p := range all {
			samples[k] = append(samples[k], j.judge(p, s, r.IntN(len(p.BySeed))))
		}
	}
	return samples
}

// row is the line of a proxy but for OverSize: values are of the whole benchmark, the mean over the
// proxy's seeds, and bounds are of its resamples.
func (j judge) row(p Proxy, resampled []verdict) Row {
	whole := j.whole()
	var points []verdict
	for s := range p.BySeed {
		points = append(points, j.judge(p, whole, s))
	}
	estimate := func(of func(verdict) float64) Estimate {
		values := make([]float64, len(resampled))
		for i, v := range resampled {
			values[i] = of(v)
		}
		mean := 0.0
		for _, v := range points {
			mean += of(v) / float64(len(points))
		}
		return bounds(mean, values)
	}
	row := Row{
		Proxy:     p.Name,
		Tau:       estimate(func(v verdict) float64 { return v.tau }),
		Rho:       estimate(func(v verdict) float64 { return v.rho }),
		TauWithin: estimate(func(v verdict) float64 { return v.tauWithin }),
		RhoWithin: estimate(func(v verdict) float64 { return v.rhoWithin }),
	}
	for i := range j.members {
		row.Intervals = append(row.Intervals, estimate(func(v verdict) float64 { return v.intervals[i] }))
	}
	return row
}

// bounds are the percentiles of resampled values around a statistic.
func bounds(value float64, resampled []float64) Estimate {
	if len(resampled) == 0 {
		return Estimate{value, value, value}
	}
	slices.Sort(resampled)
	at := func(p float64) float64 { return stat.Quantile(p, stat.LinInterp, resampled, nil) }
	return Estimate{value, at(0.025), at(0.975)}
}

// judge compares scores with accuracies.
type judge struct {
	header  Header
	runs    [][]float64 // top-1 by seed and architecture
	members [][]int     // architectures of each interval
}

func newJudge(b *Benchmark, runs [][]float64) (judge, error) {
	count, err := b.Header.bins()
	if err != nil {
		return judge{}, fmt.Errorf("%w: %w", ErrBenchmark, err)
	}
	j := judge{header: b.Header, runs: runs, members: make([][]int, count)}
	for i, t := range b.Archs {
		bin := int(math.Floor((float64(t.Params)/1e6 - b.Interval.Min) / b.Interval.Step))
		if bin < 0 || bin >= count {
			return judge{}, fmt.Errorf("%w: %s lies in no interval", ErrBenchmark, t.Arch)
		}
		j.members[bin] = append(j.members[bin], i)
	}
	return j, nil
}

// sample is what a statistic is computed from: architectures by interval, and training seeds. In a
// resample some are there several times.
type sample struct {
	members [][]int
	seeds   []int
}

// whole is the benchmark as it is.
func (j judge) whole() sample {
	s := sample{members: j.members}
	for k := range j.runs {
		s.seeds = append(s.seeds, k)
	}
	return s
}

// resample draws as many architectures from each interval, and as many seeds,
// as there are, with replacement.
func (j judge) resample(r *rand.Rand) sample {
	s := sample{members: make([][]int, len(j.members))}
	for i, list := range j.members {
		for range list {
			s.members[i] = append(s.members[i], list[r.IntN(len(list))])
		}
	}
	for range j.runs {
		s.seeds = append(s.seeds, r.IntN(len(j.runs)))
	}
	return s
}

// verdict are the correlations of one sample.
type verdict struct {
	tau, rho, tauWithin, rhoWithin float64
	intervals                      []float64 // tau
}

// judge correlates a proxy's scores of one seed with the mean accuracies over the sample's training
// seeds.
func (j judge) judge(p Proxy, s sample, seed int) verdict {
	seeds := s.seeds
	if p.isRun {
		seeds = nil
		for k := range j.runs {
			if k != seed {
				seeds = append(seeds, k)
			}
		}
	}
	var v verdict
	var allX, allY []float64
	for _, members := range s.members {
		var x, y []float64
		for _, i := range members {
			mean := 0.0
			for _, k := range seeds {
				mean += j.runs[k][i] / float64(len(seeds))
			}
			x, y = append(x, p.BySeed[seed][i]), append(y, mean)
		}
		v.intervals = append(v.intervals, Kendall(x, y))
		v.tauWithin += Kendall(x, y) / float64(len(s.members))
		v.rhoWithin += Spearman(x, y) / float64(len(s.members))
		allX, allY = append(allX, x...), append(allY, y...)
	}
	v.tau, v.rho = Kendall(allX, allY), Spearman(allX, allY)
	return v
}

// summaries say how far architectures differ in each interval, and how far one differs between
// seeds.
func (j judge) summaries() []IntervalSummary {
	var list []IntervalSummary
	for bin, members := range j.members {
		s := IntervalSummary{Archs: len(members)}
		s.Lower = j.header.Interval.Min + float64(bin)*j.header.Interval.Step
		s.Upper = s.Lower + j.header.Interval.Step
		bySeed := make([]float64, len(j.runs)) // mean of the interval
		for k, run := range j.runs {
			for _, i := range members {
				bySeed[k] += run[i] / float64(len(members))
			}
		}
		var means []float64
		variance := 0.0
		for _, i := range members {
			var own, beyond []float64
			for k, run := range j.runs {
				own, beyond = append(own, run[i]), append(beyond, run[i]-bySeed[k])
			}
			means = append(means, stat.Mean(own, nil))
			if len(own) > 1 {
				variance += stat.Variance(beyond, nil) / float64(len(members))
			}
		}
		if len(means) > 0 {
			s.Top1 = stat.Mean(means, nil)
		}
		if len(means) > 1 {
			s.Spread = stat.StdDev(means, nil)
		}
		s.Noise = math.Sqrt(variance)
		list = append(list, s)
	}
	return list
}
