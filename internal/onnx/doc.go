// Package onnx writes exported models as ONNX files, of opset 23 where a block's
// attention is one node, else of opset 20.
//
//	export.Model ─ Write ─► model.onnx    images [batch, C, H, W] ─► logits [batch, classes]
//
// The batch is dynamic. LayerNormalization and Gelu are single operators; class token,
// absolute positions and all that relative positions know of the grid are constants;
// batch norms are folded into convolutions.
// The model's description is in the file's metadata under export.MetadataKey, so a
// reader knows preprocessing and classes. The package promises the logits of the model
// to 1e-4 (onnxruntime is held to it by a test), in float16 to 1e-2, and with Int8, whose
// products are of bytes, nearly always the same class.
package onnx
