package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vkcome/vkcome/model/hub/hubtest"
)

// recorded is a transport that answers redirects of a plan and records where the token went.
type recorded struct {
	next []string // where each request is sent on to; after them comes an answer
	got  []string // addresses with the token
}

func (r *recorded) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Header.Get("Authorization") != "" {
		r.got = append(r.got, req.URL.String())
	}
	res := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("{}")), Request: req}
	if len(r.next) > 0 {
		res.StatusCode = http.StatusFound
		res.Header.Set("Location", r.next[0])
		r.next = r.next[1:]
	}
	return res, nil
}

// TestTokenOrigin sends requests through random chains of redirects. The token goes to the endpoint's scheme, host and port, and to nothing that
// looks like them.
func TestTokenOrigin(t *testing.T) {
	const endpoint = "https://hub.example"
	same := []string{endpoint + "/a", "https://HUB.example/b", "https://hub.example:443/c", "/d"}
	others := []string{
		"https://hub.example:8443/", "https://cdn.hub.example/", "https://hub.example.evil/", "https://evilhub.example/", "https://hub.example./", "https://hub.example:80/",
		"https://user:pass@cdn.example/", "https://hub.example@evil.example/", "https://[::1]/", "https://other.example/", "//cdn.hub.example/x",
	}
	rng := rand.New(rand.NewPCG(10, 16))
	for range 3000 {
		var chain []string
		var want []string
		at, err := url.Parse(endpoint + "/start")
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, at.String())
		for range rng.IntN(6) {
			list, own := others, rng.IntN(2) == 0
			if own {
				list = same
			}
			target := list[rng.IntN(len(list))]
			if target == "/d" && origin(at) != endpoint+":443" && at.Host != "hub.example" {
				continue // it is of the host before
			}
			if at, err = at.Parse(target); err != nil {
				t.Fatal(err)
			}
			chain = append(chain, target)
			if own {
				want = append(want, at.String())
			}
		}
		r := &recorded{next: slices.Clone(chain)}
		own, err := url.Parse(endpoint)
		if err != nil {
			t.Fatal(err)
		}
		client := http.Client{Transport: &authorized{origin(own), "secret", r}}
		res, err := client.Get(endpoint + "/start")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if !slices.Equal(r.got, want) {
			t.Fatalf("%q: the token went to %q, want %q", chain, r.got, want)
		}
	}
}

// TestTokenElsewhere: neither another port of the hub's host nor another name of it sees the token, by redirects of files, of listings, and by what
// a listing names as its next page.
func TestTokenElsewhere(t *testing.T) {
	for _, kind := range []string{"file", "listing", "next page of a listing that was redirected"} {
		t.Run(kind, func(t *testing.T) {
			s, h := newSet(t)
			h.Token = "secret"
			var mu sync.Mutex
			var elsewhere []string
			answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				elsewhere = append(elsewhere, r.Header.Get("Authorization"))
				mu.Unlock()
				switch {
				case kind == "file":
					fmt.Fprint(w, "test rows")
				case kind == "listing" || r.URL.Query().Get("cursor") != "":
					fmt.Fprintf(w, `[{"type":"file","path":"data/test-0.parquet","size":9,"oid":%q,"lfs":{"oid":%q,"size":9}}]`, strings.Repeat("e", 40), hubtest.Hash("data/test-0.parquet", "test rows"))
				default:
					w.Header().Set("Link", fmt.Sprintf(`<http://%s%s?cursor=1>; rel="next"`, r.Host, r.URL.Path))
					fmt.Fprintf(w, `[{"type":"file","path":"data/none.txt","size":9,"oid":%q}]`, strings.Repeat("e", 40))
				}
			})
			other := httptest.NewServer(answer) // on another port of the same address
			defer other.Close()
			address := other.URL
			if kind == "listing" {
				_, port, err := net.SplitHostPort(strings.TrimPrefix(other.URL, "http://"))
				if err != nil {
					t.Fatal(err)
				}
				address = "http://localhost:" + port // and by another name
			}
			sent := 0
			s.Before = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Header.Get("Authorization") == "Bearer secret" {
					sent++
				}
				if strings.Contains(r.URL.Path, "/resolve/") && kind == "file" || strings.Contains(r.URL.Path, "/tree/") && kind != "file" {
					http.Redirect(w, r, address+r.URL.Path, http.StatusTemporaryRedirect)
					return true
				}
				return false
			}
			if _, _, err := h.Files(t.Context(), set, "data/test-*.parquet"); err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if sent != 3 || len(elsewhere) == 0 || strings.Join(elsewhere, "") != "" {
				t.Errorf("sent %d times, elsewhere %q", sent, elsewhere)
			}
		})
	}
}

// TestHashes: whatever digits a listing has, content that is not what they say is no file, and neither is what nothing can be held against.
func TestHashes(t *testing.T) {
	rng := rand.New(rand.NewPCG(40, 63))
	content := "test rows"
	digits := func(n int) string {
		text := make([]byte, n)
		for i := range text {
			text[i] = "0123456789abcdef"[rng.IntN(16)]
		}
		return string(text)
	}
	type listed struct {
		oid, lfs string // lfs "-": none
		right    bool
	}
	git, sha := hubtest.Hash("a.txt", content), hubtest.Hash("a.parquet", content)
	list := []listed{{git, "-", true}, {digits(40), sha, true}, {sha, "-", false}, {git, git, false}, {strings.ToUpper(git), "-", false}, {digits(40), strings.ToUpper(sha), false}, {"", "-", false}, {"sha256:" + sha, "-", false}}
	for n := 1; n <= 80; n++ {
		list = append(list, listed{digits(n), "-", false}, listed{git, digits(n), false})
		if n != 40 && n < 64 {
			list = append(list, listed{sha[:n], "-", false}, listed{git, sha[:n], false})
		}
	}
	for _, c := range list {
		s, h := newSet(t)
		h.pause = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
		s.Before = func(w http.ResponseWriter, r *http.Request) bool {
			switch {
			case strings.Contains(r.URL.Path, "/tree/"):
				lfs := ""
				if c.lfs != "-" {
					lfs = fmt.Sprintf(`,"lfs":{"oid":%q,"size":%d}`, c.lfs, len(content))
				}
				fmt.Fprintf(w, `[{"type":"file","path":"data/test-0.parquet","size":%d,"oid":%q%s}]`, len(content), c.oid, lfs)
			case strings.Contains(r.URL.Path, "/resolve/"):
				fmt.Fprint(w, content)
			default:
				return false
			}
			return true
		}
		files, _, err := h.Files(t.Context(), set, "data/test-*.parquet")
		if c.right != (err == nil && len(files) == 1) {
			t.Errorf("oid %q, lfs %q: %v, %v", c.oid, c.lfs, files, err)
		}
		if wrong := (*wrongHash)(nil); !c.right && !errors.As(err, &wrong) && !strings.Contains(fmt.Sprint(err), "the listing has no hash") {
			t.Errorf("oid %q, lfs %q: %v", c.oid, c.lfs, err)
		}
	}
}

// TestManyValues: a listing of few bytes and very many values is refused before it is read.
func TestManyValues(t *testing.T) {
	s, h := newSet(t)
	s.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/tree/") {
			return false
		}
		fmt.Fprint(w, "["+strings.Repeat("{},", 2<<20)+"{}]")
		return true
	}
	if _, _, err := h.Files(t.Context(), set, "data/test-*.parquet"); err == nil || !strings.Contains(err.Error(), "values, expected at most") {
		t.Errorf("%.300v", err)
	}
}
