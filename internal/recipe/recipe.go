// Package recipe says how a supernet is trained: the configuration in a recipe file, the course
// of the learning rate, and which architectures each update trains. It computes nothing.
package recipe

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"prenas/internal/augment"
	"prenas/internal/fsys"
	"prenas/internal/input"
	"prenas/internal/mistaken"
	"prenas/internal/nearest"
	"prenas/internal/printable"
	"prenas/pkg/space"
)

// ErrInvalid: a recipe has an unknown key or a value out of range.
var ErrInvalid = errors.New("bad recipe")

// Recipe says how to train: everything that changes the resulting weights, except
// the space, the candidates, the images and the seed. What a recipe file leaves out
// keeps the value of [Default]. The tags are the file's keys and limits.
type Recipe struct {
	Epochs     int        `yaml:"epochs" json:"epochs" range:"[1,100000]"`
	Batch      int        `yaml:"batch" json:"batch" range:"[1,65536]"`                 // images of one program run
	Accumulate int        `yaml:"accumulate" json:"accumulate" range:"[1,4096]"`        // batches of one update
	Holdout    float64    `yaml:"holdout" json:"holdout" range:"[0,0.9]"`               // part of the training images kept for choosing
	EvalEvery  int        `yaml:"eval_every" json:"eval_every" range:"[0,100000]"`      // epochs between evaluations on the held-out part; 0: only after the last
	LogEvery   int        `yaml:"log_every" json:"log_every" range:"[1,1000000]"`       // updates between metrics lines
	SaveEvery  int        `yaml:"save_every" json:"save_every" range:"[0,1e9]"`         // updates between checkpoints; 0: at each epoch's end
	Keep       int        `yaml:"keep" json:"keep" range:"[1,1000]"`                    // newest checkpoints kept beside the best one
	Precision  string     `yaml:"precision" json:"precision" oneof:"float32 bf16 auto"` // of products, in updates and in the evaluations between them; auto: the faster one
	Optimizer  Optimizer  `yaml:"optimizer" json:"optimizer"`
	Schedule   Schedule   `yaml:"schedule" json:"schedule"`
	Loss       Loss       `yaml:"loss" json:"loss"`
	Mix        Mix        `yaml:"mix" json:"mix"`
	Augment    Augment    `yaml:"augment" json:"augment"`
	Regularize Regularize `yaml:"regularize" json:"regularize"`
	Sampler    Sampler    `yaml:"sampler" json:"sampler"`
	Distill    Distill    `yaml:"distill,omitempty" json:"distill,omitzero"`
	EMA        EMA        `yaml:"ema" json:"ema,omitzero"`

	// Suit fits batch, epochs, learning rate and more to the number of images: see Suited. A
	// run keeps what came of it.
	Suit bool `yaml:"suit" json:"suit,omitempty"`
	// FillLast fills the last update of an epoch up with the epoch's first images, seen
	// anew, so that none is left out; else what is left over waits for another epoch.
	FillLast bool `yaml:"fill_last" json:"fill_last,omitempty"`
	// Stratify holds out the same part of each class.
	Stratify bool `yaml:"stratify" json:"stratify,omitempty"`
	// Patience is how many epochs may pass in which neither accuracy nor loss on the held-out
	// images gets better; then training stops. 0: it never does.
	Patience int `yaml:"patience" json:"patience,omitempty" range:"[0,100000]"`
	// BalanceClasses shows each class equally often: images of small ones several times an
	// epoch, of large ones not all.
	BalanceClasses bool `yaml:"balance_classes" json:"balance_classes,omitempty"`
	// ClassWeights weigh the loss by class: see WeightsOf. Empty: all classes alike.
	ClassWeights string `yaml:"class_weights,omitempty" json:"class_weights,omitzero" oneof:"balanced"`

	// Damaged images are left out, and listed in the run directory, instead of ending
	// the run: in training the epoch's next sound one stands in.
	SkipBadImages bool `yaml:"skip_bad_images" json:"skip_bad_images,omitempty"`

	// After three updates in a row that are not finite, training goes back to its newest
	// checkpoint with half the learning rate, at most maxRollBacks times, instead of
	// stopping.
	RollBack bool `yaml:"roll_back" json:"roll_back,omitempty"`
}

