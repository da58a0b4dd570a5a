package main

import (
	"bufio"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
)

//go:embed peer.py
var peerProgram string

// side is a process that takes turns.
type side struct {
	name    string
	version string
	packed  bool
	command *exec.Cmd
	in      *json.Encoder
	out     *json.Decoder
	close   func() error
}

func start(name, program string, args ...string) (*side, error) {
	c := exec.Command(program, args...)
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	s := &side{name: name, command: c, in: json.NewEncoder(in), out: json.NewDecoder(bufio.NewReader(out)), close: in.Close}
	if err := s.out.Decode(&s.version); err != nil {
		return nil, fmt.Errorf("%s does not start: %w", name, err)
	}
	return s, nil
}

func startPeer(python string) (*side, error) {
	s, err := start("torchvision", python, "-c", peerProgram)
	if err != nil {
		return nil, fmt.Errorf("--python %s: %w: pip install -r bench/data/requirements.txt", python, err)
	}
	fmt.Println("peer:", s.version)
	return s, nil
}

func (s *side) turn(w work) (t turn, err error) {
	w.Packed = s.packed
	if err := s.in.Encode(w); err != nil {
		return t, fmt.Errorf("%s: %w", s.name, err)
	}
	if err := s.out.Decode(&t); err != nil {
		return t, fmt.Errorf("%s: %w", s.name, err)
	}
	return t, nil
}

func (s *side) stop() {
	if s.close() == nil {
		_ = s.command.Wait() // it has said all it had to say
	}
}
