//go:build unix

package proxy_test

import (
	"context"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"prenas/internal/engine/enginetest"
	"prenas/internal/proxy"
	"prenas/internal/supernet"
	"prenas/pkg/space"
)

// BenchmarkProxies says what each proxy costs for one architecture alone, its
// programs compiled anew, on 64 images: seconds of the clock (time/op), and of all
// processors together (cpu-s/op).
//
//	go test ./internal/proxy -run '^$' -bench Proxies
func BenchmarkProxies(b *testing.B) {
	little, err := space.Load("../../examples/audit/little.yaml")
	if err != nil {
		b.Fatal(err)
	}
	tiny, err := space.Load("tiny")
	if err != nil {
		b.Fatal(err)
	}
	e := enginetest.Test(b)
	for name, s := range map[string]*space.Space{"little": little, "tiny": tiny} {
		n := supernet.New(s)
		start := []proxy.Start{{Weights: n.Init(0), Batch: proxy.Noise(s.Model, 0)}}
		for _, of := range proxy.Names() {
			b.Run(fmt.Sprintf("%s/%s", name, of), func(b *testing.B) {
				scorer, err := proxy.NewScorer(e, n, []string{of}, start)
				if err != nil {
					b.Fatal(err)
				}
				before := cpuSeconds(b)
				for b.Loop() {
					if _, err := scorer.Of(context.Background(), s.Largest()); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric((cpuSeconds(b)-before)/float64(b.N), "cpu-s/op")
			})
		}
	}
}

func cpuSeconds(b *testing.B) float64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
