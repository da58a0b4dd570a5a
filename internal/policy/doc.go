// Package policy holds the rules of this repository that no compiler checks, as tests:
// imports point one way, every package says what it promises, every file is formatted,
// and nothing names a path of somebody's machine.
//
// docs/architecture.md says why the rooms are laid out as they are; the table in
// rooms_test.go is the same in a form that cannot drift from the code.
package policy
