package engine

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// No bit of a profile changes, and no part of it is missing, unseen.
func TestDamagedProfilesAreSeen(t *testing.T) {
	p := profile{Format: profileFormat, Gain: 2.5, Of: profiled{Processor: "p"}, path: filepath.Join(t.TempDir(), "p.json")}
	key, err := p.Of.key()
	if err == nil {
		err = p.write()
	}
	if err != nil {
		t.Fatal(err)
	}
	if got, err := readProfile(p.path, key); err != nil || got.Gain != 2.5 {
		t.Fatal(got, err)
	}
	if _, err := readProfile(p.path, []byte("{}")); !errors.Is(err, errDamagedProfile) {
		t.Errorf("of something else: %v", err)
	}
	whole, err := os.ReadFile(p.path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		changed := append([]byte(nil), whole...)
		changed[i] ^= 1 << (i % 8)
		for _, text := range [][]byte{changed, whole[:i]} {
			if err := os.WriteFile(p.path, text, 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := readProfile(p.path, key); !errors.Is(err, errDamagedProfile) {
				t.Errorf("byte %d: %v", i, err)
			}
		}
	}
}
