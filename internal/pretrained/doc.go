// Package pretrained reads models that other training codes saved, vision transformers and
// convolutional networks of inverted residual blocks, as models of ours: weights by the supernet's names, and what the model is.
//
//	file ─ ReadAny ─► tensors by their paths ─ root ─► those of one model, by plain names
//	     ─ rename (timm's names) ─ fold ─► space.Model, space.Arch, weights
//
// Families differ in names alone (see families); what a network has is told by which names
// are there and by their shapes. Layer scales are multiplied into the weights before them,
// queries, keys and values are joined, and tokens without a position get one of zero: the
// logits stay the same. What cannot be folded is a key of the model ([space.Variant]).
//
// Nothing is guessed in silence. What the file does not say, and config.json beside it
// neither, is taken from Hints, else told in a note; what makes a difference and has no
// usual value is asked for. A file that has more than the model can is refused, with every
// feature that is missing.
package pretrained
