// Package datatest makes images, and files that hold them, for tests.
package datatest
