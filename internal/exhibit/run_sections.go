package exhibit

import (
	"cmp"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"prenas/internal/chart"
	"prenas/internal/evaluate"
	"prenas/internal/printable"
	"prenas/internal/rundir"
	"prenas/pkg/search"
	"prenas/pkg/space"
)

// Sections of a run. A section for which there is nothing to show is left out.
func (r *Run) Sections() ([]Section, error) {
	p := &page{}
	r.keep(rundir.AugmentedFile, r.readAugmented())
	r.keep(evaluate.MistakesFile, r.readMistakes())
	defer func() { r.augmented, r.mistakes = nil, nil }()
	p.add("progress", "Progress", "progress", r.progress())
	if len(r.archs) > 0 {
		p.add("family", "Architectures", "family", r.family())
	}
	p.addCharts("front", "Accuracy over what a model costs", r.frontLead(), nil, r.fronts()...)
	p.addCharts("training", "Training", "Of the training loss the mean of each interval, thin; smoothed over neighbouring intervals, thick."+r.chosenLead(),
		r.notes(), r.bothLosses(), r.lossChart(), r.accuracyChart(), r.rateChart(), r.lrChart(), r.skippedChart())
	if r.results != nil {
		if list := r.classes(); len(list) > 0 {
			p.add("classes", "Classes", "classes", classTables{r.mistakes, list})
		}
	}
	diagram, notes := r.calibrationChart()
	p.addCharts("calibration", "Calibration", "A model whose probabilities can be taken at their word is on the line; below it the model is surer than it may be. With 95 % intervals.", notes, diagram)
	if list := r.pictures(); len(list) > 0 {
		p.add("layers", "Layers", "layers", struct {
			Legend   string
			Pictures []picture
		}{legend(r.archs[0].arch), list})
	}
	if r.augmented != nil {
		p.add("augmented", "What augmentation makes of images", "augmented", augmented{*r.augmented, r.settled != nil && r.settled.Recipe.Mixes()})
	}
	if list := settings(r.manifest); len(list) > 0 {
		p.add("settings", "Configuration used", "settings", list)
	}
	return p.sections, p.err
}

// progress is what the section of that name shows.
type progress struct {
	State
	Share    float64 // of the updates, from 0 to 1
	LeftText string
	At       string // when the newest interval ended, where the run goes on
	Failed   []string
	Shown    string // which architectures are left out
}

func (r *Run) progress() progress {
	s := progress{State: r.State()}
	if s.Steps > 0 {
		s.Share = min(1, max(0, float64(s.Step)/float64(s.Steps)))
	}
	if s.Left > 0 {
		s.LeftText = s.Left.String()
	}
	if !s.Ended && !s.Last.IsZero() {
		s.At = s.Last.UTC().Format("2006-01-02 15:04:05 UTC")
	}
	for _, name := range []string{rundir.ManifestFile, rundir.CandidatesFile, evaluate.ResultsFile, evaluate.PredictionsFile, rundir.AugmentedFile, evaluate.MistakesFile} {
		if err := r.failed[name]; err != nil {
			s.Failed = append(s.Failed, r.within(err.Error()))
		}
	}
	for _, b := range r.journals.Back {
		if s.Failed = append(s.Failed, b.String()); len(s.Failed) > 20 {
			break
		}
	}
	if r.left > 0 {
		s.Shown = fmt.Sprintf("The first %s are shown, of %d.", printable.Count(maxArchs, "architecture"), maxArchs+r.left)
	}
	return s
}

// within removes the run's folder from a text: on the run's own page files need no folder.
func (r *Run) within(text string) string {
	return strings.ReplaceAll(text, r.dir+string(filepath.Separator), "")
}

// notes say what was left out of the journals.
func (r *Run) notes() (list []string) {
	if o := r.journals.OverFit(); o != nil {
		list = append(list, "It "+o.String()+".")
	}
	for _, text := range r.journals.notes() {
		list = append(list, r.within(text))
	}
	return list
}

// row is an architecture's line of the headline table.
type row struct {
	Class, Label                                    string
	Bin, Arch                                       string
	Params, MACs, Top1, Within, Top5, Rate, ScoreOf string
	Asked                                           []string // by family.Asked
	Latency                                         string
}

// family is what the section of that name shows.
type family struct {
	Of    string   // what the accuracies were measured on
	Keys  string   // what the keys of intervals are, and their unit: "params at most, M"
	Asked []string // titles of costs that were asked for beside parameters and MACs
	On    []string // what these were measured on
	// Latency tells that milliseconds of whole models were measured.
	Latency bool
	Count   int // of architectures
	Rows    []row
}