// Optimizer turns gradients into updates.
type Optimizer struct {
	Name  string  `yaml:"name" json:"name" oneof:"adamw lamb sgd"`
	LR    float64 `yaml:"lr" json:"lr" range:"(0,100]"`             // peak learning rate
	PerLR int     `yaml:"lr_batch" json:"lr_batch" range:"[0,1e6]"` // 0: lr as it stands; else lr is for this many images an update and grows with them
	Decay float64 `yaml:"decay" json:"decay" range:"[0,10]"`        // weight decay: decoupled in adamw and lamb, part of the gradient in sgd
	Beta1 float64 `yaml:"beta1" json:"beta1" range:"[0,1)"`         // of the mean of gradients in adamw and lamb
	Beta2 float64 `yaml:"beta2" json:"beta2" range:"[0,1)"`         // of the mean of their squares
	Eps   float64 `yaml:"eps" json:"eps" range:"(0,1]"`             // least size to divide by, in adamw and lamb

	// Keys that are younger than the first runs are left out of a recipe's JSON while
	// they are off, so that the digest of such a run stays what it was.
	Momentum float64 `yaml:"momentum" json:"momentum,omitempty" range:"[0,1)"` // of sgd
	Nesterov bool    `yaml:"nesterov" json:"nesterov,omitempty"`               // sgd looks one momentum step ahead
	Clip     float64 `yaml:"clip" json:"clip,omitempty" range:"[0,1e6]"`       // longest gradient, as the L2 norm over all tensors; 0: any

	// LayerDecay is what each layer further from the head leaves of the learning rate, so
	// that what is trained already moves the less the more general it is; 1: all the same.
	LayerDecay float64 `yaml:"layer_decay" json:"layer_decay,omitempty" range:"[0,1]"` // 0: as 1
	Freeze     bool    `yaml:"freeze" json:"freeze,omitempty"`                         // only the head trains

	// ScaleParameter multiplies the learning rate of each tensor by the root mean square of its
	// weights, so that tensors of any size change by the same part of themselves. It is Adafactor's
	// option of this name (Shazeer and Stern, ICML 2018).
	ScaleParameter bool `yaml:"scale_parameter" json:"scale_parameter,omitempty"`
}

// Optimizers of a recipe.
const (
	AdamW = "adamw"
	LAMB  = "lamb"
	SGD   = "sgd"
)

// Schedule is the learning rate's course; fractions of an epoch are allowed.
type Schedule struct {
	Name     string  `yaml:"name" json:"name" oneof:"cosine step constant"`
	Warmup   float64 `yaml:"warmup" json:"warmup" range:"[0,100000]"`    // epochs of linear growth
	WarmupLR float64 `yaml:"warmup_lr" json:"warmup_lr" range:"[0,100]"` // where the growth starts
	MinLR    float64 `yaml:"min_lr" json:"min_lr" range:"[0,100]"`       // where the descent ends

	StepEpochs float64 `yaml:"step_epochs" json:"step_epochs,omitempty" range:"[0,100000]"` // epochs between the falls of step
	StepFactor float64 `yaml:"step_factor" json:"step_factor,omitempty" range:"[0,1]"`      // what each fall leaves of the rate
	Cooldown   float64 `yaml:"cooldown" json:"cooldown,omitempty" range:"[0,100000]"`       // last epochs, in which the rate falls linearly to min_lr
}

// EMA keeps an exponential moving average of each weight, over the updates the weight
// took part in. It is what is evaluated, exported and chosen by, where it is on.
type EMA struct {
	Decay float64 `yaml:"decay" json:"decay" range:"[0,1)"` // what an update leaves of the average; 0: off
}

// Loss is the cross entropy with soft targets.
type Loss struct {
	Smoothing float64 `yaml:"smoothing" json:"smoothing" range:"[0,1)"`
}

