package corpus

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/vkcome/vkcome/model/chat"
	"github.com/vkcome/vkcome/model/chat/jinja"
)

// conversations hands on rows whose field holds messages, in the words of a chat template.
func (f form) conversations(ctx context.Context, path string, s sink) error {
	switch kind(path) {
	case ".parquet":
		return openParquet(ctx, path, func(r io.ReaderAt, size int64) error {
			return parquetRecords(r, size, func(r Record) error { return f.conversation(ctx, r, s) })
		})
	case ".json", ".jsonl", ".ndjson":
		return decompressed(ctx, path, func(r io.Reader) error {
			return readJSON(r, f.fields, func(raw []byte) error {
				record, err := jsonRecord(raw)
				if err != nil {
					return err
				}
				return f.conversation(ctx, record, s)
			})
		})
	}
	return errors.New("conversations are rows of JSON or Parquet")
}

func (f form) conversation(ctx context.Context, r Record, s sink) error {
	if ok, err := s.want(); err != nil || !ok {
		return err
	}
	name := f.fields[0]
	value, ok := r.Get(name)
	if !ok {
		there := make([]string, len(r))
		for i, field := range r {
			there[i] = field.Name
		}
		return missing(name, there)
	}
	if value == nil {
		s.null()
		return nil
	}
	messages, err := messagesOf(value)
	if err != nil {
		return fmt.Errorf("field %q: %w", name, err)
	}
	text, err := f.chat.Render(messages, chat.Options{Context: ctx})
	if err != nil {
		return err
	}
	return s.take(text)
}

var errMessages = errors.New("expected a list of messages, objects such as {\"role\": …, \"content\": …}")

// messagesOf makes messages of a list of records, or of a record of lists as Parquet has them.
func messagesOf(value any) ([]chat.Message, error) {
	list, ok := value.([]any)
	if columns, isRecord := value.(Record); isRecord {
		var err error
		if list, err = transposed(columns); err != nil {
			return nil, err
		}
		ok = true
	}
	if !ok || len(list) == 0 {
		return nil, errMessages
	}
	messages := make([]chat.Message, len(list))
	for i, one := range list {
		m, ok := toTemplate(one).(chat.Message)
		if !ok {
			return nil, errMessages
		}
		messages[i] = m
	}
	return messages, nil
}

// transposed makes a list of records of a record of lists.
func transposed(columns Record) ([]any, error) {
	var out []any
	for i, c := range columns {
		values, ok := c.Value.([]any)
		if !ok {
			return nil, errMessages
		}
		if i == 0 {
			out = make([]any, len(values))
			for j := range out {
				out[j] = Record(nil)
			}
		}
		if len(values) != len(out) {
			return nil, fmt.Errorf("%d values of %s for %d of %s: nulls within messages are read from JSON alone", len(values), c.Name, len(out), columns[0].Name)
		}
		for j, v := range values {
			out[j] = append(out[j].(Record), Field{c.Name, v})
		}
	}
	return out, nil
}

// toTemplate makes a value of templates of a row's.
func toTemplate(value any) any {
	switch v := value.(type) {
	case Record:
		d := jinja.NewDict()
		for _, f := range v {
			d.Set(f.Name, toTemplate(f.Value))
		}
		return d
	case []any:
		out := make([]any, len(v))
		for i, one := range v {
			out[i] = toTemplate(one)
		}
		return out
	}
	return value
}