// reached is the accuracy of an architecture: on the test images, or, until it was measured there, on
// the held-out images at the newest evaluation.
func (r *Run) reached(m member) (top1, top5 float64, images int, ok bool) {
	if m.result != nil {
		return m.result.Top1, m.result.Top5, r.results.Images, true
	}
	if n := len(r.journals.Eval); n > 0 {
		line := r.journals.Eval[n-1]
		for _, a := range line.Archs {
			if a.Arch == m.name && a.Top1 >= 0 && a.Top1 <= 1 {
				return a.Top1, a.Top5, r.heldOut(line), true
			}
		}
	}
	return 0, 0, 0, false
}

// heldOut is how many images an evaluation was of. Journals of earlier versions do not say it; the manifest does.
func (r *Run) heldOut(line rundir.EvalLine) int {
	if line.Images == 0 && r.settled != nil {
		return r.settled.Data.HeldOut
	}
	return line.Images
}

// of says what accuracies were measured on.
func (r *Run) of() string {
	if r.results != nil {
		return "measured on " + r.results.Of()
	}
	if n := len(r.journals.Eval); n > 0 {
		line := r.journals.Eval[n-1]
		return fmt.Sprintf("held-out accuracy after %s, on training images that were held out; prenas eval measures on the test images", printable.Count(line.Step, "update"))
	}
	return "not measured yet"
}

func (r *Run) family() family {
	f := family{Of: r.of(), Keys: search.KeysOf(nil) + ", M", Count: len(r.archs)}
	var list []search.Asked
	if r.results != nil {
		list = r.results.Asked
	}
	for i, a := range list {
		if i == 0 {
			f.Keys = search.KeysOf(list) + ", " + a.Unit
		}
		if a.Counted() {
			continue
		}
		f.Asked = append(f.Asked, a.Title())
		if a.On != "" {
			f.On = append(f.On, a.Cost+": "+a.On)
		}
	}
	if r.original != nil {
		f.Latency, f.On = true, append(f.On, "latency: "+r.original.LatencyOf)
		f.Rows = append(f.Rows, r.originalRow(f))
	}
	for i, m := range r.archs {
		line := row{
			Class: chart.Class(i), Label: chart.Label(i), Bin: search.NumberText(m.bin), Arch: m.name,
			Params: millions(m.params), MACs: millions(m.macs),
		}
		if score, known := r.scores[m.name]; known {
			line.ScoreOf = strconv.FormatFloat(score, 'g', 6, 64)
		}
		if top1, top5, images, ok := r.reached(m); ok {
			line.Top1, line.Within, line.Top5 = percent(top1), evaluate.Range(top1, images), percent(top5)
		}
		if m.result != nil {
			line.Rate = strconv.FormatFloat(m.result.Rate, 'f', 0, 64)
		}
		if f.Latency {
			line.Latency = milliseconds(r.original.Latency[m.name])
		}
		for _, a := range list {
			if !a.Counted() {
				line.Asked = append(line.Asked, strconv.FormatFloat(a.Archs[m.name], 'g', 4, 64))
			}
		}
		f.Rows = append(f.Rows, line)
	}
	return f
}

// originalRow is the line of the model that the family was shrunk from.
func (r *Run) originalRow(f family) row {
	o := r.original.Result()
	return row{
		Label: "original", Arch: o.Arch, Params: millions(o.Params), MACs: millions(o.MACs), Latency: milliseconds(r.original.Latency[o.Arch]),
		Top1: percent(o.Top1), Within: evaluate.Range(o.Top1, r.original.Results.Images), Top5: percent(o.Top5),
		Rate: strconv.FormatFloat(o.Rate, 'f', 0, 64), Asked: make([]string, len(f.Asked)),
	}
}

func milliseconds(v float64) string { return strconv.FormatFloat(v, 'g', 3, 64) }

func (r *Run) frontLead() string {
	return "With 95 % intervals; " + r.of() + "."
}

// cost is a cost that fronts are drawn over.
type cost struct {
	title, label, unit string
	of                 func(m member) (value float64, ok bool)
}

// costs are all that a front of the run can be drawn over.
func (r *Run) costs() []cost {
	list := []cost{
		{"Top-1 accuracy over parameters", "parameters, million", "million parameters", func(m member) (float64, bool) { return float64(m.params) / 1e6, true }},
		{"Top-1 accuracy over MACs", "MACs, million", "million MACs", func(m member) (float64, bool) { return float64(m.macs) / 1e6, true }},
	}
	if r.results == nil {
		return list
	}
	for _, a := range r.results.Asked {
		if a.Counted() {
			continue
		}
		list = append(list, cost{"Top-1 accuracy over " + a.Cost, a.Cost + ", " + a.Unit, a.Unit + " of " + a.Cost, func(m member) (float64, bool) {
			v, ok := a.Archs[m.name]
			return v, ok
		}})
	}
	if r.original != nil {
		list = append(list, cost{"Top-1 accuracy over measured latency", "latency, ms", "ms", func(m member) (float64, bool) {
			ms, ok := r.original.Latency[m.name]
			return ms, ok
		}})
	}
	return append(list, cost{"Top-1 accuracy over time", "milliseconds an image, in the batches of prenas eval", "ms", func(m member) (float64, bool) {
		if m.result == nil || m.result.Rate <= 0 {
			return 0, false
		}
		return 1000 / m.result.Rate, true
	}})
}

