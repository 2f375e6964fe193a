package chat_test

import (
	"fmt"

	"github.com/vkcome/vkcome/model/chat"
)

func Example() {
	const source = "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>{{ m.content | trim }}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
	t, err := chat.New(source, map[string]string{"bos_token": "<s>"})
	if err != nil {
		fmt.Println(err)
		return
	}
	text, err := t.Render([]chat.Message{chat.Text("system", "Be brief."), chat.Text("user", " Hi! ")}, chat.Options{Prompt: true})
	fmt.Println(text, err)
	// Output: <s><|system|>Be brief.<|user|>Hi!<|assistant|> <nil>
}
