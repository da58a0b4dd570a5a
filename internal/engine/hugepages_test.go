package engine

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestMain lets the test binary stand in for the program: a child that is
// asked to print its tunables calls Reexec first, as main does.
func TestMain(m *testing.M) {
	if os.Getenv("PRENAS_TEST_REEXEC") != "" {
		Reexec()
		os.Stdout.WriteString(os.Getenv(tunablesEnv))
		return
	}
	os.Exit(m.Run())
}

func TestReexec(t *testing.T) {
	if !glibcOffersHugePages() {
		t.Skip("this C library has no huge pages for malloc")
	}
	child := func(env ...string) string {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append([]string{"PRENAS_TEST_REEXEC=1", "PATH=" + os.Getenv("PATH")}, env...)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	if got := child(); got != tunables {
		t.Errorf("tunables of the second process: %q", got)
	}
	if got := child("GLIBC_TUNABLES=glibc.malloc.check=0"); got != "glibc.malloc.check=0:"+tunables {
		t.Errorf("the user's tunables are not kept: %q", got)
	}
	if got := child("GLIBC_TUNABLES=glibc.malloc.hugetlb=0"); got != "glibc.malloc.hugetlb=0" {
		t.Errorf("the user's own setting is not respected: %q", got)
	}
	if got := child(NoReexecEnv + "=1"); strings.Contains(got, "hugetlb") {
		t.Errorf("%s does not hold it back: %q", NoReexecEnv, got)
	}
}
