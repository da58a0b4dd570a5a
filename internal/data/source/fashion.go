package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"prenas/internal/data"
	"prenas/internal/data/fetch"
	"prenas/internal/foreign"
	"prenas/internal/fsys"
	"prenas/internal/input"
)

// Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017): 60,000 and 10,000 grey
// images of 28x28 in ten classes.
var fashionClasses = []string{"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"}

// fashionSums are the SHA-256 of its files as published.
var fashionSums = map[string]string{
	"train-images-idx3-ubyte.gz": "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
	"train-labels-idx1-ubyte.gz": "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
	"t10k-images-idx3-ubyte.gz":  "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
	"t10k-labels-idx1-ubyte.gz":  "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
}

const (
	fashionPackage  = "dataset-fashion-mnist"
	fashionUpstream = "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/"
)

func openFashionMNIST(ctx context.Context, _ string, o Options) (*data.Dataset, error) {
	dir, err := FetchFashionMNIST(ctx, o)
	if err != nil {
		return nil, err
	}
	d, err := openIDX(ctx, dir, o)
	if err != nil {
		return nil, err
	}
	d.Classes = fashionClasses
	d.Mean, d.Std = []float32{0.2860}, []float32{0.3530}
	return d, nil
}

// FetchFashionMNIST returns the cache folder that holds the data set, verified,
// getting it first where it is not there: from Debian's package, else from the
// data set's own address.
func FetchFashionMNIST(ctx context.Context, o Options) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("%w: no cache folder: %w; set XDG_CACHE_HOME", data.ErrFetch, err)
	}
	dir := filepath.Join(cache, "prenas", "data", "fashion-mnist")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("%w: %w", data.ErrFetch, err)
	}
	unlock, err := fsys.Lock(ctx, filepath.Join(dir, "lock"))
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if err != nil {
		return "", fmt.Errorf("%w: %w", data.ErrFetch, err)
	}
	defer unlock()
	if verifyFashion(dir) == nil {
		return dir, nil
	}
	o.log("data: getting Fashion-MNIST (31 MB, once)")
	var failures []string
	for _, get := range []func(context.Context, string, Options) error{fashionFromDebian, fashionFromUpstream} {
		err := get(ctx, dir, o)
		if err == nil {
			err = verifyFashion(dir)
		}
		if err == nil {
			return dir, nil
		}
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		o.log("data: %v", err)
		failures = append(failures, err.Error())
	}
	return "", fmt.Errorf("%w Fashion-MNIST: %s; put its four .gz files into a folder and use %v idx:FOLDER", data.ErrFetch, strings.Join(failures, "; "), input.Data)
}

func verifyFashion(dir string) error {
	for name, want := range fashionSums {
		sum, err := fsys.Sum(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if sum != want {
			return fmt.Errorf("%s has SHA-256 %s, want %s", filepath.Join(dir, name), sum, want)
		}
	}
	return nil
}

// fashionFromDebian takes the package with apt and unpacks it, without root.
func fashionFromDebian(ctx context.Context, dir string, o Options) error {
	// The lock is held, so what is there was left by a process that was killed.
	left, err := filepath.Glob(filepath.Join(dir, "deb-*"))
	for _, folder := range left {
		err = errors.Join(err, os.RemoveAll(folder))
	}
	if err != nil {
		return err
	}
	temp, err := os.MkdirTemp(dir, "deb-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	command := func(name string, args ...string) error {
		_, err := foreign.Run(ctx, foreign.Program{Name: name, Args: args, Dir: temp, Log: o.Log})
		return err
	}
	// apt's own lists may be missing, and only root may write them: lists of our
	// own, in the temporary folder, serve everyone.
	if err := os.MkdirAll(filepath.Join(temp, "lists", "partial"), 0o755); err != nil {
		return err
	}
	own := []string{"-o", "Dir::State::Lists=" + filepath.Join(temp, "lists"), "-o", "APT::Sandbox::User=root", "-o", "Dir::Cache=" + temp}
	if command("apt-get", "download", fashionPackage) != nil {
		if err := command("apt-get", append([]string{"update"}, own...)...); err != nil {
			return err
		}
		if err := command("apt-get", append([]string{"download", fashionPackage}, own...)...); err != nil {
			return err
		}
	}
	packages, err := filepath.Glob(filepath.Join(temp, fashionPackage+"*.deb"))
	if err != nil || len(packages) != 1 {
		return fmt.Errorf("apt-get left %d packages", len(packages))
	}
	if err := command("dpkg-deb", "-x", packages[0], temp); err != nil {
		return err
	}
	for name := range fashionSums {
		from, err := fsys.OpenRegular(filepath.Join(temp, "usr", "share", "datasets", "fashion-mnist", name))
		if err != nil {
			return err
		}
		err = fsys.WriteAtomic(fsys.OS, filepath.Join(dir, name), func(w io.Writer) error { _, err := io.Copy(w, from); return err })
		from.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func fashionFromUpstream(ctx context.Context, dir string, o Options) error {
	return fashionFrom(ctx, fashionUpstream, dir, o)
}

// fashionFrom downloads the files from the address of their folder.
func fashionFrom(ctx context.Context, folder, dir string, o Options) error {
	m := fetch.NewMeter(o.watch())
	for name := range fashionSums {
		from := fetch.NewDownload(ctx, folder+name, fetch.Patience, m)
		err := fsys.WriteAtomic(fsys.OS, filepath.Join(dir, name), func(w io.Writer) error {
			_, err := io.Copy(w, io.LimitReader(from, maxIDX))
			return err
		})
		from.Close()
		if err != nil {
			return fmt.Errorf("%s%s: %w", folder, name, err)
		}
	}
	return nil
}