// Mix joins pairs of images of a batch; the partner of image i is image N-1-i.
type Mix struct {
	Mixup  float64 `yaml:"mixup" json:"mixup" range:"[0,100]"`   // alpha of the Beta distribution; 0: off
	Cutmix float64 `yaml:"cutmix" json:"cutmix" range:"[0,100]"` // alpha; 0: off
	Prob   float64 `yaml:"prob" json:"prob" range:"[0,1]"`       // of mixing at all
	Switch float64 `yaml:"switch" json:"switch" range:"[0,1]"`   // of cutmix where both are on
	Mode   string  `yaml:"mode" json:"mode" oneof:"batch pair elem"`
}

// Augment is what happens to each training image before it is batched, in the
// order of the keys. Their names are those of the original's flags.
type Augment struct {
	Crop          string     `yaml:"crop" json:"crop" oneof:"none pad resized"`
	Pad           int        `yaml:"pad" json:"pad" range:"[0,64]"`                                      // pixels around the image with crop: pad
	Scale         [2]float64 `yaml:"scale" json:"scale" range:"(0,1]"`                                   // part of the area with crop: resized
	Ratio         [2]float64 `yaml:"ratio" json:"ratio" range:"[0.01,100]"`                              // width/height with crop: resized
	Interpolation string     `yaml:"interpolation" json:"interpolation" oneof:"bicubic bilinear random"` // of training images
	HFlip         float64    `yaml:"hflip" json:"hflip" range:"[0,1]"`                                   // probability of a mirror image
	VFlip         float64    `yaml:"vflip" json:"vflip" range:"[0,1]"`                                   // of one upside down
	AA            string     `yaml:"aa" json:"aa"`                                                       // policy in timm's notation; empty: none
	ColorJitter   float64    `yaml:"color_jitter" json:"color_jitter" range:"[0,10]"`                    // strength; only where aa is empty
	Reprob        float64    `yaml:"reprob" json:"reprob" range:"[0,1]"`                                 // probability of random erasing
	Remode        string     `yaml:"remode" json:"remode" oneof:"const rand pixel"`
	Recount       int        `yaml:"recount" json:"recount" range:"[1,100]"`           // most boxes to erase
	RepeatedAug   int        `yaml:"repeated_aug" json:"repeated_aug" range:"[1,100]"` // views of an image in a row; the original's flag is 3
	EvalResize    int        `yaml:"eval_resize" json:"eval_resize" range:"[0,8192]"`  // shorter side of images that do not train, before their centre is cut out; 0: 256/224 of the model's size if that is over 32, else that size
}

// Options of the augment room.
func (a Augment) Options() augment.Options {
	return augment.Options{
		Crop: a.Crop, Pad: a.Pad, Scale: a.Scale, Ratio: a.Ratio, Interpolation: a.Interpolation,
		Flip: a.HFlip, FlipVertical: a.VFlip, Policy: a.AA, Jitter: a.ColorJitter,
		Erase: augment.Erase{Prob: a.Reprob, Mode: a.Remode, Count: a.Recount},
	}
}

// TestResize is what the shorter side of an image that does not train is resized to,
// for a model that takes size x size.
func (a Augment) TestResize(size int) int {
	switch {
	case a.EvalResize > 0:
		return a.EvalResize
	case size > 32: // the original's rule: smaller images are taken whole
		return size * 256 / 224
	}
	return size
}

// Regularize holds what is switched on only while training.
type Regularize struct {
	DropPath float64 `yaml:"drop_path" json:"drop_path" range:"[0,1)"`           // rate of the supernet's last block; grows linearly from 0
	Drop     float64 `yaml:"drop" json:"drop,omitempty" range:"[0,1)"`           // dropout of activations, in an architecture times its part of the supernet's embed_dim; of a convolutional network before the classifier
	AttnDrop float64 `yaml:"attn_drop" json:"attn_drop,omitempty" range:"[0,1)"` // dropout of the attention matrix, and of its branch
}

func (r Regularize) DropsOut() bool { return r.Drop > 0 || r.AttnDrop > 0 }

