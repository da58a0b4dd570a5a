// Command serve loads prenas serve as clients do and measures it: requests a second and the 50th and
// 99th percentile of their times for each model, its memory over a time, and whether it stands hostile
// requests.
//
//	go run ./bench/serve --models DIR --image FILE --seconds 5
//	go run ./bench/serve --models DIR --image FILE --onnx DIR --python PYTHON
//	go run ./bench/serve --models DIR --image FILE --memory 10m
//	go run ./bench/serve --models DIR --image FILE --hostile 10000
//
// It builds prenas, starts it on a free port of 127.0.0.1, and ends it. Clients run on the
// same cores as the server, so what is measured is both together.
//
// With --onnx, the folder of the same models as ONNX files, these are measured too: on prenas serve, and
// on onnxruntime behind FastAPI and uvicorn (peer.py), with a PYTHON that has the packages of
// bench/serve/requirements.txt. The servers run one after the other, and must say the same of the image.
package main

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

func main() {
	models := flag.String("models", "", "folder of exported models")
	image := flag.String("image", "", "image to ask with")
	seconds := flag.Int("seconds", 5, "of each measurement of the table")
	onnx := flag.String("onnx", "", "folder of the same models as ONNX files, to measure these too, and a server in Python")
	python := flag.String("python", "python3", "interpreter with the packages of bench/serve/requirements.txt, for --onnx")
	memory := flag.Duration("memory", 0, "load for so long and watch the server's memory, instead of the table")
	hostile := flag.Int("hostile", 0, "hostile requests to send, instead of the table")
	flag.Parse()
	if err := run(*models, *image, *onnx, *python, *seconds, *memory, *hostile); err != nil {
		fmt.Fprintln(os.Stderr, "bench/serve:", err)
		os.Exit(1)
	}
}

func run(models, image, onnx, python string, seconds int, memory time.Duration, hostile int) error {
	if models == "" || image == "" {
		return errors.New("--models and --image are needed")
	}
	picture, err := os.ReadFile(image)
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "bench-serve-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	program := filepath.Join(folder, "prenas")
	build := exec.Command("go", "build", "-o", program, "./cmd/prenas")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("build prenas: %w", err)
	}
	ours := func(models string) *exec.Cmd {
		return exec.Command(program, "serve", models, "--listen", "127.0.0.1:0", "--quiet", "--timeout", "5s")
	}
	if hostile > 0 || memory > 0 {
		s, err := start(ours(models))
		if err != nil {
			return err
		}
		if hostile > 0 {
			err = s.hostile(hostile, picture)
		} else {
			err = s.memory(memory, picture)
		}
		return errors.Join(err, s.stop())
	}
	servers := []contender{{"prenas", ours(models)}}
	if onnx != "" {
		library, err := onnxruntime(python)
		if err != nil {
			return err
		}
		c := ours(onnx)
		c.Env = append(os.Environ(), "PRENAS_ONNXRUNTIME="+library)
		servers = append(servers, contender{"prenas, ONNX", c}, contender{"FastAPI, ONNX", exec.Command(python, "-c", peer, onnx)})
	}
	return table(servers, time.Duration(seconds)*time.Second, picture)
}

// peer is the server in Python.
//
//go:embed peer.py
var peer string

// onnxruntime is the library that an interpreter's package of that name has.
func onnxruntime(python string) (string, error) {
	text, err := exec.Command(python, "-c", "import onnxruntime; print(onnxruntime.__path__[0])").Output()
	if err != nil {
		return "", fmt.Errorf("%s has no onnxruntime: pip install -r bench/serve/requirements.txt: %w", python, err)
	}
	found, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(text)), "capi", "libonnxruntime.so.*"))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("%s has %d libraries of onnxruntime, want one", python, len(found))
	}
	return found[0], nil
}

// contender is a server to measure, by what starts it.
type contender struct {
	name    string
	command *exec.Cmd
}

// server was started.
type server struct {
	address string // http://127.0.0.1:PORT
	command *exec.Cmd
}

// start starts a server, whose first line ends with its address.
func start(command *exec.Cmd) (*server, error) {
	s := &server{command: command}
	command.Stderr = os.Stderr
	out, err := command.StdoutPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	_, address, found := strings.Cut(strings.TrimSpace(line), " at ")
	if err != nil || !found {
		return nil, errors.Join(fmt.Errorf("%s says %q", command.Path, line), err, s.stop())
	}
	s.address = strings.TrimSuffix(address, "/")
	return s, nil
}

// stop asks the server to end and tells if it did not end well.
func (s *server) stop() error {
	err := s.command.Process.Signal(syscall.SIGTERM)
	if err == nil {
		err = s.command.Wait()
	}
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		if status, is := ended.Sys().(syscall.WaitStatus); is && status.Signaled() && status.Signal() == syscall.SIGTERM {
			return nil // as uvicorn ends, after it has stopped
		}
	}
	return err
}

