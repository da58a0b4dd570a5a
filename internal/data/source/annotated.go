package source

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"path/filepath"
	"strings"

	"prenas/internal/data"
	"prenas/internal/fsys"
	"prenas/internal/plaintext"
	"prenas/internal/printable"
)

// annotated collects the images of a data set whose annotations name each file. That a
// file is there is found out when it is read.
type annotated struct {
	root   string
	splits [data.SplitCount]folder
	digest hash.Hash
}

func newAnnotated(root string) *annotated { return &annotated{root: root, digest: sha256.New()} }

// add adds an image by its slashed path below the root. Annotations come from elsewhere: a
// path that leads out of the root is refused.
func (a *annotated) add(split int, name string, label int) error {
	local := filepath.FromSlash(name)
	if !filepath.IsLocal(local) {
		return fmt.Errorf("%w: the image %q is not below %s", data.ErrFormat, name, a.root)
	}
	fmt.Fprintf(a.digest, "%d\x00%s\x00%d\x00", split, name, label)
	a.splits[split].files = append(a.splits[split].files, folderFile{path: filepath.Join(a.root, local), name: local, label: label})
	return nil
}

// dataset checks the labels against the classes.
func (a *annotated) dataset(classes []string) (*data.Dataset, error) {
	d := &data.Dataset{Channels: 3, Classes: classes, Digest: hex.EncodeToString(a.digest.Sum(nil))}
	for _, split := range a.splits {
		for _, file := range split.files {
			if file.label < 0 || file.label >= len(classes) {
				return nil, fmt.Errorf("%s: %w: %s has label %d of %s", a.root, data.ErrFormat, file.name, file.label, printable.Count(len(classes), "class"))
			}
		}
	}
	d.SetSplits([data.SplitCount]data.Split{data.FromFiles(a.splits[data.TrainSplit]), data.FromFiles(a.splits[data.ValSplit]), data.FromFiles(a.splits[data.TestSplit])})
	return d, nil
}

// eachLine calls do with the words of each line of a file that has any and is no comment
// (#). Its errors name the file and the line.
func eachLine(path string, do func(words []string) error) error {
	file, err := fsys.OpenRegular(path)
	if err != nil {
		return err
	}
	defer file.Close()
	lines := bufio.NewScanner(plaintext.Reader(file))
	for number := 1; lines.Scan(); number++ {
		words := strings.Fields(lines.Text())
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		if err := do(words); err != nil {
			return fmt.Errorf("%s:%d: %w", path, number, err)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
