package tokenizer_test

import (
	"fmt"
	"log"

	"github.com/vkcome/vkcome/model/tokenizer"
)

func Example() {
	tok, err := tokenizer.Load("../embedded/tiny12")
	if err != nil {
		log.Fatal(err)
	}
	ids, err := tok.Encode("Hello world")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(ids)
	fmt.Println(tok.Decode(ids))
	// Output:
	// [73 804 112 744]
	// Hello world
}

func ExampleStream() {
	tok, err := tokenizer.Load("../embedded/tiny12")
	if err != nil {
		log.Fatal(err)
	}
	s := tokenizer.NewStream(tok, true, nil)
	ids, err := tok.Encode("naïve")
	if err != nil {
		log.Fatal(err)
	}
	for _, id := range ids { // ï comes in two of them
		fmt.Printf("%q ", s.Next(id))
	}
	fmt.Printf("%q\n", s.Flush())
	// Output: "n" "a" "" "ï" "ve" ""
}
