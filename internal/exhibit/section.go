package exhibit

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"

	"prenas/internal/chart"
)

//go:embed sections.html
var sectionsText string

var templates = template.Must(template.New("sections").Parse(sectionsText))

// Section of a page. ID is unique on the page.
type Section struct {
	ID, Title string
	HTML      template.HTML
}

// page gathers sections; the first error stays.
type page struct {
	sections []Section
	err      error
}

// add renders a template of sections.html as a section.
func (p *page) add(id, title, name string, data any) {
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, name, data); err != nil && p.err == nil {
		p.err = fmt.Errorf("section %s: %w", id, err)
	}
	p.sections = append(p.sections, Section{ID: id, Title: title, HTML: template.HTML(b.String())})
}

// charts are a section of charts, with a text before them.
type charts struct {
	Lead   string
	Charts []template.HTML
	Notes  []string
}

// addCharts adds a section with those charts that have something to show. It adds none if no chart has,
// and there are no notes.
func (p *page) addCharts(id, title, lead string, notes []string, list ...chart.Chart) {
	c := charts{Lead: lead, Notes: notes}
	for _, one := range list {
		if len(one.Series) == 0 {
			continue
		}
		html, err := one.HTML()
		if err != nil && p.err == nil {
			p.err = err
		}
		c.Charts = append(c.Charts, html)
	}
	if len(c.Charts)+len(notes) > 0 {
		p.add(id, title, "charts", c)
	}
}
