package data

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"prenas/internal/machine"
)

// Every error of an image names it; only one of its bytes says that it is damaged, and only the
// system's that it may be sound.
func TestErrorsOfImages(t *testing.T) {
	for _, c := range []struct {
		err            error
		damaged, sound bool
	}{
		{fmt.Errorf("%w: cut off", ErrFormat), true, false},
		{machine.ErrMemory, false, false},
		{ErrChanged, false, false},
		{fs.ErrPermission, false, true},
		{&fs.PathError{Op: "open", Path: "elsewhere", Err: fs.ErrNotExist}, false, true},
	} {
		err := explain("x.png", c.err)
		var damaged *DamagedImage
		if errors.As(err, &damaged) != c.damaged || strings.Contains(err.Error(), "not left out") != c.sound || !strings.HasPrefix(err.Error(), "x.png: ") || strings.Contains(err.Error(), "elsewhere") {
			t.Errorf("%v: %v", c.err, err)
		}
	}
	if err := explain("x.png", nil); err != nil {
		t.Error(err)
	}
}
