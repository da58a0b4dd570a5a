package exhibit

import (
	"errors"
	"fmt"

	"prenas/internal/audit"
	"prenas/internal/chart"
	"prenas/internal/fsys"
)

// resamples of the intervals of rank correlations on a page.
const resamples = 200

// auditTable is what the section of correlations shows.
type auditTable struct {
	Space, Notes string
	Archs        int
	Seeds        int
	Rows         []audit.Row
}

// AuditSections are the sections that show the benchmark file at path: what architectures reached over
// what they cost, and how well their size alone orders them.
func AuditSections(f fsys.FS, path string) ([]Section, error) {
	b, err := audit.Read(f, path)
	if err != nil {
		return nil, err
	}
	p := &page{}
	t := auditTable{Space: b.Space.Name, Archs: len(b.Archs), Seeds: len(b.Seeds)}
	c, err := audit.Correlate(b, nil, resamples, 0)
	switch {
	case errors.Is(err, audit.ErrIncomplete):
		t.Notes = err.Error()
	case err != nil:
		t.Notes = "There are no correlations: " + err.Error()
	default:
		t.Rows = c.Rows
	}
	p.add("audit", "Audit", "audit", t)
	params := chart.Chart{Title: "Held-out accuracy over parameters", XLabel: "parameters, million", YLabel: "mean held-out top-1, %"}
	macs := chart.Chart{Title: "Held-out accuracy over MACs", XLabel: "MACs, million", YLabel: "mean held-out top-1, %"}
	var byParams, byMACs []chart.Mark
	for _, a := range b.Archs {
		if len(a.Results) == 0 || len(byParams) == maxMarks {
			continue
		}
		low, high, sum := 1.0, 0.0, 0.0
		for _, r := range a.Results {
			low, high, sum = min(low, r.Top1), max(high, r.Top1), sum+r.Top1
		}
		m := chart.Mark{Low: 100 * low, High: 100 * high}
		m.Y = 100 * sum / float64(len(a.Results))
		m.Text = fmt.Sprintf("%s: %.2f %%, of %d trainings from %.2f to %.2f", a.Arch, m.Y, len(a.Results), m.Low, m.High)
		m.X = float64(a.Params) / 1e6
		byParams = append(byParams, m)
		m.X = float64(a.MACs) / 1e6
		byMACs = append(byMACs, m)
	}
	params.Series = []chart.Series{{Class: "joined", Thick: frontOf(byParams)}, {Name: "architectures", Class: chart.Class(0), Marks: byParams}}
	macs.Series = []chart.Series{{Class: "joined", Thick: frontOf(byMACs)}, {Name: "architectures", Class: chart.Class(0), Marks: byMACs}}
	p.addCharts("reached", "What architectures reached", "Each is trained with each seed; the bars are from the least to the most. The line joins the front.", nil, params, macs)
	return p.sections, p.err
}
