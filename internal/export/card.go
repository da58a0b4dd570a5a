package export

import (
	"bytes"
	_ "embed"
	"fmt"
	"strings"
	"text/template"
)

// Card is what a model card tells: the description of the model, and how this file of
// it came about.
type Card struct {
	Info
	File    string // its name
	Form    string // of the file, for people
	Command string // of the training
	YAML    string // the recipe with every value in use
}

//go:embed card.md.tmpl
var cardText string

var cardTemplate = template.Must(template.New("card").Funcs(template.FuncMap{
	"millions": func(n int64) string { return fmt.Sprintf("%.3f", float64(n)/1e6) },
	"percent":  func(x float64) string { return fmt.Sprintf("%.2f %%", 100*x) },
	"list":     func(values any) string { return strings.Trim(fmt.Sprint(values), "[]") },
	"join":     strings.Join,
}).Parse(cardText))

func (c Card) markdown() ([]byte, error) {
	var text bytes.Buffer
	err := cardTemplate.Execute(&text, c)
	return text.Bytes(), err
}