// front is the accuracy of the run's architectures over a cost, joined by a line of a CSS class. Marks
// have the class of their architecture, or that of the line, so that fronts of several runs can be
// told apart.
func (r *Run) front(c cost) (joined []chart.Point, marks []chart.Mark) {
	for _, m := range r.archs {
		x, ok := c.of(m)
		top1, _, images, measured := r.reached(m)
		if !ok || !measured {
			marks = append(marks, chart.Mark{Point: chart.Point{X: nan, Y: nan}})
			continue
		}
		low, high := evaluate.Interval(top1, images)
		joined = append(joined, chart.Point{X: x, Y: 100 * top1})
		marks = append(marks, chart.Mark{
			Point: chart.Point{X: x, Y: 100 * top1}, Low: 100 * low, High: 100 * high,
			Text: fmt.Sprintf("%s: %.3f %s, %.2f %%, 95 %% interval %s", m.name, x, c.unit, 100*top1, evaluate.Range(top1, images)),
		})
	}
	slices.SortStableFunc(joined, func(a, b chart.Point) int { return cmp.Compare(a.X, b.X) })
	return joined, marks
}

// originalMark is the mark of the model that the family was shrunk from, in a front over a cost.
func (r *Run) originalMark(c cost) (mark chart.Mark, ok bool) {
	o, images := r.original.Result(), r.original.Results.Images
	x, ok := c.of(member{name: o.Arch, params: o.Params, macs: o.MACs, result: &o})
	low, high := evaluate.Interval(o.Top1, images)
	return chart.Mark{
		Point: chart.Point{X: x, Y: 100 * o.Top1}, Low: 100 * low, High: 100 * high,
		Text: fmt.Sprintf("the original, %s: %.3f %s, %.2f %%, 95 %% interval %s", o.Arch, x, c.unit, 100*o.Top1, evaluate.Range(o.Top1, images)),
	}, ok
}

func (r *Run) fronts() (list []chart.Chart) {
	for _, c := range r.costs() {
		joined, marks := r.front(c)
		if len(joined) == 0 {
			continue
		}
		one := chart.Chart{Title: c.title, XLabel: c.label, YLabel: "top-1, %", Series: []chart.Series{{Class: "joined", Thick: joined}}}
		for i, m := range marks {
			one.Series = append(one.Series, chart.Series{Name: r.archs[i].name, Label: chart.Label(i), Class: chart.Class(i), Marks: []chart.Mark{m}})
		}
		if r.original != nil {
			if mark, ok := r.originalMark(c); ok {
				one.Series = append(one.Series, chart.Series{Name: "the original", Label: chart.Label(len(marks)), Class: "joined", Marks: []chart.Mark{mark}})
			}
		}
		list = append(list, one)
	}
	return list
}

// perArch makes a curve for each architecture, of the values that collect finds.
func (r *Run) perArch(collect func(put func(arch string, x, y float64)), smooth bool) (list []chart.Series) {
	points := map[string][]chart.Point{}
	collect(func(arch string, x, y float64) { points[arch] = append(points[arch], chart.Point{X: x, Y: y}) })
	for i, m := range r.archs {
		if len(points[m.name]) == 0 {
			continue
		}
		s := chart.Series{Name: m.name, Label: chart.Label(i), Class: chart.Class(i), Thick: points[m.name]}
		if smooth {
			s.Faint, s.Thick = points[m.name], chart.Smooth(points[m.name])
		}
		list = append(list, s)
	}
	return list
}

// chosen is the number of updates of the checkpoint that figures and exports are of; 0 where no image
// was held out to choose a checkpoint by.
func (r *Run) chosen() int {
	best := r.journals.Best()
	switch {
	case best == nil:
		return 0
	case r.results != nil && r.results.Step > 0:
		return r.results.Step
	}
	return best.Step
}

// rules mark the chosen checkpoint, by a vertical line in a chart over updates.
func (r *Run) rules() []chart.Rule {
	if at := r.chosen(); at > 0 {
		return []chart.Rule{{X: float64(at), Label: "chosen"}}
	}
	return nil
}

func (r *Run) chosenLead() string {
	at := r.chosen()
	if at == 0 {
		return ""
	}
	return fmt.Sprintf(" The checkpoint of update %d was chosen by the held-out images: it is what is measured and exported.", at)
}

