//go:build linux && amd64

// Package faults runs a program and lets a chosen system call of it fail, or kills it
// there, or damages a file that it reads, and checks what comes of it. The program needs no hook: it is traced (ptrace), and a
// filter (seccomp) stops it at the calls that read or change files, and at no others.
//
//	Trace      one process with faults
//	Kind       what can go wrong at an operation
//	Command    a prenas command, what it begins with, and how a user goes on after a fault
//	Trial      one fault, the next attempts, and all that must hold after each
//	Campaign   many trials: points chosen, results kept, a table at the end
//
// Whoever traces must call BecomeTraced first in main: the traced process begins as a
// second process of the same executable, which sets the filter and becomes the program.
package faults
