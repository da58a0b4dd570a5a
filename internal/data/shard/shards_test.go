package shard

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"prenas/internal/data"
	"prenas/internal/data/datatest"
	"prenas/internal/data/fetch"
)

func TestBraces(t *testing.T) {
	for pattern, want := range map[string]string{
		"a":                 "a",
		"a-{08..10}.tar":    "a-08.tar a-09.tar a-10.tar",
		"a-{8..10}.tar":     "a-8.tar a-9.tar a-10.tar",
		"{a,b}{1..2}":       "a1 a2 b1 b2",
		"{a,}.tar":          "a.tar .tar",
		"{3..1}":            "error",
		"{0..99999999}":     "error",
		"{0..1048575}{a,b}": "error",
		"x{":                "error",
		"x}":                "error",
		"{a,{b,c}}":         "error",
		"{a..b}":            "error",
	} {
		got, err := expandBraces(pattern)
		if want == "error" {
			if !errors.Is(err, data.ErrPattern) {
				t.Errorf("%s: %q, %v, want ErrPattern", pattern, got, err)
			}
		} else if text := strings.Join(got, " "); err != nil || text != want {
			t.Errorf("%s: %q, %v", pattern, text, err)
		}
	}
}

func TestSplitOfAShard(t *testing.T) {
	for name, want := range map[string]int{
		"a/imagenet1k-train-0001.tar":      data.TrainSplit,
		"a/imagenet1k-validation-01.tar":   data.ValSplit,
		"a/val_000.tar":                    data.ValSplit,
		"data/test-00000-of-00001.parquet": data.TestSplit,
		"plain/test/0000.parquet":          data.TestSplit,
		"test/train-0.tar":                 data.TrainSplit,
		"val/train/00.tar":                 data.TrainSplit,
		"contest/latest0.tar":              data.TrainSplit,
		"x/Testing-0.tar":                  data.TestSplit,
		"x/flowersTest_3.tar":              data.TestSplit,
		"x/DEV.tar":                        data.ValSplit,
		"x/trn0.tar":                       data.TrainSplit,
	} {
		if got := newShard(shardFile{}, name); got.split != want || got.named == strings.Contains(name, "latest") {
			t.Errorf("%s is of split %d (%v), want %d", name, got.split, got.named, want)
		}
	}
}

func TestListShards(t *testing.T) {
	dir := t.TempDir()
	datatest.Write(t, dir, map[string][]byte{"b.tar": nil, "a.tar": nil, "deep/test/0.tar": nil, "c.txt": nil, "val-0.tgz": nil})
	for pattern, want := range map[string]string{
		"DIR":                   "a.tar b.tar deep/test/0.tar val-0.tgz",
		"DIR/{b,a}.tar":         "b.tar a.tar",
		"DIR/*.tar,DIR/val-*":   "a.tar b.tar val-0.tgz",
		"DIR/{b,a}.tar,DIR/c.*": "b.tar a.tar c.txt",
	} {
		shards, err := listShards(strings.ReplaceAll(pattern, "DIR", dir), TarEndings)
		var names []string
		for _, s := range shards {
			names = append(names, strings.TrimPrefix(s.at, dir+"/"))
		}
		if err != nil || !slices.Equal(names, strings.Fields(want)) {
			t.Errorf("%s: %q, %v", pattern, names, err)
		}
	}
	for _, bad := range []string{dir + "/deep/test/none", dir + "/*.zip", dir + "/missing.tar"} {
		if _, err := OpenTar(context.Background(), bad, fetch.Watch{}); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("%s: error %v does not name it", bad, err)
		}
	}
}

func FuzzBraces(f *testing.F) {
	f.Add("a-{000..127}.tar,b{c,d}")
	f.Fuzz(func(t *testing.T, text string) {
		names, err := expandBraces(text)
		if err == nil && (len(names) == 0 || len(names) > maxNames) {
			t.Errorf("%d names", len(names))
		}
	})
}

func TestAddressesTakeNoStar(t *testing.T) {
	if _, err := listShards("https://example.org/train-*.tar", TarEndings); !errors.Is(err, data.ErrPattern) {
		t.Errorf("error %v, want %v", err, data.ErrPattern)
	}
}