// bothLosses are the training loss and the held-out loss, means over the architectures, in one chart.
// Where the held-out loss rises and the other does not, the model learns its training images by heart.
// The training loss may be the higher one, since its images are augmented and its targets softened.
func (r *Run) bothLosses() chart.Chart {
	c := chart.Chart{Title: "Training and held-out loss", XLabel: "updates", YLabel: "mean loss", Rules: r.rules()}
	var held []chart.Point
	for _, line := range r.journals.Eval {
		held = append(held, chart.Point{X: float64(line.Step), Y: line.Loss()})
	}
	if len(held) == 0 { // the training loss alone has a chart of its own
		return c
	}
	trained := r.intervals(func(line rundir.TrainLine) (float64, bool) { return line.Loss, len(line.Archs) > 0 })
	c.Series = []chart.Series{
		{Name: "training loss", Label: "train", Class: chart.Class(0), Faint: trained, Thick: chart.Smooth(trained)},
		{Name: "held-out loss", Label: "held", Class: chart.Class(1), Thick: held},
	}
	return c
}

func (r *Run) lossChart() chart.Chart {
	return chart.Chart{Title: "Training loss per architecture", XLabel: "updates", YLabel: "training loss", Rules: r.rules(), Series: r.perArch(func(put func(string, float64, float64)) {
		for _, line := range r.journals.Train {
			for _, a := range line.Archs {
				put(a.Arch, float64(line.Step), a.Loss)
			}
		}
	}, true)}
}

func (r *Run) accuracyChart() chart.Chart {
	c := chart.Chart{Title: "Held-out accuracy per architecture", XLabel: "updates", YLabel: "held-out top-1, %; bars: 95 % intervals of the last", Rules: r.rules(), Series: r.perArch(func(put func(string, float64, float64)) {
		for _, line := range r.journals.Eval {
			for _, a := range line.Archs {
				put(a.Arch, float64(line.Step), 100*a.Top1)
			}
		}
	}, false)}
	for i := range c.Series {
		c.Series[i].Marks = r.lastHeld(c.Series[i].Name, c.Series[i].Thick)
	}
	return c
}

// lastHeld marks the last point of a curve of held-out accuracies in per cent, with its interval.
func (r *Run) lastHeld(name string, points []chart.Point) []chart.Mark {
	n := len(r.journals.Eval)
	if n == 0 || len(points) == 0 {
		return nil
	}
	last, images := points[len(points)-1], r.heldOut(r.journals.Eval[n-1])
	if !(last.Y >= 0 && last.Y <= 100) {
		return nil // a journal that was tampered with
	}
	low, high := evaluate.Interval(last.Y/100, images)
	return []chart.Mark{{Point: last, Low: 100 * low, High: 100 * high,
		Text: fmt.Sprintf("%s: %.2f %% of %d held-out images, 95 %% interval %s", name, last.Y, images, evaluate.Range(last.Y/100, images))}}
}

// intervals are the points, over updates, of those intervals of a training that of has a value for.
func (r *Run) intervals(of func(line rundir.TrainLine) (y float64, ok bool)) (points []chart.Point) {
	for _, line := range r.journals.Train {
		if y, ok := of(line); ok {
			points = append(points, chart.Point{X: float64(line.Step), Y: y})
		}
	}
	return points
}

func (r *Run) lr(line rundir.TrainLine) (float64, bool) { return line.LR, true }

func (r *Run) rate(line rundir.TrainLine) (float64, bool) {
	t, ok := r.journals.Timings[line.Step]
	return t.Rate, ok
}

// single is a chart of one curve over the intervals of a training.
func (r *Run) single(title, label string, of func(line rundir.TrainLine) (y float64, ok bool)) chart.Chart {
	c := chart.Chart{Title: title, XLabel: "updates", YLabel: label}
	if points := r.intervals(of); len(points) > 0 {
		c.Series = []chart.Series{{Name: label, Class: chart.Class(0), Thick: points}}
	}
	return c
}

func (r *Run) lrChart() chart.Chart { return r.single("Learning rate", "learning rate", r.lr) }

func (r *Run) rateChart() chart.Chart { return r.single("Speed", "images a second", r.rate) }

func (r *Run) skippedChart() chart.Chart {
	if r.State().Skipped == 0 {
		return chart.Chart{}
	}
	return r.single("Updates that were not finite, so not applied", "updates left out", func(line rundir.TrainLine) (float64, bool) {
		return float64(line.Skipped), true
	})
}

func (r *Run) pictures() []picture {
	var archs []space.Arch
	for _, m := range r.archs {
		archs = append(archs, m.arch)
	}
	if len(archs) == 0 {
		return nil
	}
	return pictures(archs)
}

// settings is the manifest as a flat list of keys and values, such as "recipe.optimizer.lr" and "0.001",
// in the file's order. A list is one value.
func settings(manifest json.RawMessage) []setting { return flatten(nil, "", manifest) }
