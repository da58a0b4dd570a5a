// Package export takes single models out of a supernet and keeps them as files.
//
//	shared weights ─ Take(arch) ─► Model ─ Write ─► model.safetensors       tensors + Info
//	 (a slice each)                  ▲              model.safetensors.json  Info again, to read
//	                                 └─── Read ──── model.safetensors.md    model card
//
// A Model's tensors have timm's names and layouts, so that PyTorch takes them as they
// are (examples/pytorch); Weights gives them back in the supernet's form, for the same
// graph that trained them. What vision transformers and convolutional networks differ in
// is their part of the description (family.go); the latter have the statistics of their
// batch norms with their weights. The package promises: the logits of a model are those of
// the slice it was taken from, bit for bit; a model that was read is complete, of the
// shapes that its own description asks for, and unchanged since it was written.
package export
