// Package layout finds out which folders are splits and which are classes, by their names and by
// what they hold, on disk or in archives:
//
//	Find(tree, root, classes) ─► Layout   the folder of each split
//	SplitIn(name)             ─► the split that a name says
package layout
