package foreign

import (
	"os/exec"
	"syscall"
)

// endsWithUs makes a child the head of a group of its own, which ends with its context,
// and has the system end the child if this process is killed.
func endsWithUs(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
}

func replace(program string, args, env []string) error { return syscall.Exec(program, args, env) }
