// Package picture reads image files as 8-bit RGB, to the values that Pillow's convert("RGB")
// has, which is what models of the field are trained and used on:
//
//	Identify(head) ─► Kind        what a file is, by its first bytes
//	Config(text)   ─► size        from the header alone
//	Decode(text)   ─► image.Image of the first frame or page
//	RGB(image, part) ─► [H, W, 3] transparency dropped
//
// JPEG, PNG and GIF are decoded by Go's library, WebP by golang.org/x/image, with what
// these leave out or see otherwise than Pillow: limited range and animations of WebP,
// CMYK, frames of GIF that are smaller than the picture. TIFF, BMP and PNM are read
// here, as no kept library reads all their usual forms. What is known but not decoded is an error
// that says what it is and how it can be converted.
//
// Grey of 16 bits has its high byte, as colours of 16 bits have in Pillow; Pillow cuts it
// at 255 instead, which leaves nothing of most such images. Whole numbers of
// 32 bits and fractions are cut to 0 to 255, as Pillow does.
package picture
