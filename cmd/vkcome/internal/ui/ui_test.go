package ui

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/vkcome/vkcome/model/embedded"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// app is a server under test, and a page's way to it.
type app struct {
	*testing.T
	s       *Server
	root    string
	state   string
	address string // with the token
	host    string
	cookie  *http.Cookie
	shown   chan string // what Options.Show was asked for
	end     func()
}

func open(t *testing.T, root, state string) *app {
	t.Helper()
	a := &app{T: t, root: root, state: state, shown: make(chan string, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	var err error
	a.s, err = New(ctx, Options{
		Roots: []string{root}, State: state, Tokens: 4096, Message: func(text string) string { return text },
		Open: func(name string) (*vk.Device, error) {
			d, _, err := op.Open(context.Background(), vk.Options{Device: name})
			return d, err
		},
		Show: func(path string) error { a.shown <- path; return nil },
	})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a.address, a.host = a.s.Address(l, false), l.Addr().String()
	ended := make(chan error, 1)
	go func() { ended <- a.s.Serve(l) }()
	once := false
	a.end = func() {
		if once {
			return
		}
		once = true
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(a.end)
	answer, err := http.Get(a.address)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if len(answer.Cookies()) != 1 {
		t.Fatalf("%s: no session", answer.Status)
	}
	a.cookie = answer.Cookies()[0]
	return a
}

func newApp(t *testing.T) *app {
	t.Setenv("HF_HUB_CACHE", t.TempDir())
	dir := t.TempDir()
	return open(t, filepath.Join(dir, "."), filepath.Join(t.TempDir(), "state", "ui.json"))
}

// request is one of a page of the application, which change may make another's.
func (a *app) request(method, path string, body any, change func(r *http.Request)) *http.Response {
	a.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		a.Fatal(err)
	}
	if body == nil {
		raw = nil
	}
	r, err := http.NewRequestWithContext(a.Context(), method, "http://"+a.host+strings.TrimSuffix(a.s.guard.base, "/")+path, bytes.NewReader(raw))
	if err != nil {
		a.Fatal(err)
	}
	r.AddCookie(a.cookie)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if method == http.MethodPost {
		r.Header.Set("Origin", "http://"+a.host)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set(csrfHeader, a.s.guard.csrf)
	}
	if change != nil {
		change(r)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		a.Fatal(err)
	}
	a.Cleanup(func() { answer.Body.Close() })
	return answer
}

// call gives the JSON of an answer; one with another status than want ends the test.
func (a *app) call(want int, method, path string, body any) map[string]any {
	a.Helper()
	answer := a.request(method, path, body, nil)
	raw, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != want {
		a.Fatalf("%s: %s %s, %v", path, answer.Status, raw, err)
	}
	var v map[string]any
	if err := json.Unmarshal(raw, &v); err != nil {
		a.Fatalf("%s: %s: %v", path, raw, err)
	}
	return v
}

// until reads events until one is as wanted.
func (a *app) until(what string, is func(v shown) bool) shown {
	a.Helper()
	ctx, cancel := context.WithTimeout(a.Context(), 2*time.Minute)
	defer cancel()
	answer := a.request("GET", "/api/events", nil, func(r *http.Request) { *r = *r.WithContext(ctx) })
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 1<<20)
	var v shown
	for lines.Scan() {
		raw, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		v = shown{}
		if err := json.Unmarshal([]byte(raw), &v); err != nil {
			a.Fatal(err)
		}
		if is(v) {
			return v
		}
		if v.Job != nil && v.Job.State != running {
			break // nothing more comes
		}
	}
	a.Fatalf("%s did not come: %v; the last was %+v, job %+v", what, lines.Err(), v, v.Job)
	return v
}

// ended waits for the end of the job that runs.
func (a *app) ended(state string) shown {
	a.Helper()
	v := a.until("the end", func(v shown) bool { return v.Job != nil && v.Job.State != running })
	if v.Job.State != state {
		a.Fatalf("%s, expected %s: %s", v.Job.State, state, v.Job.Error)
	}
	return v
}

func (a *app) write(name, text string) string {
	a.Helper()
	path := filepath.Join(a.root, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		a.Fatal(err)
	}
	return path
}

func tiny(a *app, out, by string) spec {
	return spec{Model: embedded.Name, Layers: 8, Method: by, Text: demoText, Out: filepath.Join(a.root, out)}
}

// TestAttacks: requests that no page of the application makes are refused before they do anything.
func TestAttacks(t *testing.T) {
	a := newApp(t)
	if err := a.s.used("a model"); err != nil {
		t.Fatal(err)
	}
	header := func(name, value string) func(r *http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	host := func(name string) func(r *http.Request) { return func(r *http.Request) { r.Host = name } }
	_, port, _ := net.SplitHostPort(a.host)
	noCookie := func(r *http.Request) { r.Header.Del("Cookie") }
	for name, c := range map[string]struct {
		change func(r *http.Request)
		why    string
		posts  bool // that change something alone are refused
	}{
		"no session":                 {noCookie, "no session", false},
		"another session":            {header("Cookie", a.cookie.Name+"="+strings.Repeat("0", 64)), "no session", false},
		"the token as session":       {header("Cookie", a.cookie.Name+"="+a.s.guard.token), "no session", false},
		"no folder":                  {func(r *http.Request) { r.URL.Path = "/" + strings.TrimPrefix(r.URL.Path, a.s.guard.base) }, "no session", false},
		"another folder":             {func(r *http.Request) { r.URL.Path = "/x/" + strings.TrimPrefix(r.URL.Path, a.s.guard.base) }, "no session", false},
		"a way out of the folder":    {func(r *http.Request) { r.URL.Path = "/x/.." + r.URL.Path }, "no session", false},
		"a rebound name":             {host("evil.example:" + port), "host name", false},
		"a rebound name alone":       {host("evil.example"), "host name", false},
		"a name that begins alike":   {host("127.0.0.1.evil.example:" + port), "host name", false},
		"the address without a port": {host("127.0.0.1"), "host name", false},
		"another port":               {host("127.0.0.1:1"), "host name", false},
		"any address":                {host("0.0.0.0:" + port), "host name", false},
		"another site":               {header("Sec-Fetch-Site", "cross-site"), "another site", false},
		"another port's page":        {header("Sec-Fetch-Site", "same-site"), "another site", false},
		"another origin":             {header("Origin", "http://evil.example"), "another origin", false},
		"no origin that has a name":  {header("Origin", "null"), "another origin", false},
		"another port's origin":      {header("Origin", "http://127.0.0.1:1"), "another origin", false},
		"another scheme's origin":    {header("Origin", "https://"+a.host), "another origin", false},
		"no page": {func(r *http.Request) {
			r.Header.Del("Origin")
			r.Header.Del("Sec-Fetch-Site")
		}, "no page", true},
		"no secret":      {func(r *http.Request) { r.Header.Del(csrfHeader) }, "secret", true},
		"another secret": {header(csrfHeader, strings.Repeat("0", 64)), "secret", true},
		"a form":         {header("Content-Type", "application/x-www-form-urlencoded"), "not JSON", true},
		"a plain text":   {header("Content-Type", "text/plain"), "not JSON", true},
	} {
		for _, path := range []string{"/", "/app.js", "/api/models", "/api/events", "/api/browse?dir=", "/report/1"} {
			if c.posts {
				continue
			}
			answer := a.request("GET", path, nil, c.change)
			text, err := io.ReadAll(answer.Body)
			if err != nil || answer.StatusCode != http.StatusForbidden || !strings.Contains(string(text), c.why) {
				t.Errorf("%s: GET %s: %s, %s, %v", name, path, answer.Status, text, err)
			}
		}
		for _, path := range []string{"model", "plan", "run", "resume", "stop", "measure", "export", "open", "forget", "chat"} {
			answer := a.request("POST", "/api/"+path, tiny(a, "out", "reverse"), c.change)
			if text, err := io.ReadAll(answer.Body); err != nil || answer.StatusCode != http.StatusForbidden || !strings.Contains(string(text), c.why) {
				t.Errorf("%s: POST %s: %s, %s, %v", name, path, answer.Status, text, err)
			}
		}
	}
	if left, err := os.ReadDir(a.root); err != nil || len(left) != 0 || len(a.s.kept.Runs) != 0 {
		t.Errorf("an attack has left %v, %v, %v", left, err, a.s.kept.Runs)
	}
	for _, good := range []string{"localhost:" + port, "[::1]:" + port} {
		if answer := a.request("GET", "/", nil, host(good)); answer.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", good, answer.Status)
		}
	}
}

// TestSession: the token of the address begins a session and is in nothing that follows; one that serves once serves once.
func TestSession(t *testing.T) {
	a := newApp(t)
	c := a.cookie
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != a.s.guard.base || len(c.Value) != 64 || c.Value == a.s.guard.token {
		t.Errorf("cookie %v", c)
	}
	answer := a.request("GET", "/", nil, nil)
	page, err := io.ReadAll(answer.Body)
	if err != nil || bytes.Contains(page, []byte(a.s.guard.token)) || bytes.Contains(page, []byte(c.Value)) || !bytes.Contains(page, []byte(a.s.guard.csrf)) {
		t.Errorf("%s, %v", page, err)
	}
	for name, value := range headers {
		if answer.Header.Get(name) != value {
			t.Errorf("%s: %q", name, answer.Header.Get(name))
		}
	}
	if inline := regexp.MustCompile(`<script(?:[^>]*[^>s]|)>[^<]|\son[a-z]+=|style=|https?://`).Find(page); inline != nil {
		t.Errorf("the page has %s", inline)
	}
	for _, token := range []string{"", strings.Repeat("0", 64), a.s.guard.token[:63], a.s.guard.token + "0", strings.ToUpper(a.s.guard.token), c.Value, a.s.guard.csrf} {
		answer, err := http.Get("http://" + a.host + "/?token=" + token)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusForbidden || len(answer.Cookies()) != 0 {
			t.Errorf("token %q: %s, %v", token, answer.Status, answer.Cookies())
		}
	}
	once := a.s.guard.newOnce()
	for i, want := range []int{http.StatusOK, http.StatusForbidden} {
		answer, err := http.Get("http://" + a.host + "/?token=" + once)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("use %d of a token that serves once: %s", i, answer.Status)
		}
	}
	late := a.s.guard.newOnce()
	a.s.guard.once[late] = time.Now().Add(-time.Second)
	if a.s.guard.knows(late) || a.s.guard.knows("") {
		t.Error("a token that is too late, or none, begins a session")
	}
}

