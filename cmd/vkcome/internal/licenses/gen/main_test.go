package main

import (
	"os"
	"strings"
	"testing"
)

func TestClassify(t *testing.T) {
	mit, err := os.ReadFile("../../../../../LICENSE")
	if err != nil {
		t.Fatal(err)
	}
	const gpl = `This program is free software: you can redistribute it and/or modify it under the terms of the GNU General Public License as
published by the Free Software Foundation, either version 3 of the License, or (at your option) any later version.`
	for _, c := range []struct{ id, body, license, refusal string }{
		{"m/LICENSE", string(mit), "MIT", ""},
		{"m/LICENSE", gpl, "", "GPL-3.0-or-later does not allow"},
		{"m/LICENSE", string(mit) + gpl, "", "GPL-3.0-or-later does not allow"},
		{"m/LICENSE", "You may look at this on Sundays.", "", "not recognized"},
		{"m/LICENSE", string(mit) + strings.Repeat("And one more thing that only a lawyer understands. ", 40), "", "not recognized"},
		{"m/NOTICE.txt", "This product includes somebody's work.", "notice", ""},
		{gonum + "Sun-LICENSE", "changed", "", "the text has changed"},
	} {
		license, err := classify(c.id, []byte(c.body))
		if license != c.license || (err == nil) != (c.refusal == "") || err != nil && !strings.Contains(err.Error(), c.refusal) {
			t.Errorf("%s %.40q: %q, %v; want %q, %q", c.id, c.body, license, err, c.license, c.refusal)
		}
	}
}

func TestNoticeNames(t *testing.T) {
	for name, want := range map[string]bool{"LICENSE": true, "LICENCE.md": true, "License-Apache.txt": true, "COPYING": true, "NOTICE": true,
		"licenses.txt": false, "README.md": false, "noticeboard.md": false} {
		if noticeName.MatchString(name) != want {
			t.Errorf("%s is a notice: %v", name, !want)
		}
	}
}
