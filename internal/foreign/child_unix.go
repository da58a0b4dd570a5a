//go:build unix && !linux

package foreign

import (
	"os/exec"
	"syscall"
)

// endsWithUs makes a child the head of a group of its own, which ends with its context.
func endsWithUs(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
}

func replace(program string, args, env []string) error { return syscall.Exec(program, args, env) }
