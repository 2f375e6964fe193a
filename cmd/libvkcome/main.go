// Command libvkcome is vkcome as a library with a C interface, built by `make lib` with -buildmode=c-shared. vkcome.h says what each function
// promises. Here pointers become texts and texts pointers; package abi does the rest.
package main

/*
#define VKCOME_NO_PROTOTYPES
#include <stdlib.h>
#include "vkcome.h"

// user is a number here: Go must not take for a pointer what need not be one.
static int told(vkcome_progress f, const char *json, uintptr_t user) { return f(json, (void *)user); }
*/
import "C"

import (
	"unsafe"

	"github.com/vkcome/vkcome/cmd/libvkcome/internal/abi"
	"github.com/vkcome/vkcome/prune"
)

var library = abi.New()

func main() {} // nobody calls it, but a library has one too

// answer does what a function of the interface does, and says how that ended.
func answer(text **C.char, f func() error) C.int32_t {
	err := abi.Safely(f)
	if text != nil {
		*text = nil
		if err != nil {
			*text = C.CString(abi.Text(err))
		}
	}
	return C.int32_t(abi.CodeOf(err))
}

// give does what a function does that gives a text.
func give(json, text **C.char, f func() ([]byte, error)) C.int32_t {
	if json != nil {
		*json = nil
	}
	return answer(text, func() error {
		if json == nil {
			return abi.NoPointer("json")
		}
		raw, err := f()
		if err == nil {
			*json = C.CString(string(raw))
		}
		return err
	})
}

// open does what a function does that gives a handle.
func open[T ~uint64](handle *T, text **C.char, f func() (abi.Handle, error)) C.int32_t {
	if handle != nil {
		*handle = 0
	}
	return answer(text, func() error {
		if handle == nil {
			return abi.NoPointer("the handle's")
		}
		h, err := f()
		if err == nil {
			*handle = T(h)
		}
		return err
	})
}

// watch is how a call is followed.
func watch(progress C.vkcome_progress, user C.uintptr_t, cancel C.vkcome_cancel) abi.Watch {
	w := abi.Watch{Cancel: abi.Handle(cancel)}
	if progress != nil {
		w.Progress = func(event []byte) bool {
			text := C.CString(string(event))
			defer C.free(unsafe.Pointer(text))
			return C.told(progress, text, user) != 0
		}
	}
	return w
}

// text copies what the caller passes; NULL is "".
func text(s *C.char) string { return C.GoString(s) }

//export vkcome_abi_version
func vkcome_abi_version() C.uint32_t {
	return C.VKCOME_ABI_MAJOR<<16 | C.VKCOME_ABI_MINOR<<8 | C.VKCOME_ABI_PATCH
}

//export vkcome_version
func vkcome_version() *C.char { return C.CString(prune.Version) }

//export vkcome_code_name
func vkcome_code_name(code C.int32_t) *C.char { return C.CString(abi.Code(code).String()) }

//export vkcome_free
func vkcome_free(text *C.char) { C.free(unsafe.Pointer(text)) }

//export vkcome_devices
func vkcome_devices(json, message **C.char) C.int32_t {
	return give(json, message, library.Devices)
}

//export vkcome_device_open
func vkcome_device_open(options *C.char, device *C.vkcome_device, message **C.char) C.int32_t {
	return open(device, message, func() (abi.Handle, error) { return library.OpenDevice(text(options)) })
}

//export vkcome_device_info
func vkcome_device_info(device C.vkcome_device, json, message **C.char) C.int32_t {
	return give(json, message, func() ([]byte, error) { return library.DeviceInfo(abi.Handle(device)) })
}

//export vkcome_device_close
func vkcome_device_close(device C.vkcome_device, message **C.char) C.int32_t {
	return answer(message, func() error { return library.CloseDevice(abi.Handle(device)) })
}

//export vkcome_cancel_open
func vkcome_cancel_open(cancel *C.vkcome_cancel, message **C.char) C.int32_t {
	return open(cancel, message, func() (abi.Handle, error) { return library.OpenCancel(), nil })
}