// TestListen: an address that others reach is refused.
func TestListen(t *testing.T) {
	a := newApp(t)
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := a.s.Serve(l); err == nil || !strings.Contains(err.Error(), "no loopback") {
		t.Errorf("%v", err)
	}
}

// TestPaths: what lies outside of the folders, or is hidden, is neither read nor listed nor written, by whatever way it is named.
func TestPaths(t *testing.T) {
	a := newApp(t)
	other := t.TempDir()
	secret := filepath.Join(other, "secret.txt")
	if err := os.WriteFile(secret, []byte(strings.Repeat("A secret. ", 500)), 0o644); err != nil {
		t.Fatal(err)
	}
	a.write(".keys/id.txt", "key")
	a.write("texts/good.txt", "text")
	a.write("good.gguf", "no GGUF")
	for link, target := range map[string]string{"leads-out": other, "leads-out.txt": secret, "leads-in": filepath.Join(a.root, ".keys")} {
		if err := os.Symlink(target, filepath.Join(a.root, link)); err != nil {
			t.Fatal(err)
		}
	}
	up, err := filepath.Rel(a.root, secret)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		secret, other, "/etc/passwd", "/", up, a.root + "/../" + filepath.Base(other), "leads-out/secret.txt", a.root + "/leads-out.txt", a.root + "/.keys/id.txt", ".keys/id.txt",
		"leads-in/id.txt", "texts/../../x", "/nowhere/at/all", a.root + "x", a.root + "/leads-out",
	} {
		sp := tiny(a, "out", "reverse")
		sp.Text = path
		asModel, asOut := tiny(a, "out", "reverse"), tiny(a, "out", "reverse")
		asModel.Model, asOut.Out = path, filepath.Join(path, "new")
		for what, body := range map[string]any{
			"model": map[string]string{"model": path}, "plan": sp, "run": sp, "run model": asModel, "run out": asOut, "measure": map[string]string{"text": path},
		} {
			text := a.call(http.StatusForbidden, "POST", "/api/"+strings.Fields(what)[0], body)["error"].(string)
			if !strings.Contains(text, "outside") || strings.Contains(text, "no such file") {
				t.Errorf("%s of %s: %s", what, path, text)
			}
		}
		a.call(http.StatusForbidden, "GET", "/api/browse?dir="+path, nil)
	}
	sp := tiny(a, "out", "reverse")
	for _, out := range []string{a.root, "", ".hidden", "texts/.hidden"} {
		if sp.Out = out; out != "" && !filepath.IsAbs(out) {
			sp.Out = filepath.Join(a.root, out)
		}
		if answer := a.request("POST", "/api/run", sp, nil); answer.StatusCode < 400 {
			t.Errorf("output %q: %s", out, answer.Status)
		}
	}
	if len(a.s.kept.Runs) != 0 || len(a.s.kept.Recent) != 0 {
		t.Errorf("kept are %v", a.s.kept)
	}
	names := fmt.Sprint(a.call(http.StatusOK, "GET", "/api/browse?dir="+a.root, nil)["entries"])
	if strings.Contains(names, "leads") || strings.Contains(names, "keys") || !strings.Contains(names, "texts") || !strings.Contains(names, "good.gguf") {
		t.Errorf("listed are %s", names)
	}
	if got := a.call(http.StatusOK, "GET", "/api/browse?dir=", nil); fmt.Sprint(got["parent"]) != "" || !strings.Contains(fmt.Sprint(got), a.root) {
		t.Errorf("%v", got)
	}
	if got := a.call(http.StatusOK, "GET", "/api/browse?dir=texts", nil); got["parent"] != a.root || got["dir"] != filepath.Join(a.root, "texts") {
		t.Errorf("%v", got)
	}
	for _, in := range []string{"good.gguf", "texts", "hub:owner/name", "hub:../../x", "nowhere"} { // within, and no models
		a.call(http.StatusBadRequest, "POST", "/api/model", map[string]string{"model": in})
	}
}

