package space_test

import (
	"fmt"
	"log"
	"math/rand/v2"
	"strings"

	"prenas/pkg/space"
)

// A space is one of those that are built in, or a YAML file.
func Example() {
	s, err := space.Load("tiny")
	if err != nil {
		log.Fatal(err)
	}
	arch := s.Smallest()
	fmt.Println("architectures:", s.Size())
	fmt.Println("the smallest:", arch)
	fmt.Printf("%.1f M parameters, %.0f M multiply-accumulates\n", float64(s.Model.Params(arch))/1e6, float64(s.Model.MACs(arch))/1e6)
	fmt.Println("one of it:", s.Check(s.Draw(rand.New(rand.NewPCG(1, 2)))) == nil)
	// Output:
	// architectures: 1056964608
	// the smallest: e192-h3x12-r3.5x12
	// 5.4 M parameters, 1221 M multiply-accumulates
	// one of it: true
}

// The text of an architecture is unique, and says all of it.
func ExampleParseArch() {
	arch, err := space.ParseArch("e128-h6x3_4-r3_4x3")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(arch.EmbedDim, arch.NumHeads, arch.MLPRatio)
	// Output: 128 [6 6 6 4] [3 4 4 4]
}

// What a search chose goes to a file of any kind, and the choices that it uses make a smaller
// space.
func ExampleCandidates_Write() {
	s, err := space.Load("tiny")
	if err != nil {
		log.Fatal(err)
	}
	arch := s.Smallest()
	chosen := space.Candidates{{Key: "6.0", Candidates: []space.Candidate{{Arch: arch, Params: s.Model.Params(arch), Score: 1}}}}
	var file strings.Builder
	if err := chosen.Write(&file); err != nil {
		log.Fatal(err)
	}
	again, err := space.ParseCandidates([]byte(file.String()))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(again[0].Candidates[0].Arch)
	file.Reset()
	if err := again.Choices().WriteYAML(&file, s); err != nil {
		log.Fatal(err)
	}
	smaller, err := space.Parse("smaller", "smaller.yaml", []byte(file.String()))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(s.Size(), "architectures, then", smaller.Size())
	// Output:
	// e192-h3x12-r3.5x12
	// 1056964608 architectures, then 1
}
