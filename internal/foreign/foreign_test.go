//go:build unix

package foreign

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain is also a process that starts a program and is killed meanwhile.
func TestMain(m *testing.M) {
	if pidFile := os.Getenv("PRENAS_TEST_SLEEPER"); pidFile != "" {
		_, err := Run(context.Background(), Program{Name: "sh", Args: []string{"-c", "echo $$ > '" + pidFile + "'; exec sleep 1000"}})
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// program puts a script into a folder.
func program(t *testing.T, dir, name, script string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o755)); err != nil {
		t.Fatal(err)
	}
}

func TestProgramsKnowLittle(t *testing.T) {
	bin, cache := t.TempDir(), t.TempDir()
	program(t, bin, "python3", "echo arguments \"$@\"; pwd; env")
	t.Setenv("PATH", bin+":/usr/bin:/bin:.")
	t.Setenv("XDG_CACHE_HOME", cache)
	for _, name := range []string{"PYTHONPATH", "PYTHONSTARTUP", "PIP_TARGET", "PIP_REQUIRE_VIRTUALENV", "LD_PRELOAD_X", "APT_CONFIG", "BASH_ENV"} {
		t.Setenv(name, "surprise")
	}
	t.Setenv("PIP_CERT", "relative/surprise")
	t.Setenv("PIP_FIND_LINKS", "/absolute ./surprise")
	t.Setenv("PIP_INDEX_URL", "https://index.example/simple")
	t.Setenv("https_proxy", "http://proxy.example")
	out, err := Run(t.Context(), Program{Name: "python3", Args: []string{"-c", "x"}})
	if err != nil {
		t.Fatal(err)
	}
	text := string(out)
	if strings.Contains(text, "surprise") {
		t.Errorf("it knows too much:\n%s", text)
	}
	for _, want := range []string{
		"arguments -I -c x\n", filepath.Join(cache, "prenas", "empty") + "\n", "HOME=" + os.Getenv("HOME") + "\n",
		"PIP_INDEX_URL=https://index.example/simple\n", "https_proxy=http://proxy.example\n", "PATH=" + bin + ":/usr/bin:/bin\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestProgramsComeFromElsewhere(t *testing.T) {
	working, other := t.TempDir(), t.TempDir()
	t.Chdir(working)
	for _, dir := range []string{working, filepath.Join(working, "bin"), filepath.Join(working, "venv", "bin")} {
		program(t, dir, "tool", "echo evil")
	}
	if err := os.Symlink(filepath.Join(working, "bin"), filepath.Join(other, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(working, "tool"), filepath.Join(other, "tool")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"", ".", "bin", ":", working, filepath.Join(working, "venv", "bin"), filepath.Join(other, "link"), other, "../" + filepath.Base(other)} {
		t.Setenv("PATH", path)
		if out, err := Run(t.Context(), Program{Name: "tool"}); !errors.Is(err, ErrProgram) {
			t.Errorf("PATH=%s: %s, %v", path, out, err)
		}
	}
	good := filepath.Join(other, "good")
	program(t, good, "tool", "echo good")
	t.Setenv("PATH", ".:"+working+":"+other+":"+good)
	if out, err := Run(t.Context(), Program{Name: "tool"}); err != nil || string(out) != "good\n" {
		t.Errorf("%s, %v", out, err)
	}
}

func TestLibrariesComeFromElsewhere(t *testing.T) {
	working, other := t.TempDir(), t.TempDir()
	t.Chdir(working)
	for _, name := range libraryPaths {
		t.Setenv(name, "")
	}
	evil, good := filepath.Join(working, "evil.so"), filepath.Join(other, "good.so")
	for _, path := range []string{evil, good} {
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(other, "link.so")
	if err := os.Symlink(evil, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"evil.so", "./evil.so", evil, link, filepath.Join(other, "..", filepath.Base(working), "evil.so")} {
		if err := Library(path); !errors.Is(err, ErrPlace) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := Library(other); err == nil {
		t.Error("a folder is no library")
	}
	if err := Library(filepath.Join(other, "none.so")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if err := Library(good); err != nil {
		t.Error(err)
	}
	for _, value := range []string{":/usr/lib", ".", "lib", working, "/usr/lib:"} {
		t.Setenv("LD_LIBRARY_PATH", value)
		if err := Library(good); !errors.Is(err, ErrPlace) {
			t.Errorf("LD_LIBRARY_PATH=%s: %v", value, err)
		}
	}
	t.Setenv("LD_LIBRARY_PATH", "/usr/lib:"+other)
	if err := Library(good); err != nil {
		t.Error(err)
	}
}

// At home, and above it, is what one installed for oneself.
func TestWhoWorksAtHome(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	for _, name := range libraryPaths {
		t.Setenv(name, "")
	}
	t.Chdir(home)
	program(t, filepath.Join(home, ".local", "bin"), "tool", "echo good")
	program(t, home, "tool", "echo evil")
	t.Setenv("PATH", home+":"+filepath.Join(home, ".local", "bin"))
	if out, err := Run(t.Context(), Program{Name: "tool"}); err != nil || string(out) != "good\n" {
		t.Errorf("%s, %v", out, err)
	}
	if err := Library(filepath.Join(home, "tool")); !errors.Is(err, ErrPlace) {
		t.Error(err)
	}
	if err := Library(filepath.Join(home, ".local", "bin", "tool")); err != nil {
		t.Error(err)
	}
}

func runs(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(text), ") Z ")
}

func ends(t *testing.T, pid int) {
	t.Helper()
	for began := time.Now(); runs(pid); time.Sleep(time.Millisecond) {
		if time.Since(began) > time.Minute {
			t.Fatalf("process %d runs on", pid)
		}
	}
}

// readPID waits for a number in a file.
func readPID(t *testing.T, path string) int {
	t.Helper()
	for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(time.Millisecond) {
		var pid int
		if text, err := os.ReadFile(path); err == nil && strings.HasSuffix(string(text), "\n") {
			if _, err := fmt.Sscan(string(text), &pid); err == nil {
				return pid
			}
		}
	}
	t.Fatal("no process was started")
	return 0
}

func TestProgramsEndWithTheirContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		// The child of a child has the output, and would be waited for.
		_, err := Run(ctx, Program{Name: "sh", Args: []string{"-c", "sh -c 'echo $$ > " + path + "; sleep 1000' ; true"}})
		done <- err
	}()
	pid := readPID(t, path)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	ends(t, pid)
}

func TestProgramsEndWithUs(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("only Linux ends the children of a killed process")
	}
	path := filepath.Join(t.TempDir(), "pid")
	us := exec.Command(os.Args[0])
	us.Env = append(os.Environ(), "PRENAS_TEST_SLEEPER="+path)
	if err := us.Start(); err != nil {
		t.Fatal(err)
	}
	pid := readPID(t, path)
	if err := us.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = us.Wait()
	ends(t, pid)
}

func TestPythonsPackagesAreNotThoseOfTheWorkingFolder(t *testing.T) {
	working := t.TempDir()
	t.Chdir(working)
	bin := t.TempDir()
	program(t, bin, "python3", `echo '["", "relative", "`+working+`", "`+working+`/lib", "/usr/lib/python3"]'`)
	t.Setenv("PATH", bin+":/usr/bin:/bin")
	var told []string
	folders, err := PythonPackages(t.Context(), func(s string) { told = append(told, s) })
	if err != nil || !slices.Equal(folders, []string{"/usr/lib/python3"}) || len(told) != 2 {
		t.Errorf("%q, %v, told %q", folders, err, told)
	}
}