// TestRequests: what a page may send, and sends wrong.
func TestRequests(t *testing.T) {
	a := newApp(t)
	for name, c := range map[string]struct {
		path, body, want string
	}{
		"not JSON":      {"model", `{"model"`, "the request"},
		"another key":   {"model", `{"modell":"x"}`, "unknown field"},
		"another type":  {"model", `{"model":1}`, "the request"},
		"two values":    {"model", `{"model":"x"} {}`, "more than one"},
		"too long":      {"model", `{"model":"` + strings.Repeat("x", maxBody) + `"}`, "too large"},
		"no such run":   {"resume", `{"id":7}`, "there is no run 7"},
		"not finished":  {"export", `{"id":7,"type":""}`, "there is no run 7"},
		"nothing said":  {"chat", `{"id":7,"message":""}`, "empty"},
		"chat of none":  {"chat", `{"id":7,"message":"x"}`, "there is no run 7"},
		"no such depth": {"run", `{"model":"embedded:tiny12","layers":12,"text":"demo","out":"x"}`, "choose from 1 to 11"},
		"no method":     {"run", `{"model":"embedded:tiny12","layers":8,"text":"demo","out":"x","method":"drop"}`, "not one of this application"},
		"a GGUF":        {"run", `{"model":"embedded:tiny12","layers":8,"text":"demo","out":"x.gguf"}`, "exported"},
		"nowhere":       {"run", `{"model":"embedded:tiny12","layers":8,"text":"demo","out":"no/x"}`, "no such file"},
	} {
		answer := a.request("POST", "/api/"+c.path, json.RawMessage(`{}`), func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(c.body)), int64(len(c.body))
		})
		text, err := io.ReadAll(answer.Body)
		var v map[string]string
		if err := errors.Join(err, json.Unmarshal(text, &v)); err != nil || answer.StatusCode != http.StatusBadRequest || !strings.Contains(v["error"], c.want) {
			t.Errorf("%s: %s, %s, %v", name, answer.Status, text, err)
		}
	}
	a.call(http.StatusConflict, "POST", "/api/stop", struct{}{})
	a.call(http.StatusConflict, "POST", "/api/measure", map[string]string{"text": demoText})
	if answer := a.request("GET", "/api/stop", nil, nil); answer.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("stop by GET: %s", answer.Status)
	}
}

