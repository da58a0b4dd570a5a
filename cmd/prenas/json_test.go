package main

import (
	"encoding"
	"encoding/json"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"prenas/internal/audit"
	"prenas/internal/data"
	"prenas/internal/data/inspect"
	"prenas/internal/evaluate"
	"prenas/internal/export"
	"prenas/internal/job"
	"prenas/internal/rundir"
	"prenas/internal/train"
	"prenas/internal/watch"
)

// What --json prints, and what runs and searches leave as JSON, has keys in snake case.
func TestKeysOfJSON(t *testing.T) {
	seen := map[reflect.Type]bool{}
	snake := regexp.MustCompile(`^[a-z0-9]+(_[a-z0-9]+)*$`)
	var walk func(reflect.Type)
	walk = func(of reflect.Type) {
		if seen[of] {
			return
		}
		seen[of] = true
		switch of.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
			walk(of.Elem())
		case reflect.Struct:
			for _, own := range []reflect.Type{reflect.TypeFor[json.Marshaler](), reflect.TypeFor[encoding.TextMarshaler]()} {
				if of.Implements(own) {
					return
				}
			}
			for _, f := range reflect.VisibleFields(of) {
				key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
				if !f.IsExported() || f.Anonymous || key == "-" {
					continue
				}
				if !snake.MatchString(key) {
					t.Errorf("%s.%s has the key %q", of, f.Name, key)
				}
				walk(f.Type)
			}
		}
	}
	for _, printed := range []any{
		spaceSummary{}, diagnosis{}, evaluate.Results{}, job.Meta{}, job.Timing{}, train.Result{}, train.Plan{}, rundir.Manifest{},
		job.Explained{}, job.Exported{}, job.Imported{}, job.LatencyResult{}, job.Predicted{}, job.Prediction{}, inspect.Info{}, data.SkippedImage{}, audit.Header{}, audit.Trained{}, audit.Correlations{}, export.Info{}, watch.Status{}, job.Checked{},
	} {
		walk(reflect.TypeOf(printed))
	}
}
