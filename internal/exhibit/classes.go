package exhibit

import (
	"fmt"
	"html/template"
	"math"
	"net/url"
	"path/filepath"

	"prenas/internal/chart"
	"prenas/internal/evaluate"
	"prenas/internal/printable"
)

// classTables is what the section of classes shows. Pictures are thumbnails of the mistakes; nil: there
// are none.
type classTables struct {
	Pictures *embedded
	List     []classes
}

// classes says how an architecture does on the classes.
type classes struct {
	Class, Label, Arch string
	Best               bool
	Balanced, Loss     string
	Rows               []classRow
	Left               int      // classes that have no row
	Names              []string // of the matrix; none where it would be too large
	Matrix             [][]cell
	Confused           []string
	Mistakes           []mistake
	Sure               bool   // the model was of some of them
	Hint               string // on links of mistakes
}

// classRow is a class's line.
type classRow struct{ Name, Images, Recall, Within, Precision string }

// cell of a confusion matrix. Shade is a CSS class, darker for a larger share of the row's images.
type cell struct {
	Images int
	Shade  string
	Title  string
}

// mistake is an image that was taken for another class. Link leads to its file; empty: it is in no file
// of its own. View is the part of the thumbnails that shows it, as the viewBox of an SVG; empty: none
// shows it.
type mistake struct {
	Image, View                   string
	Link                          template.URL
	Label, Predicted, Probability string
}

// Limits of what is shown. results.json has all.
const (
	mostRows   = 30
	mostMatrix = 30
	mostPairs  = 10
	mostWrong  = 20
)

// classes are the tables of all architectures; nil where the results say nothing of classes.
func (run *Run) classes() (list []classes) {
	r := *run.results
	best := r.Best().Arch
	for i, a := range r.Archs[:min(len(r.Archs), maxArchs)] {
		if len(a.PerClass) == 0 {
			continue
		}
		c := classes{Class: chart.Class(i), Label: chart.Label(i), Arch: a.Arch, Best: a.Arch == best, Balanced: percent(a.Balanced), Loss: fmt.Sprintf("%.4f", a.Loss)}
		all := a.Worst(len(a.PerClass))
		for _, w := range all[:min(len(all), mostRows)] {
			row := classRow{Name: r.ClassName(w.Class), Images: fmt.Sprint(w.Images), Recall: percent(w.Recall()), Within: evaluate.Range(w.Recall(), w.Images), Precision: "none taken for it"}
			if w.Predicted > 0 {
				row.Precision = percent(w.Precision())
			}
			c.Rows = append(c.Rows, row)
		}
		c.Left = len(all) - len(c.Rows)
		c.matrix(r, a)
		for _, p := range a.MostConfused(mostPairs) {
			c.Confused = append(c.Confused, fmt.Sprintf("%s for %s: %d of %d", r.ClassName(p[0]), r.ClassName(p[1]), p[2], a.Images(p[0])))
		}
		for _, m := range a.Mistakes[:min(len(a.Mistakes), mostWrong)] {
			view := ""
			if run.mistakes != nil && m.Picture != nil {
				view = fmt.Sprint(m.Picture[0], m.Picture[1], r.Pictures.Side, r.Pictures.Side)
			}
			link := run.Link(m.Name)
			if link == "" && filepath.IsAbs(m.Name) {
				c.Hint = run.Hint
			}
			c.Sure = c.Sure || m.Sure()
			c.Mistakes = append(c.Mistakes, mistake{m.Name, view, link, r.ClassName(m.Label), r.ClassName(m.Predicted), percent(m.Probability)})
		}
		list = append(list, c)
	}
	return list
}

// matrix is the confusion matrix of the classes that have images or were predicted, if they are few
// enough.
func (c *classes) matrix(r evaluate.Results, a evaluate.Result) {
	if len(a.PerClass) > mostMatrix {
		return
	}
	place := map[int]int{}
	for i, p := range a.PerClass {
		place[p.Class] = i
		c.Names = append(c.Names, r.ClassName(p.Class))
	}
	for i, p := range a.PerClass {
		row := make([]cell, len(a.PerClass))
		for _, found := range a.Confusion {
			k, known := place[found[1]]
			if found[0] != p.Class || !known {
				continue
			}
			row[k] = cell{Images: found[2], Shade: shade(found[2], p.Images, i == k), Title: fmt.Sprintf("%d of %s of %s taken for %s", found[2], printable.Count(p.Images, "image"), c.Names[i], c.Names[k])}
		}
		c.Matrix = append(c.Matrix, row)
	}
}

// shades of a cell, beside none.
const shades = 5

func shade(of, all int, right bool) string {
	kind := "wrong"
	if right {
		kind = "right"
	}
	part := float64(of) / float64(max(all, of, 1))
	return fmt.Sprintf("%s%d", kind, max(1, int(math.Ceil(shades*part))))
}

// FileLink is a link to a file of this machine, whose path begins at the root; empty for other names.
// Browsers follow such a link from a page that is a file, not from a page of a server.
func FileLink(name string) template.URL {
	if !filepath.IsAbs(name) || filepath.Clean(name) != name {
		return ""
	}
	return template.URL((&url.URL{Scheme: "file", Path: filepath.ToSlash(name)}).String())
}