// TestFirstToLast takes the embedded model through all that the application does, and finds it again after a new start.
func TestFirstToLast(t *testing.T) {
	a := newApp(t)
	got := a.call(http.StatusOK, "POST", "/api/model", map[string]string{"model": embedded.Name})
	if got["layers"] != 12.0 || len(got["depths"].([]any)) != 12 || got["chat"] != false || got["out"] != filepath.Join(a.root, "embedded-tiny12-pruned") {
		t.Errorf("%v", got)
	}
	if got := a.call(http.StatusOK, "GET", "/api/devices", nil); len(got["devices"].([]any)) == 0 {
		t.Errorf("%v", got)
	}
	sp := tiny(a, "small", "")
	if got := a.call(http.StatusOK, "POST", "/api/plan", sp); got["method"] != "union" || got["windows"].(float64) < 2 || got["seconds"].(float64) <= 0 {
		t.Errorf("%v", got)
	}
	a.call(http.StatusOK, "POST", "/api/run", sp)
	a.call(http.StatusConflict, "POST", "/api/run", tiny(a, "other", "reverse"))
	a.call(http.StatusConflict, "POST", "/api/plan", sp)
	a.call(http.StatusConflict, "POST", "/api/forget", map[string]int{"id": 1})
	a.until("a layer merged", func(v shown) bool { return v.Job.State == running && len(v.Job.Tree) == 11 && v.Job.Memory != "" })
	a.ended(done)
	a.call(http.StatusOK, "POST", "/api/run", tiny(a, "other", "reverse"))
	v := a.ended(done)
	r := v.Runs[0]
	if len(v.Runs) != 2 || r.State != done || len(r.Tree) != 8 || r.Parameters != 2099328 || r.Method != "union" || v.Runs[1].Method != "reverse" {
		t.Fatalf("%+v", v.Runs)
	}
	a.call(http.StatusBadRequest, "POST", "/api/run", sp) // the output is there
	if got := a.call(http.StatusOK, "POST", "/api/model", map[string]string{"model": r.Spec.Out}); got["layers"] != 8.0 {
		t.Errorf("%v", got)
	}

	a.call(http.StatusOK, "POST", "/api/measure", map[string]string{"text": demoText})
	v = a.ended(done)
	if p := v.Runs[0].Perplexity; len(p) != 1 || p[0].Original < 30 || p[0].Pruned < p[0].Original || p[0].Pruned > 60 || v.Runs[1].Perplexity[0].Pruned < p[0].Pruned {
		t.Errorf("%+v, %+v", p, v.Runs[1].Perplexity)
	}
	a.call(http.StatusConflict, "POST", "/api/measure", map[string]string{"text": demoText})

	a.call(http.StatusOK, "POST", "/api/export", map[string]any{"id": 1, "type": "q8_0"})
	v = a.ended(done)
	if raw, err := os.ReadFile(v.Runs[0].GGUF); err != nil || v.Runs[0].GGUF != r.Spec.Out+".gguf" || !bytes.HasPrefix(raw, []byte("GGUF")) {
		t.Errorf("%q, %v", v.Runs[0].GGUF, err)
	}
	a.call(http.StatusOK, "POST", "/api/open", map[string]int{"id": 1})
	if path := <-a.shown; path != r.Spec.Out {
		t.Errorf("opened %s", path)
	}

	page := a.request("GET", "/report/1", nil, nil)
	text, err := io.ReadAll(page.Body)
	if policy := page.Header.Get("Content-Security-Policy"); err != nil || page.StatusCode != http.StatusOK || policy != reportPolicy || !bytes.Contains(text, []byte("<title>Report: "+filepath.Base(r.Spec.Out))) {
		t.Errorf("report: %s, %s, %.300s, %v", page.Status, policy, text, err)
	}
	for _, none := range []string{"/report/9", "/report/x", "/report/"} {
		if page := a.request("GET", none, nil, nil); page.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", none, page.Status)
		}
	}

	for range 2 { // the second time the models are open
		said := a.talk("The film is")
		if said["original"] == "" || said["pruned"] == "" || said["original"] == said["pruned"] {
			t.Errorf("said: %q", said)
		}
	}
	a.call(http.StatusOK, "POST", "/api/forget", map[string]int{"id": 2})
	a.end()

	b := open(t, a.root, a.state)
	v = b.until("what was kept", func(shown) bool { return true })
	if len(v.Runs) != 1 || v.Runs[0].ID != 1 || v.Runs[0].State != done || len(v.Recent) != 2 || v.Recent[1] != embedded.Name || v.Job != nil {
		t.Errorf("%+v", v)
	}
	if info, err := os.Stat(a.state); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

