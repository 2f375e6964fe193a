// Package licenses embeds the licences of vkcome and of everything that is linked into it. Command gen writes the file and decides
// whether the licences allow a binary under the MIT licence.
package licenses

import _ "embed"

// Notices holds every licence text once, under the names of what it covers.
//
//go:embed NOTICES.txt
var Notices string
