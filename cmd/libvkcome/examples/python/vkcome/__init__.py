"""vkcome makes language models smaller by merging their layers, on any device that has Vulkan.

    with vkcome.Device() as device, vkcome.Model("embedded:tiny12") as model:
        vkcome.prune(device, model, out="small", target_layers=8, corpus={"sources": ["text.txt"]}, progress=print)

Requests are keyword arguments, results are what json.loads makes of the library's; vkcome.h and its README list the fields. Every class of
error stands for a code. ctypes releases the lock of the interpreter while the library works, so other threads go on. What a progress
function raises, KeyboardInterrupt among others, cancels the call and comes out of it.
"""

from __future__ import annotations

import ctypes
import json
import os
import pathlib
import sys
import threading
from typing import Any, Callable, Optional

__all__ = [
    "Busy", "BadArgument", "BadHandle", "BadModel", "Cancel", "Cancelled", "Device", "DeviceFailed", "DeviceLost", "Error", "Exists", "Failed",
    "Generator", "InternalError", "Model", "NoDevice", "NotReadable", "OutOfMemory", "Unsupported", "devices", "distill", "evaluate", "plan", "prune",
    "version",
]

_ABI = (1, 0)  # of vkcome.h that this was written for
Progress = Callable[[dict], Any]


class Error(Exception):
    """What the library says went wrong. code is the number of vkcome.h."""

    code = -1


def _error(name: str, code: int, text: str) -> type:
    return type(name, (Error,), {"code": code, "__doc__": text, "__module__": __name__})


BadArgument = _error("BadArgument", 1, "A field that is unknown or out of range, or a plan that cannot be.")
BadHandle = _error("BadHandle", 2, "Something that is closed.")
Busy = _error("Busy", 3, "A device that computes, or an object that is in use and cannot be closed.")
Cancelled = _error("Cancelled", 4, "The call was cancelled.")
NotReadable = _error("NotReadable", 5, "A file or the network: not there, not allowed, no room.")
Exists = _error("Exists", 6, "The output is there already, or the work of an unfinished run.")
BadModel = _error("BadModel", 7, "A model whose files are damaged or have changed.")
Unsupported = _error("Unsupported", 8, "A model that vkcome does not compute.")
NoDevice = _error("NoDevice", 9, "No Vulkan device, or none of that name.")
DeviceFailed = _error("DeviceFailed", 10, "A driver's error, or a device that computes wrong.")
DeviceLost = _error("DeviceLost", 11, "The device was reset: close it and open it anew.")
OutOfMemory = _error("OutOfMemory", 12, "The device has no room.")
Failed = _error("Failed", 13, "A run ended for another reason.")
InternalError = _error("InternalError", 14, "A defect of vkcome.")
_ERRORS = {c.code: c for c in Error.__subclasses__()}

_Text = ctypes.c_void_p  # not c_char_p, which would lose the address that has to be freed
_Handle = ctypes.c_uint64
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)


def _load() -> ctypes.CDLL:
    name = {"win32": "vkcome.dll", "darwin": "libvkcome.dylib"}.get(sys.platform, "libvkcome.so")
    beside = pathlib.Path(__file__).with_name(name)
    lib = ctypes.CDLL(os.environ.get("VKCOME_LIBRARY") or (str(beside) if beside.exists() else name))
    lib.vkcome_abi_version.restype = ctypes.c_uint32
    abi = lib.vkcome_abi_version()
    if abi >> 16 != _ABI[0] or abi >> 8 & 255 < _ABI[1]:
        raise ImportError(f"{lib._name} has interface {abi >> 16}.{abi >> 8 & 255}, and {_ABI[0]}.{_ABI[1]} is needed")
    lib.vkcome_version.restype = _Text
    lib.vkcome_free.argtypes, lib.vkcome_free.restype = [_Text], None
    text, out, handle, ends = ctypes.c_char_p, ctypes.POINTER(_Text), ctypes.POINTER(_Handle), [ctypes.POINTER(_Text)]
    watch = [_Callback, ctypes.c_void_p, _Handle]
    for function, arguments in {
        "devices": [out], "device_open": [text, handle], "device_info": [_Handle, out], "device_close": [_Handle],
        "cancel_open": [handle], "cancel_trigger": [_Handle], "cancel_close": [_Handle],
        "model_open": [text, text, *watch, handle], "model_inspect": [_Handle, out], "model_close": [_Handle],
        "plan": [_Handle, _Handle, text, *watch, out], "prune": [_Handle, _Handle, text, *watch, out],
        "distill": [_Handle, _Handle, _Handle, text, *watch, out], "evaluate": [_Handle, _Handle, text, *watch, out],
        "generator_open": [_Handle, _Handle, text, handle], "generate": [_Handle, text, *watch, out], "generator_close": [_Handle],
    }.items():
        f = getattr(lib, "vkcome_" + function)
        f.argtypes, f.restype = arguments + ends, ctypes.c_int32
    return lib


_lib = _load()


def _take(text: ctypes.c_void_p) -> str:
    try:
        return ctypes.string_at(text.value).decode() if text.value else ""
    finally:
        _lib.vkcome_free(text)


def _call(function: str, *arguments: Any) -> None:
    error = _Text()
    code = getattr(_lib, "vkcome_" + function)(*arguments, ctypes.byref(error))
    said = _take(error)
    if code:
        raise _ERRORS.get(code, Error)(said)