// resident is the memory of the server in MB, as Linux tells it.
func (s *server) resident() (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.command.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	var kilobytes float64
	_, err = fmt.Sscan(rest, &kilobytes)
	return kilobytes / 1024, err
}

func (s *server) models() (names []string, err error) {
	r, err := http.Get(s.address + "/models")
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	var answer struct {
		Models []struct {
			Name string `json:"name"`
		} `json:"models"`
	}
	err = json.NewDecoder(r.Body).Decode(&answer)
	for _, m := range answer.Models {
		names = append(names, m.Name)
	}
	return names, err
}

// load asks with so many clients at once until the time is over, and returns how long each answer
// took, in order, and how many requests were refused for load.
func (s *server) load(model string, clients int, d time.Duration, picture []byte) (took []time.Duration, refused int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	var mu sync.Mutex
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for ctx.Err() == nil {
				began := time.Now()
				r, askErr := client.Post(s.address+"/classify?model="+url.QueryEscape(model), "application/octet-stream", bytes.NewReader(picture))
				status := 0
				if askErr == nil {
					_, askErr = io.Copy(io.Discard, r.Body)
					status = r.StatusCode
					_ = r.Body.Close() // it was read
				}
				mu.Lock()
				switch {
				case askErr != nil:
					err = askErr
				case status == http.StatusOK:
					took = append(took, time.Since(began))
				case status == http.StatusTooManyRequests:
					refused++
				default:
					err = fmt.Errorf("status %d", status)
				}
				stop := err != nil
				mu.Unlock()
				if stop {
					return
				}
			}
		})
	}
	all.Wait()
	slices.Sort(took)
	return took, refused, err
}

// class is what a model says of an image.
type class struct {
	Name        string  `json:"name"`
	Probability float64 `json:"probability"`
}

// answer is a model's first class for an image.
func (s *server) answer(model string, picture []byte) (class, error) {
	r, err := http.Post(s.address+"/classify?model="+url.QueryEscape(model), "application/octet-stream", bytes.NewReader(picture))
	if err != nil {
		return class{}, err
	}
	defer r.Body.Close()
	var got struct {
		Results []struct {
			Classes []class `json:"classes"`
		} `json:"results"`
	}
	if err := json.NewDecoder(r.Body).Decode(&got); err != nil || len(got.Results) != 1 || len(got.Results[0].Classes) == 0 {
		return class{}, fmt.Errorf("model %s: status %d, no answer: %w", model, r.StatusCode, err)
	}
	return got.Results[0].Classes[0], nil
}