// talk sends a message to the models of run 1 and gives what each side said.
func (a *app) talk(message string) map[string]string {
	a.Helper()
	answer := a.request("POST", "/api/chat", map[string]any{"id": 1, "message": message}, nil)
	said, ended := map[string]string{}, 0
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		var p piece
		if err := json.Unmarshal(lines.Bytes(), &p); err != nil || p.Error != "" || answer.StatusCode != http.StatusOK {
			a.Fatalf("%s: %s, %v", answer.Status, lines.Text(), err)
		}
		if said[p.Side] += p.Text; p.Ended {
			ended++
		}
	}
	if lines.Err() != nil || ended != 2 {
		a.Fatalf("%d sides ended, %v", ended, lines.Err())
	}
	return said
}

// TestStopResume: a run that is stopped, or whose program ends, is resumed to the end.
func TestStopResume(t *testing.T) {
	a := newApp(t)
	sp := tiny(a, "small", "")
	merged := func(n int) func(v shown) bool {
		return func(v shown) bool { return v.Job != nil && v.Job.State == running && len(v.Job.Tree) == n }
	}
	a.call(http.StatusOK, "POST", "/api/run", sp)
	a.until("two layers merged", merged(10))
	a.call(http.StatusOK, "POST", "/api/stop", struct{}{})
	if v := a.ended(stopped); v.Runs[0].State != stopped {
		t.Fatalf("%+v", v.Runs[0])
	}
	a.call(http.StatusBadRequest, "POST", "/api/export", map[string]any{"id": 1})
	if got := a.call(http.StatusBadRequest, "POST", "/api/run", sp); !strings.Contains(fmt.Sprint(got), "unfinished") {
		t.Errorf("%v", got)
	}
	a.call(http.StatusOK, "POST", "/api/resume", map[string]int{"id": 1})
	a.until("a third layer merged", merged(9))
	a.end() // as ^C does

	b := open(t, a.root, a.state)
	if v := b.until("what was kept", func(shown) bool { return true }); v.Runs[0].State != stopped {
		t.Fatalf("%+v", v.Runs[0])
	}
	b.call(http.StatusOK, "POST", "/api/resume", map[string]int{"id": 1})
	if v := b.ended(done); len(v.Runs[0].Tree) != 8 || len(v.Job.Notes) == 0 || !strings.Contains(v.Job.Notes[0], "going on after step") {
		t.Errorf("%+v, notes %q", v.Runs[0], v.Job.Notes)
	}
	b.call(http.StatusBadRequest, "POST", "/api/resume", map[string]int{"id": 1})
}

