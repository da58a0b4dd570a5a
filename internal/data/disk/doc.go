// Package disk finds and reads files of images as disks and tools leave them: reads that the system
// fails for a moment are tried again, links lead where they lead, and what tools leave behind is no
// image.
package disk
