package train

import (
	"prenas/internal/rundir"
	"prenas/internal/trainstep"
	"time"
)

// pace measures how many images a second each architecture trains.
type pace struct {
	images  []int
	seconds []float64
}

func newPace(archs int) pace { return pace{make([]int, archs), make([]float64, archs)} }

// add counts an update, to the first of its parts, and returns its own speed.
func (p *pace) add(parts []trainstep.ArchLoss, images int, took time.Duration) float64 {
	p.images[parts[0].Index] += images
	p.seconds[parts[0].Index] += took.Seconds()
	return float64(images) / took.Seconds()
}

// line sums up and starts again.
func (p *pace) line(step int, names []string) rundir.TimingLine {
	line := rundir.TimingLine{Step: step, Time: float64(time.Now().UnixMilli()) / 1e3}
	images, seconds := 0, 0.0
	for i, name := range names {
		if p.images[i] > 0 {
			line.Archs = append(line.Archs, rundir.ArchTiming{Arch: name, Rate: float64(p.images[i]) / p.seconds[i]})
			images, seconds = images+p.images[i], seconds+p.seconds[i]
		}
	}
	if seconds > 0 {
		line.Rate = float64(images) / seconds
	}
	*p = newPace(len(names))
	return line
}