// Sampler picks the architecture of each update.
type Sampler struct {
	Name string `yaml:"name" json:"name" oneof:"balanced uniform groups sandwich space"`
}

// Default is what a recipe file starts from.
func Default() Recipe {
	return Recipe{
		Epochs: 10, Batch: 128, Accumulate: 1, Holdout: 0.1, EvalEvery: 1, LogEvery: 50, Keep: 2, Precision: "float32",
		Optimizer: Optimizer{Name: AdamW, LR: 5e-4, Decay: 0.05, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8},
		Schedule:  Schedule{Name: cosineSchedule, WarmupLR: 1e-6, MinLR: 1e-5},
		Loss:      Loss{Smoothing: 0.1},
		Mix:       Mix{Prob: 1, Switch: 0.5, Mode: "batch"},
		Augment: Augment{
			Crop: "none", Pad: 4, Scale: [2]float64{0.08, 1}, Ratio: [2]float64{3.0 / 4, 4.0 / 3}, Interpolation: "bicubic",
			Remode: "pixel", Recount: 1, RepeatedAug: 1,
		},
		Sampler: Sampler{Name: Balanced},
		Distill: Distill{Kind: SoftTarget, Alpha: 0.5, Temperature: 1},
	}
}

//go:embed recipes/*.yaml
var builtIn embed.FS

// Names lists the built-in recipes.
func Names() []string {
	entries, err := builtIn.ReadDir("recipes")
	if err != nil {
		panic("recipe: embedded recipes: " + err.Error())
	}
	var names []string
	for _, entry := range entries {
		names = append(names, strings.TrimSuffix(entry.Name(), ".yaml"))
	}
	return names
}

// For names the built-in recipe to train a space by where none is given, and says
// why. A built-in space has its own; any other one, and a built-in one with other classes
// or images, has the one for images of one's own. The space conv has none of its own:
// nothing is published or measured that trains it this way.
func For(s *space.Space) (name, why string) {
	own := map[string]string{"tiny": "tiny", "small": "small", "base": "base", "quickstart": "quickstart", "conv-quickstart": "quickstart-conv"}
	if name, ok := own[s.Name]; ok {
		if known, err := space.Load(s.Name); err == nil && reflect.DeepEqual(known, s) {
			return name, "made for the space " + s.Name
		}
	}
	return "images", fmt.Sprintf("for images of one's own, since none is made for the space %q", s.Name)
}

// Load reads a built-in recipe by name, a recipe file, or the manifest of a run, whose recipe
// it takes.
func Load(nameOrFile string) (Recipe, error) {
	if slices.Contains(Names(), nameOrFile) {
		text, err := builtIn.ReadFile("recipes/" + nameOrFile + ".yaml")
		if err != nil {
			return Recipe{}, err
		}
		return Parse(nameOrFile+".yaml", text)
	}
	text, err := readRecipe(nameOrFile)
	if err != nil {
		return Recipe{}, fmt.Errorf("%w: %q is neither a file that can be read (%w) nor one of the built-in recipes %s",
			ErrInvalid, nameOrFile, err, strings.Join(Names(), ", "))
	}
	if own, is := ofManifest(text); is {
		text = own
	}
	return Parse(nameOrFile, text)
}

// ofManifest is the recipe in the text of a run's manifest, with every value in use.
func ofManifest(text []byte) ([]byte, bool) {
	var m struct {
		Format *int            `json:"format"`
		Recipe json.RawMessage `json:"recipe"`
		Space  json.RawMessage `json:"space"`
	}
	if json.Unmarshal(text, &m) != nil || m.Format == nil || len(m.Recipe) == 0 || len(m.Space) == 0 {
		return nil, false
	}
	return m.Recipe, true // JSON is YAML
}

