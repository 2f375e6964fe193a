package main

import "os"

// endedByPipe says whether a process ended as vkcome does that writes to a pipe that nobody reads.
func endedByPipe(p *os.ProcessState) bool { return p.ExitCode() == unreadCode }
