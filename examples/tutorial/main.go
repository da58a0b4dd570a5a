// Command tutorial runs docs/tutorial.md: it makes the folder of photographs that the page begins
// with, runs the commands of the page in their order, and fails where one fails or prints lines of
// another form than the page shows. So the page cannot say what prenas does not do.
//
//	go run ./examples/tutorial -small          one epoch of few images: that the page is right
//	go run ./examples/tutorial -write          all of it, and writes what was printed, and the pictures,
//	                                           into the page; the times in its prose are by hand
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"prenas/examples/internal/experiment"
)

func main() {
	var t tutorial
	flag.StringVar(&t.page, "page", "docs/tutorial.md", "the page, from the root of the repository, where this is run")
	flag.StringVar(&t.out, "out", "tutorial", "folder to work in, which is made")
	flag.BoolVar(&t.small, "small", false, "few images, and one epoch of each training")
	flag.BoolVar(&t.write, "write", false, "write what the commands print into the page")
	experiment.Main("tutorial", func(ctx context.Context) error { return t.run(ctx) })
}

type tutorial struct {
	page, out    string
	small, write bool
}

func (t tutorial) run(ctx context.Context) (err error) {
	if t.small && t.write {
		return errors.New("-small prints what no reader of the page would get: leave out -write")
	}
	if t.out, err = filepath.Abs(t.out); err != nil {
		return err
	}
	text, err := os.ReadFile(t.page)
	if err != nil {
		return err
	}
	page := parse(string(text))
	bin := filepath.Join(t.out, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	if text, err := exec.CommandContext(ctx, "go", "build", "-o", bin, "./cmd/prenas").CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w: %s", err, text)
	}
	train, test := 36, 12
	if t.small {
		train, test = 6, 3
	}
	if err := photos(ctx, filepath.Join(t.out, "photos"), train, test); err != nil {
		return err
	}
	env := append(os.Environ(), "PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH"), "COLUMNS=80")
	var servers []*exec.Cmd
	defer func() {
		for _, s := range servers {
			_ = s.Process.Signal(syscall.SIGINT)
			_ = s.Wait()
		}
	}()
	for _, c := range page.commands() {
		line := c.line
		if t.small && strings.HasPrefix(line, "prenas train ") {
			line += " --epochs 1" // the last one counts
		}
		line, background := strings.CutSuffix(line, " &")
		fmt.Fprintf(os.Stderr, "$ %s\n", line)
		var printed bytes.Buffer
		run := exec.CommandContext(ctx, "bash", "-c", "exec "+line)
		run.Dir, run.Env, run.Stdout, run.Stderr = t.out, env, &printed, os.Stderr
		if background {
			run.Stdout = os.Stderr
			if err := run.Start(); err != nil {
				return err
			}
			servers = append(servers, run)
			continue
		}
		began := time.Now()
		if err := run.Run(); err != nil {
			return fmt.Errorf("%s: %w", line, err)
		}
		fmt.Fprintf(os.Stderr, "%s(%.0f s)\n", &printed, time.Since(began).Seconds())
		text := strings.ReplaceAll(printed.String(), t.out+string(filepath.Separator), "")
		if t.write {
			c.printed = nil
			for _, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
				if !strings.HasPrefix(c.line, "prenas ") {
					c.printed = append(c.printed, cut(line)...)
					continue
				}
				c.printed = append(c.printed, line)
			}
			continue
		}
		if !strings.HasPrefix(c.line, "prenas ") || t.small && strings.HasPrefix(c.line, "prenas train ") {
			continue // how a training ends hangs on its length
		}
		var classes []string
		for _, p := range photographs {
			classes = append(classes, p.class)
		}
		if missing := c.missing(text, classes); len(missing) > 0 {
			return fmt.Errorf("%s: after `%s` the page shows lines that are not of the form of any that was printed:\n%s\nprinted was:\n%s\n-write writes the page anew", t.page, c.line, strings.Join(missing, "\n"), &printed)
		}
	}
	if !t.write {
		return nil
	}
	if err := t.pictures(ctx); err != nil {
		return err
	}
	return os.WriteFile(t.page, []byte(page.String()), 0o644)
}
