package main

import "testing"

// TestNull calls each function with null pointers and handles that are none: each says so by its code, and writes nowhere.
func TestNull(t *testing.T) {
	const argument, handle = 1, 2
	for _, c := range []struct {
		name   string
		code   int32
		wanted int32
	}{
		{"devices", int32(vkcome_devices(nil, nil)), argument},
		{"device_open", int32(vkcome_device_open(nil, nil, nil)), argument},
		{"device_info", int32(vkcome_device_info(0, nil, nil)), argument},
		{"device_close", int32(vkcome_device_close(0, nil)), handle},
		{"cancel_open", int32(vkcome_cancel_open(nil, nil)), argument},
		{"cancel_trigger", int32(vkcome_cancel_trigger(0, nil)), handle},
		{"cancel_close", int32(vkcome_cancel_close(0, nil)), handle},
		{"model_open", int32(vkcome_model_open(nil, nil, nil, 0, 0, nil, nil)), argument},
		{"model_inspect", int32(vkcome_model_inspect(0, nil, nil)), argument},
		{"model_close", int32(vkcome_model_close(0, nil)), handle},
		{"plan", int32(vkcome_plan(0, 0, nil, nil, 0, 0, nil, nil)), argument},
		{"prune", int32(vkcome_prune(0, 0, nil, nil, 0, 0, nil, nil)), argument},
		{"distill", int32(vkcome_distill(0, 0, 0, nil, nil, 0, 0, nil, nil)), argument},
		{"evaluate", int32(vkcome_evaluate(0, 0, nil, nil, 0, 0, nil, nil)), argument},
		{"generator_open", int32(vkcome_generator_open(0, 0, nil, nil, nil)), argument},
		{"generate", int32(vkcome_generate(0, nil, nil, 0, 0, nil, nil)), argument},
		{"generator_close", int32(vkcome_generator_close(0, nil)), handle},
	} {
		if c.code != c.wanted {
			t.Errorf("vkcome_%s gives %d, expected %d", c.name, c.code, c.wanted)
		}
	}
	vkcome_free(nil)
	for _, text := range []struct{ got, want string }{{text(vkcome_version()), "0.1.0"}, {text(vkcome_code_name(3)), "VKCOME_ERROR_BUSY"}, {text(vkcome_code_name(-7)), "unknown"}} {
		if text.got != text.want {
			t.Errorf("%q, expected %q", text.got, text.want)
		}
	}
	if v := vkcome_abi_version(); v != 1<<16 {
		t.Errorf("version %#x of the interface", v)
	}
}
