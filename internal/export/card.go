package export

import (
	"bytes"
	_ "embed"
	"fmt"
	"strings"
	"text/template"

	"prenas/internal/printable"
)

// Card is what a model card tells: the description of the model, and how this file of
// it came about.
type Card struct {
	Info
	File    string // its name
	SHA256  string // of the file
	Form    string // of the file, for people
	Command string // of the training
	YAML    string // the recipe with every value in use
	Found   *Found // what was measured beside the accuracy; nil: not with these weights
}

// Found is what an evaluation found of a model beside its accuracy.
type Found struct {
	Balanced float64 // mean of the classes' recalls
	Loss     float64 // mean cross entropy
	Classes  []FoundClass
	Left     int      // classes that have no line here
	Confused []string // like "cat for dog: 3 of 40 images"
}

// FoundClass is what was found of a class.
type FoundClass struct {
	Name              string
	Images            int
	Recall, Precision float64
}

//go:embed card.md.tmpl
var cardText string

var cardTemplate = template.Must(template.New("card").Funcs(template.FuncMap{
	"millions": func(n int64) string { return fmt.Sprintf("%.3f", float64(n)/1e6) },
	"percent":  func(x float64) string { return fmt.Sprintf("%.2f %%", 100*x) },
	"list":     func(values any) string { return strings.Trim(fmt.Sprint(values), "[]") },
	"md":       markdown,
	"code":     code,
}).Parse(cardText))

// special are the characters of a text that Markdown, GitHub's too, reads as its own.
var special = strings.NewReplacer(
	`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "<", `\<`, ">", `\>`,
	"|", `\|`, "&", `\&`, "~", `\~`, "#", `\#`, "!", `\!`, "$", `\$`,
	"://", `\://`, "www.", `www\.`, "@", `\@`, // what becomes a link by itself
)

// markdown is a text of unknown origin as Markdown that shows just that.
func markdown(s string) string { return special.Replace(printable.Name(s)) }

// code is a text of unknown origin as a span of code.
func code(s string) string {
	s = printable.Name(s)
	fence := "`"
	for strings.Contains(s, fence) {
		fence += "`"
	}
	if fence == "`" {
		return fence + s + fence
	}
	return fence + " " + s + " " + fence
}

// ClassList is the classes' names, in order.
func (c Card) ClassList() string {
	var names []string
	for _, name := range c.Classes {
		names = append(names, markdown(name))
	}
	return strings.Join(names, ", ")
}

func (c Card) markdown() ([]byte, error) {
	var text bytes.Buffer
	err := cardTemplate.Execute(&text, c)
	return text.Bytes(), err
}
