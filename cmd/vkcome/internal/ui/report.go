package ui

import (
	"bytes"
	"net/http"
	"path/filepath"
	"strconv"

	"github.com/vkcome/vkcome/prune/report"
)

// reportPolicy is the Content-Security-Policy of a report beside the one in the page itself, which allows its own script and style alone: the page
// has names in it that strangers chose, so it has no part in the session.
const reportPolicy = "sandbox allow-scripts; frame-ancestors 'none'"

// report shows what vkcome report makes of a finished run.
func (s *Server) report(w http.ResponseWriter, r *http.Request) {
	page, err := s.reportOf(r.PathValue("id"))
	if err != nil {
		http.Error(w, s.o.Message(err.Error()), http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Security-Policy", reportPolicy)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(page) // a browser that went away
}

func (s *Server) reportOf(id string) ([]byte, error) {
	n, err := strconv.Atoi(id)
	if err != nil {
		return nil, err
	}
	rec, err := s.runByID(n, done)
	if err != nil {
		return nil, err
	}
	path, err := s.paths.existing(rec.Spec.Out)
	if err != nil {
		return nil, err
	}
	o, err := report.ReadOutput(path)
	if err != nil {
		return nil, err
	}
	o.Name = filepath.Base(path)
	var page bytes.Buffer
	err = report.Page{Outputs: []report.Output{*o}}.Write(&page)
	return page.Bytes(), err
}
