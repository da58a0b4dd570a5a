//go:build !systemmalloc

package main

import _ "prenas/pkg/prenas/pool" // as the program prenas has it; bench/allocators measures without