// Text of a built-in recipe, with its comments.
func Text(name string) ([]byte, error) {
	if !slices.Contains(Names(), name) {
		meant := ""
		if near, edits := nearest.Name(name, Names()); edits <= 2 {
			meant = ", did you mean " + near + "?"
		}
		return nil, fmt.Errorf("%w: there is no built-in recipe %q%s; known are %s", ErrInvalid, name, meant, strings.Join(Names(), ", "))
	}
	return builtIn.ReadFile("recipes/" + name + ".yaml")
}

const maxRecipe = 1 << 20 // bytes; the longest built-in one has 1 kB

func readRecipe(path string) ([]byte, error) {
	file, err := fsys.OpenRegular(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxRecipe+1))
	if err == nil && len(text) > maxRecipe {
		err = fmt.Errorf("larger than %d bytes", maxRecipe)
	}
	return text, err
}

// Parse reads a recipe's text; file is its name in errors.
func Parse(file string, text []byte) (Recipe, error) {
	r := Default()
	if err := decodeStrict(file, text, &r); err != nil {
		return Recipe{}, mistaken.Instead(text, err)
	}
	if err := r.Check(); err != nil {
		return Recipe{}, fmt.Errorf("%w: %s: %w", ErrInvalid, file, err)
	}
	return r, nil
}

// Check covers what one key's limits cannot say.
func (r Recipe) Check() error {
	switch peak := r.PeakLR(); {
	case r.Schedule.Warmup > float64(r.Epochs):
		return fmt.Errorf("schedule.warmup (%v epochs) is longer than the run (epochs: %d)", r.Schedule.Warmup, r.Epochs)
	case r.Schedule.MinLR > peak:
		return fmt.Errorf("schedule.min_lr (%v) is above the peak learning rate (%v)", r.Schedule.MinLR, peak)
	case r.Schedule.Warmup > 0 && r.Schedule.WarmupLR > peak:
		return fmt.Errorf("schedule.warmup_lr (%v) is above the peak learning rate (%v)", r.Schedule.WarmupLR, peak)
	case r.Schedule.Warmup+r.Schedule.Cooldown > float64(r.Epochs):
		return fmt.Errorf("schedule.warmup and schedule.cooldown (%v and %v epochs) are longer than the run (epochs: %d)",
			r.Schedule.Warmup, r.Schedule.Cooldown, r.Epochs)
	case r.Schedule.Name == stepSchedule && (r.Schedule.StepEpochs == 0 || r.Schedule.StepFactor == 0):
		return fmt.Errorf("schedule.name step needs schedule.step_epochs and schedule.step_factor")
	case r.Patience > 0 && r.EvalEvery == 0:
		return fmt.Errorf("patience (%s) needs eval_every, by which it is seen whether anything improves", printable.Count(r.Patience, "epoch"))
	case r.BalanceClasses && r.ClassWeights != "":
		return fmt.Errorf("balance_classes and class_weights both make up for classes of different sizes: leave one of them out")
	case r.Optimizer.ScaleParameter && r.Optimizer.Name == LAMB:
		return fmt.Errorf("optimizer.scale_parameter is of adamw and sgd; lamb scales by the weights' norm already")
	case r.Optimizer.Nesterov && r.Optimizer.Momentum == 0:
		return fmt.Errorf("optimizer.nesterov needs optimizer.momentum")
	case r.Optimizer.Name != SGD && r.Optimizer.Momentum > 0:
		return fmt.Errorf("optimizer.momentum is of sgd; %s has beta1", r.Optimizer.Name)
	case r.Distill.InPlace() && r.Sampler.Name != Sandwich:
		return fmt.Errorf("distill.teacher largest needs sampler.name sandwich, where the largest architecture teaches the others of its update")
	case !r.Distill.IsZero() && r.Distill.Kind == HardTarget && r.Distill.Temperature != 1:
		return fmt.Errorf("distill.temperature is of kind soft; a hard teacher says one class")
	case r.Mix.Mode == "pair" && r.Batch%2 == 1 && r.Mixes():
		return fmt.Errorf("mix.mode pair needs an even batch, not %d", r.Batch)
	case r.Augment.Scale[0] > r.Augment.Scale[1] || r.Augment.Ratio[0] > r.Augment.Ratio[1]:
		return fmt.Errorf("augment.scale %v and augment.ratio %v: the lower end stands first", r.Augment.Scale, r.Augment.Ratio)
	case r.Augment.AA != "":
		if _, err := augment.ParsePolicy(r.Augment.AA); err != nil {
			return fmt.Errorf("augment.aa: %w", err)
		}
	}
	return nil
}

