// Command serve loads prenas serve as clients do and measures it: requests a second and the 50th and
// 99th percentile of their times for each model, its memory over a time, and whether it stands hostile
// requests.
//
//	go run ./bench/serve --models DIR --image FILE --seconds 5
//	go run ./bench/serve --models DIR --image FILE --memory 10m
//	go run ./bench/serve --models DIR --image FILE --hostile 10000
//
// It builds prenas, starts it on a free port of 127.0.0.1, and ends it. Clients run on the
// same cores as the server, so what is measured is both together.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
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
	memory := flag.Duration("memory", 0, "load for so long and watch the server's memory, instead of the table")
	hostile := flag.Int("hostile", 0, "hostile requests to send, instead of the table")
	flag.Parse()
	if err := run(*models, *image, *seconds, *memory, *hostile); err != nil {
		fmt.Fprintln(os.Stderr, "bench/serve:", err)
		os.Exit(1)
	}
}

func run(models, image string, seconds int, memory time.Duration, hostile int) error {
	if models == "" || image == "" {
		return errors.New("--models and --image are needed")
	}
	picture, err := os.ReadFile(image)
	if err != nil {
		return err
	}
	s, err := start(models)
	if err != nil {
		return err
	}
	switch {
	case hostile > 0:
		err = s.hostile(hostile, picture)
	case memory > 0:
		err = s.memory(memory, picture)
	default:
		err = s.table(time.Duration(seconds)*time.Second, picture)
	}
	return errors.Join(err, s.stop())
}

// server is a prenas serve that was started.
type server struct {
	address string // http://127.0.0.1:PORT
	command *exec.Cmd
	folder  string // of the program
}

func start(models string) (*server, error) {
	folder, err := os.MkdirTemp("", "bench-serve-")
	if err != nil {
		return nil, err
	}
	program := filepath.Join(folder, "prenas")
	build := exec.Command("go", "build", "-o", program, "./cmd/prenas")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return nil, errors.Join(fmt.Errorf("build prenas: %w", err), os.RemoveAll(folder))
	}
	s := &server{folder: folder, command: exec.Command(program, "serve", models, "--listen", "127.0.0.1:0", "--quiet", "--timeout", "5s")}
	out, err := s.command.StdoutPipe()
	if err == nil {
		err = s.command.Start()
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	_, address, found := strings.Cut(strings.TrimSpace(line), " at ")
	if err != nil || !found {
		return nil, errors.Join(fmt.Errorf("prenas serve says %q", line), err, s.stop())
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
	return errors.Join(err, os.RemoveAll(s.folder))
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

func (s *server) table(d time.Duration, picture []byte) error {
	names, err := s.models()
	if err != nil {
		return err
	}
	fmt.Println("| model | clients | requests/s | p50, ms | p99, ms | refused |\n| --- | --- | --- | --- | --- | --- |")
	for _, name := range names {
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
			fmt.Printf("| %s | %d | %.0f | %.2f | %.2f | %d |\n", name, clients, float64(len(took))/d.Seconds(), at(0.5), at(0.99), refused)
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
	_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	_, _ = io.Copy(io.Discard, c) // what it says is not looked at
	return 0
}

// zeros without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
