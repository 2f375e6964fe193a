package jinja_test

import (
	"context"
	"fmt"
	"time"

	"github.com/vkcome/vkcome/model/chat/jinja"
)

func Example() {
	t, err := jinja.Parse("{% for x in list if x is string %}{{ loop.index }}: {{ x | upper }}\n{% endfor %}")
	if err != nil {
		fmt.Println(err)
		return
	}
	text, err := t.Render(context.Background(), map[string]any{"list": []any{"a", 1, "b"}}, time.Now())
	fmt.Print(text, err)
	// Output:
	// 1: A
	// 2: B
	// <nil>
}