// table measures servers one after the other, each alone. What they say of the image must agree.
func table(servers []contender, d time.Duration, picture []byte) error {
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return err
	}
	fmt.Printf("%d processors, load before it began %s; %v each\n\n", runtime.NumCPU(), strings.Join(strings.Fields(string(load))[:3], " "), d)
	fmt.Println("| server | model | clients | requests/s | p50, ms | p99, ms | refused |\n| --- | --- | --- | --- | --- | --- | --- |")
	said := map[string]class{}
	for _, c := range servers {
		s, err := start(c.command)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		if err := errors.Join(s.rows(c.name, d, picture, said), s.stop()); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

// rows measures all models of a server.
func (s *server) rows(server string, d time.Duration, picture []byte, said map[string]class) error {
	names, err := s.models()
	if err != nil {
		return err
	}
	for _, name := range names {
		now, err := s.answer(name, picture)
		if err != nil {
			return err
		}
		if before, has := said[name]; has && (before.Name != now.Name || math.Abs(before.Probability-now.Probability) > 1e-3) {
			return fmt.Errorf("model %s: it says %+v of the image, another server said %+v", name, now, before)
		}
		said[name] = now
		for _, clients := range []int{1, 8, 64} {
			took, refused, err := s.load(name, clients, d, picture)
			if err == nil && len(took) == 0 {
				err = errors.New("no answer")
			}
			if err != nil {
				return fmt.Errorf("%s, %d clients: %w", name, clients, err)
			}
			at := func(part float64) float64 {
				return took[int(part*float64(len(took)-1))].Seconds() * 1000
			}
			fmt.Printf("| %s | %s | %d | %.0f | %.2f | %.2f | %d |\n", server, name, clients, float64(len(took))/d.Seconds(), at(0.5), at(0.99), refused)
		}
	}
	return nil
}

// memory loads all models in turn and tells the server's memory ten times.
func (s *server) memory(d time.Duration, picture []byte) error {
	names, err := s.models()
	if err != nil {
		return err
	}
	for i := range 10 {
		if _, _, err := s.load(names[i%len(names)], 8, d/10, picture); err != nil {
			return err
		}
		mb, err := s.resident()
		if err != nil {
			return err
		}
		fmt.Printf("after %v: %.0f MB\n", d/10*time.Duration(i+1), mb)
	}
	return nil
}

// hostile sends requests that nobody should answer well, 16 at once, and looks whether the server
// lives and what memory it has. Each must be refused with a status below 500, but for 503, or be
// cut.
func (s *server) hostile(n int, picture []byte) error {
	names, err := s.models()
	if err != nil {
		return err
	}
	var mu sync.Mutex
	counts := map[int]int{} // by status; 0: the connection was cut
	send := func(part int) {
		r := rand.New(rand.NewPCG(1, uint64(part)))
		for i := part; i < n; i += 16 {
			status := s.attack(r, names[i%len(names)], picture)
			mu.Lock()
			counts[status]++
			mu.Unlock()
			if i == n/4 || i == n/2 || i == 3*n/4 {
				if mb, err := s.resident(); err == nil {
					fmt.Printf("after %d requests: %.0f MB\n", i, mb)
				}
			}
		}
	}
	var all sync.WaitGroup
	for part := range 16 {
		all.Go(func() { send(part) })
	}
	all.Wait()
	for status := range counts {
		if status >= 500 && status != http.StatusServiceUnavailable {
			err = errors.Join(err, fmt.Errorf("%d requests ended with status %d", counts[status], status))
		}
	}
	took, _, aliveErr := s.load(names[0], 1, time.Second, picture)
	mb, memoryErr := s.resident()
	fmt.Printf("by status (0: cut): %v; at the end %.0f MB, and %d right answers in a second\n", counts, mb, len(took))
	return errors.Join(err, aliveErr, memoryErr)
}

// attack sends one hostile request and returns its status, 0 where the connection ended without.
func (s *server) attack(r *rand.Rand, model string, picture []byte) int {
	post := func(path, kind string, body io.Reader) int {
		answer, err := http.Post(s.address+path, kind, body)
		if err != nil {
			return 0
		}
		defer answer.Body.Close()
		_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 1<<20)) // it may be cut
		return answer.StatusCode
	}
	damaged := bytes.Clone(picture)
	for range 1 + r.IntN(8) {
		damaged[r.IntN(len(damaged))] = byte(r.IntN(256))
	}
	infer := "/v2/models/" + url.PathEscape(model) + "/infer"
	switch r.IntN(10) {
	case 0: // cut
		return post("/classify", "image/png", bytes.NewReader(picture[:r.IntN(len(picture))]))
	case 1: // other bytes
		return post("/classify", "image/png", bytes.NewReader(damaged))
	case 2: // a PNG that says it has 60000 x 60000 pixels
		bomb := bytes.Clone(append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\xea\x60\x00\x00\xea\x60\x08\x06\x00\x00\x00"), make([]byte, 64)...))
		return post("/classify", "image/png", bytes.NewReader(bomb))
	case 3: // wrong types
		return post("/classify", []string{"text/html", "multipart/form-data", "multipart/form-data; boundary=x", ";;", "application/json"}[r.IntN(5)], bytes.NewReader(damaged))
	case 4: // tricks with paths and parameters
		paths := []string{"/classify?model=../../etc/passwd", "/v2/models/..%2f..%2fx/infer", "/classify?within=-1s", "/classify?top=999999999999999999999", "/classify?model=a&model=b", "/v2/models/" + url.PathEscape(model) + "/versions/9/infer"}
		return post(paths[r.IntN(len(paths))], "image/png", bytes.NewReader(picture))
	case 5: // JSON that claims much
		bodies := []string{`{"inputs":[{"name":"images","datatype":"FP32","shape":[9223372036854775807,1,1,1],"data":[]}]}`, `{"inputs":[{"name":"image","datatype":"BYTES","shape":[1],"data":["AAAA"]}]}`, strings.Repeat("[", 100000), `{"inputs":null}`, `{"inputs":[{"name":"images","datatype":"FP32","shape":[-1],"data":[1e999]}]}`}
		return post(infer, "application/json", strings.NewReader(bodies[r.IntN(len(bodies))]))
	case 6: // a header that lies about what follows
		q, err := http.NewRequest("POST", s.address+infer, bytes.NewReader(damaged))
		if err != nil {
			return 0
		}
		q.Header.Set("Inference-Header-Content-Length", []string{"-1", "99999999999", "x", "3"}[r.IntN(4)])
		answer, err := http.DefaultClient.Do(q)
		if err != nil {
			return 0
		}
		_ = answer.Body.Close() // nothing is read of it
		return answer.StatusCode
	case 7: // more than is taken
		return post("/classify", "image/png", io.LimitReader(zeros{}, 40<<20))
	}
	// Bytes that are no HTTP, or a body that does not come.
	c, err := net.Dial("tcp", strings.TrimPrefix(s.address, "http://"))
	if err != nil {
		return 0
	}
	defer c.Close()
	_, _ = io.WriteString(c, []string{"\x00\x01\x02\r\n\r\n", "POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc", "POST /classify HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n"}[r.IntN(3)])
	if tcp, is := c.(*net.TCPConn); is && r.IntN(2) == 0 {
		_ = tcp.CloseWrite() // nothing more comes; else the server waits for it
	}
	_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0
	}
	_ = answer.Body.Close() // nothing is read of it
	return answer.StatusCode
}

// zeros without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