//export vkcome_cancel_trigger
func vkcome_cancel_trigger(cancel C.vkcome_cancel, message **C.char) C.int32_t {
	return answer(message, func() error { return library.Cancel(abi.Handle(cancel)) })
}

//export vkcome_cancel_close
func vkcome_cancel_close(cancel C.vkcome_cancel, message **C.char) C.int32_t {
	return answer(message, func() error { return library.CloseCancel(abi.Handle(cancel)) })
}

//export vkcome_model_open
func vkcome_model_open(name, options *C.char, progress C.vkcome_progress, user C.uintptr_t, cancel C.vkcome_cancel, model *C.vkcome_model, message **C.char) C.int32_t {
	return open(model, message, func() (abi.Handle, error) {
		return library.OpenModel(text(name), text(options), watch(progress, user, cancel))
	})
}

//export vkcome_model_inspect
func vkcome_model_inspect(model C.vkcome_model, json, message **C.char) C.int32_t {
	return give(json, message, func() ([]byte, error) { return library.InspectModel(abi.Handle(model)) })
}

//export vkcome_model_close
func vkcome_model_close(model C.vkcome_model, message **C.char) C.int32_t {
	return answer(message, func() error { return library.CloseModel(abi.Handle(model)) })
}

//export vkcome_plan
func vkcome_plan(device C.vkcome_device, model C.vkcome_model, request *C.char, progress C.vkcome_progress, user C.uintptr_t, cancel C.vkcome_cancel, json, message **C.char) C.int32_t {
	return give(json, message, func() ([]byte, error) {
		return library.Plan(abi.Handle(device), abi.Handle(model), text(request), watch(progress, user, cancel))
	})
}

//export vkcome_prune
func vkcome_prune(device C.vkcome_device, model C.vkcome_model, request *C.char, progress C.vkcome_progress, user C.uintptr_t, cancel C.vkcome_cancel, json, message **C.char) C.int32_t {
	return give(json, message, func() ([]byte, error) {
		return library.Prune(abi.Handle(device), abi.Handle(model), text(request), watch(progress, user, cancel))
	})
}

//export vkcome_distill
func vkcome_distill(device C.vkcome_device, teacher, student C.vkcome_model, request *C.char, progress C.vkcome_progress, user C.uintptr_t, cancel C.vkcome_cancel, json, message **C.char) C.int32_t {
	return give(json, message, func() ([]byte, error) {
		return library.Distill(abi.Handle(device), abi.Handle(teacher), abi.Handle(student), text(request), watch(progress, user, cancel))
	})
}

//export vkcome_evaluate
func vkcome_evaluate(device C.vkcome_device, model C.vkcome_model, request *C.char, progress C.vkcome_progress, user C.uintptr_t, cancel C.vkcome_cancel, json, message **C.char) C.int32_t {
	return give(json, message, func() ([]byte, error) {
		return library.Evaluate(abi.Handle(device), abi.Handle(model), text(request), watch(progress, user, cancel))
	})
}

//export vkcome_generator_open
func vkcome_generator_open(device C.vkcome_device, model C.vkcome_model, options *C.char, generator *C.vkcome_generator, message **C.char) C.int32_t {
	return open(generator, message, func() (abi.Handle, error) {
		return library.OpenGenerator(abi.Handle(device), abi.Handle(model), text(options))
	})
}

//export vkcome_generate
func vkcome_generate(generator C.vkcome_generator, request *C.char, progress C.vkcome_progress, user C.uintptr_t, cancel C.vkcome_cancel, json, message **C.char) C.int32_t {
	return give(json, message, func() ([]byte, error) {
		return library.Generate(abi.Handle(generator), text(request), watch(progress, user, cancel))
	})
}

//export vkcome_generator_close
func vkcome_generator_close(generator C.vkcome_generator, message **C.char) C.int32_t {
	return answer(message, func() error { return library.CloseGenerator(abi.Handle(generator)) })
}
