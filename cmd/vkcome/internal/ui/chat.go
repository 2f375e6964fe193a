package ui

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/chat"
	"github.com/vkcome/vkcome/model/corpus"
	"github.com/vkcome/vkcome/model/generate"
	"github.com/vkcome/vkcome/model/tokenizer"
	"github.com/vkcome/vkcome/vk"
)

// chatting is a conversation with the two models of a run, which stay on the device until something else needs it.
type chatting struct {
	run    int
	device *vk.Device
	sides  []*side
}

// side is one of the models.
type side struct {
	name   string // "original" or "pruned"
	model  *model.Model
	t      tokenizer.Tokenizer
	writer *generate.Writer
	chat   *generate.Chat // nil: the model has no chat template, and continues texts
}

// answerTokens bounds an answer.
const answerTokens = 128

// closeChat closes the models of a conversation. Who calls it holds the turn.
func (s *Server) closeChat() (err error) {
	if s.chat == nil {
		return nil
	}
	for _, side := range s.chat.sides {
		err = errors.Join(err, side.close())
	}
	err = errors.Join(err, closeDevice(s.chat.device))
	s.chat = nil
	return err
}

func (s *side) close() error {
	var err error
	if s.writer != nil {
		err = s.writer.Close()
	}
	return errors.Join(err, s.model.Close())
}

// openChat opens the models of a run, unless they are open, and begins anew if that is wanted.
func (s *Server) openChat(ctx context.Context, rec record, device string, anew bool) error {
	if s.chat != nil && s.chat.run == rec.ID && !anew {
		return nil
	}
	if err := s.closeChat(); err != nil {
		return err
	}
	d, err := s.o.Open(cmp.Or(device, s.o.Device))
	if err != nil {
		return err
	}
	s.chat = &chatting{run: rec.ID, device: d}
	for _, of := range [][2]string{{"original", rec.Spec.Model}, {"pruned", rec.Spec.Out}} {
		if err := s.openSide(ctx, of[0], of[1]); err != nil {
			return errors.Join(err, s.closeChat())
		}
	}
	return nil
}

func (s *Server) openSide(ctx context.Context, name, of string) error {
	m, err := s.openModel(ctx, of)
	if err != nil {
		return err
	}
	x := &side{name: name, model: m}
	s.chat.sides = append(s.chat.sides, x)
	if x.t, err = m.Tokenizer(); err != nil {
		return err
	}
	if x.writer, err = generate.NewWriter(s.chat.device, m, x.t, generate.WriterOptions{Tokens: answerTokens, Chat: true}); err != nil {
		return err
	}
	switch template, err := chat.Open(m.Files, x.t, ""); {
	case err == nil:
		x.chat = &generate.Chat{Writer: x.writer, Template: template}
	case !errors.Is(err, chat.ErrNone):
		return fmt.Errorf("%s: %w", m.Name, err)
	}
	return nil
}

// answer answers a message, or continues it.
func (s *side) answer(ctx context.Context, message string, print func(string)) error {
	if s.chat != nil {
		_, err := s.chat.Turn(ctx, message, print)
		return err
	}
	prompt, err := corpus.EncodeSpecial(s.t, message)
	if err != nil {
		return err
	}
	_, err = s.writer.Write(ctx, prompt, print)
	return err
}

// piece is a line of the stream that talk writes.
type piece struct {
	Side  string `json:"side,omitempty"`
	Text  string `json:"text,omitempty"`
	Ended bool   `json:"ended,omitempty"` // that side's answer
	Error string `json:"error,omitempty"`
}

// talk has both models answer, and streams what they write, a line of JSON for each piece. It ends when the page closes the connection.
func (s *Server) talk(w http.ResponseWriter, r *http.Request) {
	message, err := s.hear(w, r)
	if err != nil {
		s.reply(w, nil, err)
		return
	}
	defer s.give()
	w.Header().Set("Content-Type", "application/x-ndjson")
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	tell := func(p piece) {
		if send(w, "%s\n", p) != nil {
			cancel() // nobody reads
		}
	}
	for _, x := range s.chat.sides {
		if err := x.answer(ctx, message, func(text string) { tell(piece{Side: x.name, Text: text}) }); err != nil {
			err = errors.Join(err, s.closeChat()) // one has heard what the other has not
			tell(piece{Side: x.name, Error: s.line(err)})
			return
		}
		tell(piece{Side: x.name, Ended: true})
	}
}

// hear reads a message and opens the models that answer it. Without an error the turn is taken.
func (s *Server) hear(w http.ResponseWriter, r *http.Request) (message string, err error) {
	if err := takeBody(w, r); err != nil {
		return "", err
	}
	in, err := read[struct {
		ID      int    `json:"id"`
		Device  string `json:"device"`
		Message string `json:"message"`
		Anew    bool   `json:"anew"`
	}](r)
	if err != nil {
		return "", err
	}
	if in.Message == "" {
		return "", errors.New("the message is empty")
	}
	rec, err := s.runByID(in.ID, done)
	if err != nil {
		return "", err
	}
	if err := s.take(); err != nil {
		return "", err
	}
	if err := s.openChat(r.Context(), rec, in.Device, in.Anew); err != nil {
		s.give()
		return "", err
	}
	return in.Message, nil
}
