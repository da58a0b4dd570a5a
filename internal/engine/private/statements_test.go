//go:build cgo

package private

import (
	"testing"

	"github.com/gomlx/go-xla/pkg/stablehlo"
)

// The other functions need a plug-in: package engine's tests of calls use them.
func TestOperationByName(t *testing.T) {
	var statement stablehlo.Statement
	for _, name := range []string{"stablehlo.custom_call", "stablehlo.add", "stablehlo.custom_call"} {
		setOperation(&statement, name)
		if got := statement.OpType.ToStableHLO(); got != name {
			t.Errorf("a statement of %s, want %s", got, name)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("an operation that is not there is not noticed")
		}
	}()
	setOperation(&statement, "stablehlo.nothing")
}
