package engine

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"prenas/internal/fsys"
	"prenas/internal/strictjson"
	"prenas/internal/version"
)

// profile is what was measured of an engine on a machine, once: two starts of a command
// decide by the same numbers, whatever else the machine does meanwhile. It is a file of the
// cache folder, named by what it is of.
type profile struct {
	Format int       `json:"format"`
	Of     profiled  `json:"of"`
	Gain   float64   `json:"gain_of_bf16"` // times the speed of float32
	Time   time.Time `json:"time"`
	path   string
}

const profileFormat = 1

// profiled is what a profile is of. Where any of it differs there is another profile.
type profiled struct {
	Processor string            `json:"processor"` // its model
	Device    string            `json:"device"`    // as the engine describes it
	Devices   int               `json:"devices"`
	Engine    Fingerprint       `json:"engine"`
	Build     map[string]string `json:"build"`
}

func (p profiled) key() ([]byte, error) { return json.Marshal(p) }

func (e *Engine) profiled() (profiled, error) {
	engine, err := e.Fingerprint()
	if err != nil {
		return profiled{}, err
	}
	build := maps.Clone(Versions())
	if build["prenas"] == version.Unknown { // as go run builds it: what is the same program is known by its bytes
		self, err := os.Executable()
		if err == nil {
			build["executable"], err = fsys.Sum(self)
		}
		if err != nil {
			return profiled{}, fmt.Errorf("the program's own file: %w", err)
		}
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if strings.HasPrefix(s.Key, "vcs.") {
				build[s.Key] = s.Value
			}
		}
	}
	return profiled{Processor: processor(), Device: e.backend.Description(), Devices: e.devices, Engine: engine, Build: build}, nil
}

// processor is the model of this machine's, as Linux names it.
func processor() string {
	file, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	defer file.Close()
	wanted, found := []string{"vendor_id", "cpu family", "model", "model name", "stepping"}, []string{}
	for lines := bufio.NewScanner(file); lines.Scan() && lines.Text() != ""; { // of the first core
		if name, value, _ := strings.Cut(lines.Text(), ":"); slices.Contains(wanted, strings.TrimSpace(name)) {
			found = append(found, strings.TrimSpace(value))
		}
	}
	return strings.Join(append(found, runtime.GOARCH), ", ")
}

// errDamagedProfile: the file is not what was written.
var errDamagedProfile = errors.New("it is damaged")

// profile reads the profile of the engine on this machine, or measures one and keeps it.
// An error is that there can be none that two starts share.
func (e *Engine) profile(ctx context.Context, log func(string)) (profile, error) {
	of, err := e.profiled()
	if err != nil {
		return profile{}, err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return profile{}, err
	}
	key, err := of.key()
	if err != nil {
		return profile{}, err
	}
	sum := sha256.Sum256(key)
	dir := filepath.Join(cache, "prenas", "profiles")
	path := filepath.Join(dir, hex.EncodeToString(sum[:8])+".json")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return profile{}, err
	}
	unlock, err := fsys.Lock(ctx, path+".lock") // of several starts one measures
	if err != nil {
		return profile{}, err
	}
	defer unlock()
	p, err := readProfile(path, key)
	switch {
	case err == nil:
		return p, nil
	case errors.Is(err, errDamagedProfile):
		log(fmt.Sprintf("%s: %v; measuring anew", path, err))
	case !errors.Is(err, fs.ErrNotExist):
		return profile{}, err
	}
	log("measuring what bf16 gains on this machine, once")
	gain, err := e.gainOfBFloat16(ctx)
	if err != nil {
		return profile{}, fmt.Errorf("measure: %w", err)
	}
	p = profile{Format: profileFormat, Of: of, Gain: gain, Time: time.Now().UTC().Truncate(time.Second), path: path}
	return p, p.write()
}

func (p profile) write() error {
	text, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	return fsys.WriteAtomic(fsys.OS, p.path, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s\n%x\n", text, sum)
		return err
	})
}

// readProfile reads a profile of what key says. Behind its text is the SHA-256 of it.
func readProfile(path string, key []byte) (profile, error) {
	whole, err := fsys.ReadFile(fsys.OS, path)
	if err != nil {
		return profile{}, err
	}
	text, sum, _ := strings.Cut(string(whole), "\n}\n")
	text += "\n}"
	p := profile{path: path}
	if want := sha256.Sum256([]byte(text)); sum != hex.EncodeToString(want[:])+"\n" {
		return p, fmt.Errorf("%w: its checksum is wrong", errDamagedProfile)
	}
	if err := strictjson.Unmarshal([]byte(text), &p); err != nil {
		return p, fmt.Errorf("%w: %w", errDamagedProfile, err)
	}
	of, err := p.Of.key()
	if err != nil || string(of) != string(key) || p.Format != profileFormat || !(p.Gain > 0) || math.IsInf(p.Gain, 0) {
		return p, fmt.Errorf("%w: it is of something else", errDamagedProfile)
	}
	return p, nil
}