def _encode(text: str) -> bytes:
    if "\0" in text:
        raise ValueError("a text for vkcome holds a zero byte")
    return text.encode()


def _ask(function: str, *arguments: Any) -> Any:
    out = _Text()
    _call(function, *arguments, ctypes.byref(out))
    return json.loads(_take(out))


def _watched(function: str, before: list, progress: Optional[Progress], cancel: Optional["Cancel"], call: Callable) -> Any:
    """Calls a function that tells how far it is. An exception of progress cancels it and is raised when it has returned."""
    raised: list = []

    def told(event: bytes, _user: Any) -> int:
        try:
            progress(json.loads(event))
            return 0
        except BaseException as e:  # KeyboardInterrupt too: no exception passes through C
            raised.append(e)
            return 1

    callback = _Callback(told) if progress else _Callback()
    try:
        return call(function, *before, callback, None, cancel._handle if cancel else 0)
    finally:
        if raised:  # also where all was done by then: what was raised is not lost
            raise raised[0]


class _Object:
    _kind = ""

    def __enter__(self):
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Closes it; once is enough, and more does nothing. It is closed after an error too, but for Busy."""
        handle, self._handle = self._handle, _Handle(0)
        if handle.value:
            try:
                _call(self._kind + "_close", handle)
            except Busy:
                self._handle = handle
                raise


class Cancel(_Object):
    """A token by which any thread cancels the calls that have it."""

    _kind = "cancel"

    def __init__(self) -> None:
        self._handle = _Handle()
        _call("cancel_open", ctypes.byref(self._handle))

    def cancel(self) -> None:
        _call("cancel_trigger", self._handle)


class Device(_Object):
    """A device: by its index, UUID or a part of its name, else the best. Threads that share it wait for one another."""

    _kind = "device"

    def __init__(self, device: str = "", **options: Any) -> None:
        self._handle = _Handle()
        self._turn = threading.RLock()
        _call("device_open", _encode(json.dumps({"device": device, **options})), ctypes.byref(self._handle))

    def info(self) -> dict:
        return _ask("device_info", self._handle)


class Model(_Object):
    """A model: a Hugging Face folder, a GGUF file, a name on the hub, or embedded:tiny12."""

    _kind = "model"

    def __init__(self, name: str, progress: Optional[Progress] = None, cancel: Optional[Cancel] = None, **options: Any) -> None:
        self._handle = _Handle()

        def call(function: str, *arguments: Any) -> None:
            _call(function, *arguments, ctypes.byref(self._handle))

        try:
            _watched("model_open", [_encode(name), _encode(json.dumps(options))], progress, cancel, call)
        except BaseException:
            self.close()  # one that was open when progress raised something
            raise

    def inspect(self) -> dict:
        return _ask("model_inspect", self._handle)


class Generator(_Object):
    """A model that continues prompts on a device, or with chat=True answers them."""

    _kind = "generator"

    def __init__(self, device: Device, model: Model, **options: Any) -> None:
        self._handle = _Handle()
        self._turn = device._turn
        _call("generator_open", device._handle, model._handle, _encode(json.dumps(options)), ctypes.byref(self._handle))

    def generate(self, prompt: str, on_text: Optional[Callable[[str], Any]] = None, cancel: Optional[Cancel] = None, **request: Any) -> dict:
        """Continues a prompt. on_text gets the text piece by piece."""
        progress = (lambda event: on_text(event["text"])) if on_text else None
        with self._turn:
            return _watched("generate", [self._handle, _encode(json.dumps({"prompt": prompt, **request}))], progress, cancel, _ask)

    def close(self) -> None:
        with self._turn:
            super().close()


def _compute(function: str, device: Device, models: list, progress: Optional[Progress], cancel: Optional[Cancel], request: dict) -> dict:
    with device._turn:
        return _watched(function, [device._handle, *(m._handle for m in models), _encode(json.dumps(request))], progress, cancel, _ask)


def plan(device: Device, model: Model, progress: Optional[Progress] = None, cancel: Optional[Cancel] = None, **request: Any) -> dict:
    """Says what prune would give and take with the same request."""
    return _compute("plan", device, [model], progress, cancel, request)


def prune(device: Device, model: Model, progress: Optional[Progress] = None, cancel: Optional[Cancel] = None, **request: Any) -> dict:
    """Prunes a model into the folder or .gguf out, and gives its lineage."""
    return _compute("prune", device, [model], progress, cancel, request)


def distill(device: Device, teacher: Model, student: Model, progress: Optional[Progress] = None, cancel: Optional[Cancel] = None, **request: Any) -> dict:
    """Trains the merged layers of a pruned model against those of its teacher."""
    return _compute("distill", device, [teacher, student], progress, cancel, request)


def evaluate(device: Device, model: Model, progress: Optional[Progress] = None, cancel: Optional[Cancel] = None, **request: Any) -> dict:
    """Measures perplexity on a corpus, accuracy in tasks, or both."""
    return _compute("evaluate", device, [model], progress, cancel, request)


def devices() -> list:
    """Lists the Vulkan devices, best first."""
    return _ask("devices")["devices"]


def version() -> str:
    """The version of vkcome."""
    return _take(ctypes.c_void_p(_lib.vkcome_version()))