// CheckSpace reports what a recipe asks for that a convolutional space cannot have.
func (r Recipe) CheckSpace(s *space.Space) error {
	if s.Model.IsConv() && r.Regularize.AttnDrop > 0 {
		return fmt.Errorf("%w: regularize.attn_drop is of vision transformers; space %s is convolutional and has drop and drop_path", ErrInvalid, s.Name)
	}
	return nil
}

// PeakLR is the highest learning rate of the run.
func (r Recipe) PeakLR() float64 {
	if r.Optimizer.PerLR == 0 {
		return r.Optimizer.LR
	}
	return r.Optimizer.LR * float64(r.Batch*r.Accumulate) / float64(r.Optimizer.PerLR)
}

func (r Recipe) Mixes() bool {
	return r.Mix.Prob > 0 && (r.Mix.Mixup > 0 || r.Mix.Cutmix > 0)
}

// YAML is the recipe with every value in use; parsing it gives the same recipe.
func (r Recipe) YAML() ([]byte, error) { return yaml.Marshal(r) }

// Continues tells whether a run whose recipe has this digest may go on by r, and end as
// one by r from its start: if they are the same, or r leaves out damaged images or goes
// back where training diverges and the run did not, for it has ended at the first of these.
func (r Recipe) Continues(digest string) bool {
	for _, skip := range []bool{false, r.SkipBadImages} {
		for _, back := range []bool{false, r.RollBack} {
			before := r
			before.SkipBadImages, before.RollBack = skip, back
			if digest == before.Digest() {
				return true
			}
		}
	}
	return false
}

// Changes are the keys whose values differ in another recipe, with both values.
func (r Recipe) Changes(other Recipe) []string {
	var list []string
	var compare func(key string, a, b reflect.Value)
	compare = func(key string, a, b reflect.Value) {
		if off, is := a.Interface().(interface{ IsZero() bool }); is && off.IsZero() && b.Interface().(interface{ IsZero() bool }).IsZero() {
			return // what it says beside is of no matter, and is not kept
		}
		if a.Kind() != reflect.Struct {
			if !reflect.DeepEqual(a.Interface(), b.Interface()) {
				list = append(list, fmt.Sprintf("%s was %v, now %v", key, a.Interface(), b.Interface()))
			}
			return
		}
		for i := range a.NumField() {
			name, _, _ := strings.Cut(a.Type().Field(i).Tag.Get("yaml"), ",")
			if key != "" {
				name = key + "." + name
			}
			compare(name, a.Field(i), b.Field(i))
		}
	}
	compare("", reflect.ValueOf(r), reflect.ValueOf(other))
	return list
}

// Enough refuses fewer images than one update takes.
func (r Recipe) Enough(images int) error {
	switch fits := images / r.Accumulate; {
	case images >= r.Batch*r.Accumulate, r.FillLast && images >= r.Batch:
		return nil
	case images == 0:
		return errors.New("there is no image to train on")
	case fits == 0:
		return fmt.Errorf("%s to train on, fewer than accumulate, %d: take a recipe with a smaller one", printable.Count(images, "image"), r.Accumulate)
	default:
		fits = 1 << (bits.Len(uint(fits)) - 1) // 27 images: 16
		return fmt.Errorf("%s to train on, fewer than one update takes (batch: %d, accumulate: %d): give %v %d, or a recipe with a smaller batch", printable.Count(images, "image"), r.Batch, r.Accumulate, input.Batch, fits)
	}
}

// Digest names the recipe: the SHA-256 of its values, in hex.
func (r Recipe) Digest() string {
	text, err := json.Marshal(r)
	if err != nil {
		panic("recipe: a recipe holds only plain values: " + err.Error())
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
