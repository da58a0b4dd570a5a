package rundir

import (
	"io"
	"path/filepath"

	"prenas/internal/fsys"
)

// TeacherCopy is where a run keeps the model of a file that teaches it.
func TeacherCopy(run, file string) string { return filepath.Join(run, "teacher"+filepath.Ext(file)) }

// KeepTeacher copies the model of a file that teaches a run into it, whole or not at all.
func KeepTeacher(f fsys.FS, run, file string) error {
	source, err := f.Open(file)
	if err != nil {
		return err
	}
	defer source.Close()
	return fsys.WriteAtomic(f, TeacherCopy(run, file), func(w io.Writer) error {
		_, err := io.Copy(w, source)
		return err
	})
}
