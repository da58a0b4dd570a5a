//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"prenas/internal/ranks"
	"prenas/internal/ranks/rankstest"
)

// twoHosts are two network namespaces with a wire between them, each with a name of its own.
type twoHosts struct {
	*bench
	names [2]string // of the namespaces
}

// address of a host in the network of both.
func (twoHosts) address(host int) string { return fmt.Sprintf("10.77.0.%d", host+1) }

func newTwoHosts(t *testing.T) twoHosts {
	t.Helper()
	h := twoHosts{bench: newBench(t, rankstest.Find(t, "openmpi"))}
	if _, err := exec.LookPath("ip"); err != nil || os.Getuid() != 0 {
		t.Skip("two hosts are network namespaces, which want root and iproute2: what happens between hosts is not tested")
	}
	ip := func(args ...string) error {
		if text, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, text)
		}
		return nil
	}
	wire := func(host int) string { return fmt.Sprintf("pr%d%c", os.Getpid(), 'a'+host) }
	for host := range h.names {
		h.names[host] = fmt.Sprintf("prenas-%d-%d", os.Getpid(), host)
		if err := ip("netns", "add", h.names[host]); err != nil {
			t.Skip("no network namespaces here: what happens between hosts is not tested:", err)
		}
		t.Cleanup(func() { _ = ip("netns", "del", h.names[host]) })
	}
	commands := [][]string{{"link", "add", wire(0), "netns", h.names[0], "type", "veth", "peer", "name", wire(1), "netns", h.names[1]}}
	for host, name := range h.names {
		commands = append(commands, []string{"-n", name, "addr", "add", h.address(host) + "/24", "dev", wire(host)},
			[]string{"-n", name, "link", "set", wire(host), "up"}, []string{"-n", name, "link", "set", "lo", "up"})
	}
	for _, c := range commands {
		if err := ip(c...); err != nil {
			t.Skip("no network namespaces here: what happens between hosts is not tested:", err)
		}
	}
	// The launcher reaches the other host by this in place of ssh.
	agent := fmt.Sprintf("#!/bin/sh\nshift\nexec ip netns exec %s unshare --uts sh -c 'hostname second; exec sh -c \"$0\"' \"$*\"\n", h.names[1])
	if err := os.WriteFile(filepath.Join(h.dir, "agent"), []byte(agent), 0o755); err != nil {
		t.Fatal(err)
	}
	return h
}

// command is prenas on two ranks of each host, dealt out in turns.
func (h twoHosts) command(args ...string) *exec.Cmd {
	launch := []string{"netns", "exec", h.names[0], "unshare", "--uts", "sh", "-c", `hostname first; exec "$0" "$@"`,
		"mpirun.openmpi", "--host", h.address(0) + ":2," + h.address(1) + ":2", "-n", "4", "--map-by", "node", "--bind-to", "none",
		"--mca", "mpi_yield_when_idle", "1",
		"--mca", "plm_rsh_agent", filepath.Join(h.dir, "agent"), "--mca", "btl", "vader,tcp,self",
		"--mca", "btl_tcp_if_include", "10.77.0.0/24", "--mca", "oob_tcp_if_include", "10.77.0.0/24",
		// How soon the launcher itself misses a host; without these in eight minutes.
		"--mca", "oob_tcp_keepalive_time", "5", "--mca", "oob_tcp_keepalive_intvl", "2", "--mca", "oob_tcp_keepalive_probes", "2", "-x", ranks.WaitEnv, h.program}
	c := exec.Command("ip", append(launch, args...)...)
	c.Env = append(os.Environ(), "OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1", ranks.WaitEnv+"=1m")
	c.Dir = h.dir
	return c
}

// Two hosts make what one process makes; when the network between them goes, the launcher ends all, sooner than the ranks
// would by themselves, and one process goes on.
func TestTwoHosts(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	h := newTwoHosts(t)
	h.search("vit")
	h.write("recipe.yaml", "epochs: 60\nholdout: 0.25\neval_every: 0\nlog_every: 5\nsave_every: 7\nbatch: 3\naccumulate: 4\nkeep: 2\n")
	h.must(1, h.train("vit", "whole")...)
	if text, err := h.command(h.train("vit", "two")...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	h.same("whole", "two")

	c := h.command(h.train("vit", "cut")...)
	var said bytes.Buffer
	c.Stdout, c.Stderr = &said, &said
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); len(h.steps("cut")) == 0 && time.Since(began) < 2*time.Minute; {
		time.Sleep(5 * time.Millisecond)
	}
	if text, err := exec.Command("ip", "-n", h.names[1], "link", "set", fmt.Sprintf("pr%db", os.Getpid()), "down").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	select {
	case err := <-ended:
		if text := said.String(); err == nil || !strings.Contains(text, "lost communication") {
			t.Errorf("%v\n%s", err, text)
		}
	case <-time.After(2 * time.Minute):
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
		t.Fatalf("it did not end\n%s", said.String())
	}
	for _, rank := range []int{0, 1, 2, 3} {
		for began := time.Now(); h.findRank(h.launcher, rank, "cut") > 0; time.Sleep(50 * time.Millisecond) {
			if time.Since(began) > 2*time.Minute {
				t.Fatalf("rank %d lives on", rank)
			}
		}
	}
	h.must(1, "train", "--resume", "--out", "cut")
	h.same("whole", "cut")
}
