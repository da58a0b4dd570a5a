package version

import (
	"runtime/debug"
	"testing"
)

func TestVersion(t *testing.T) {
	revision := []debug.BuildSetting{{Key: "vcs.revision", Value: "0123456789abcdef"}, {Key: "vcs.modified", Value: "true"}}
	for want, info := range map[string]debug.BuildInfo{
		"v1.2.3":             {Main: debug.Module{Path: "prenas", Version: "v1.2.3"}, Settings: revision},
		"0123456789ab+dirty": {Main: debug.Module{Path: "prenas", Version: "(devel)"}, Settings: revision},
		"0123456789ab":       {Settings: revision[:1]},
		Unknown:              {Main: debug.Module{Path: "prenas", Version: "(devel)"}},
		"v1.0.0":             {Main: debug.Module{Path: "other", Version: "v9.0.0"}, Deps: []*debug.Module{{Path: "prenas", Version: "v1.0.0"}}, Settings: revision},
	} {
		if got := of(&info); got != want {
			t.Errorf("%+v: %q, want %q", info, got, want)
		}
	}
	if got := String(); got == "" || got == "(devel)" {
		t.Errorf("this build's version is %q", got)
	}
}
