package foreign

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"prenas/internal/crash"
)

// ErrProgram: a program is not there, or fails.
var ErrProgram = errors.New("cannot run")

// Program is one that we start.
type Program struct {
	Name string // as in the search path; or python3, which is isolated
	Args []string
	Dir  string // folder to work in; empty: an empty one
	Log  func(string)
}

// tellOnce tells what is left out of PATH.
var tellOnce sync.Once

// patience with a program that was told to end and whose own children still hold its output.
const patience = 5 * time.Second

// Run runs a program and returns its standard output. An error ends with the last line of
// what it said. The program ends with ctx, and when this process ends.
func Run(ctx context.Context, p Program) ([]byte, error) {
	path, dropped := searchPath()
	if len(dropped) > 0 && p.Log != nil {
		tellOnce.Do(func() { p.Log(fmt.Sprintf("PATH: left out %s; %v", list(dropped), ErrPlace)) })
	}
	file, err := find(p.Name, path)
	if err != nil {
		return nil, err
	}
	args := p.Args
	if p.Name == "python3" { // without the variables PYTHON..., the working folder and the user's own packages
		args = append([]string{"-I"}, args...)
	}
	c := exec.CommandContext(ctx, file, args...)
	c.Dir = p.Dir
	if c.Dir == "" {
		c.Dir = emptyFolder()
	}
	c.Env = append(environment(), "PATH="+strings.Join(path, string(os.PathListSeparator)), "PWD="+c.Dir)
	c.WaitDelay = patience
	endsWithUs(c)
	var out, said bytes.Buffer
	c.Stdout, c.Stderr = &out, &said
	done := make(chan error)
	crash.Go(func() {
		// On Linux the child ends with the thread that started it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		done <- c.Run()
	})
	if err := <-done; err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%w %s: %w%s", ErrProgram, file, err, lastLine(said.Bytes(), out.Bytes()))
	}
	return out.Bytes(), nil
}

// searchPath is PATH without what is relative or in the working folder, and what was left out.
func searchPath() (safe, dropped []string) {
	safe, dropped = split(os.Getenv("PATH"))
	if len(safe) == 0 && runtime.GOOS != "windows" {
		safe = []string{"/usr/local/bin", "/usr/bin", "/bin"}
	}
	return safe, dropped
}

// find finds a program in folders.
func find(name string, folders []string) (string, error) {
	for _, dir := range folders {
		file, err := exec.LookPath(filepath.Join(dir, name)) // of a path, so it is not searched for
		if err == nil && outside(file) {
			return file, nil
		}
	}
	return "", fmt.Errorf("%w %s: there is none in PATH", ErrProgram, name)
}

// passed are the environment variables that programs get: who the user is, and the way to
// the network and to packages.
var passed = strings.Fields(`
	HOME USER LOGNAME LANG LC_ALL LC_CTYPE TZ
	http_proxy https_proxy ftp_proxy all_proxy no_proxy HTTP_PROXY HTTPS_PROXY FTP_PROXY ALL_PROXY NO_PROXY
	PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST PIP_NO_INDEX PIP_PROXY PIP_TIMEOUT PIP_DEFAULT_TIMEOUT PIP_RETRIES PIP_KEYRING_PROVIDER
	SystemRoot USERPROFILE APPDATA LOCALAPPDATA`)

// passedPaths are those that are paths, or addresses, and are passed if they are absolute.
var passedPaths = strings.Fields(`
	TMPDIR TEMP TMP XDG_CACHE_HOME XDG_CONFIG_HOME XDG_DATA_HOME NETRC
	SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE
	PIP_CONFIG_FILE PIP_CERT PIP_CLIENT_CERT PIP_CACHE_DIR PIP_FIND_LINKS`)

func environment() []string {
	var env []string
	for _, name := range passed {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	for _, name := range passedPaths {
		value := os.Getenv(name)
		relative := func(path string) bool { return !filepath.IsAbs(path) && !strings.Contains(path, "://") }
		if list := strings.Fields(value); len(list) > 0 && !slices.ContainsFunc(list, relative) {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// emptyFolder is a folder of ours with nothing in it; where there can be none it is the
// root of the file system, into which no stranger writes.
func emptyFolder() string {
	root := filepath.VolumeName(os.TempDir()) + string(filepath.Separator)
	cache, err := os.UserCacheDir()
	if err != nil {
		return root
	}
	dir := filepath.Join(cache, "prenas", "empty")
	if os.MkdirAll(dir, 0o755) != nil {
		return root
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		return root
	}
	return dir
}

// lastLine of what a program said, as the end of an error.
func lastLine(said ...[]byte) string {
	for _, text := range said {
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		if last := lines[len(lines)-1]; last != "" {
			return ": " + last
		}
	}
	return ""
}
