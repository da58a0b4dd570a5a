// Package schema is the part of the ONNX file format that prenas writes, compiled from
// onnx.proto. "go generate" needs protoc and protoc-gen-go (v1.36.10).
package schema

//go:generate protoc --go_out=. --go_opt=paths=source_relative onnx.proto
