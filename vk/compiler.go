package vk

import "github.com/vkcome/vkcome/vk/internal/native"

// Compiler is the C compiler that compiled the calls of Vulkan, with its version, as in "gcc 12.2.0".
func Compiler() string { return native.Compiler() }