// TestFailed: a run that cannot be says why in a line, and the next one runs.
func TestFailed(t *testing.T) {
	a := newApp(t)
	sp := tiny(a, "small", "shortgpt")
	sp.Text = a.write("short.txt", "")
	a.call(http.StatusOK, "POST", "/api/run", sp)
	v := a.ended(failed)
	a.call(http.StatusBadRequest, "POST", "/api/resume", map[string]int{"id": 1})
	if r := v.Runs[0]; r.State != failed || r.Resumable || r.Error != v.Job.Error || !strings.Contains(r.Error, "short.txt") || strings.Contains(r.Error, "\n") {
		t.Errorf("%+v", r)
	}
	a.call(http.StatusOK, "POST", "/api/run", tiny(a, "small", "reverse"))
	a.ended(done)
}

// TestKept: a file of the application that is damaged is named, not written over.
func TestKept(t *testing.T) {
	state := filepath.Join(t.TempDir(), "ui.json")
	if err := os.WriteFile(state, []byte(`{"runs":[{"id":"x"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(t.Context(), Options{Roots: []string{t.TempDir()}, State: state}); err == nil || !strings.Contains(err.Error(), "remove the file") {
		t.Errorf("%v", err)
	}
	for _, root := range []string{state, filepath.Join(state, "nowhere")} {
		if _, err := New(t.Context(), Options{Roots: []string{root}}); err == nil {
			t.Errorf("%s is taken for a folder", root)
		}
	}
}
