// Package augment turns decoded images into the numbers a model takes.
//
//	train   crop ─► mirror ─► policy or colour jitter ─► normalise ─► erase
//	        (each draw from the random stream that the caller opened for the image)
//	test    resize ─► 1, 5 or 10 crops ─► normalise
//
// It works on 8-bit interleaved pixels, grey or RGB. Pixels are the same as
// those of the libraries that published recipes were run with: resizing and
// every operation of a policy give PIL's bytes, draws have torchvision's and
// timm's distributions. Tests compare with the real PIL.
//
// All functions leave the pixels they are given as they are, since those may be
// a source's own memory.
package augment
