// vkcome for Node. Every call that takes time returns a promise, and the event loop goes on meanwhile: the library works on a thread of Node's
// pool, and progress functions run on the event loop. Requests and results are objects; vkcome.h and its README list their fields.
//
//     const device = await Device.open(), model = await Model.open('embedded:tiny12')
//     await prune(device, model, { out: 'small', target_layers: 8, corpus: { sources: ['text.txt'] } }, { progress: console.log })
//     await model.close(); await device.close()
//
// { progress, signal }: a function that gets an object for each event, and an AbortSignal that cancels the call. What progress throws cancels
// it too and comes out of it.
'use strict'

const fs = require('node:fs')
const path = require('node:path')
const koffi = require('koffi')

const abi = [1, 0] // of vkcome.h that this was written for

function library() {
  const name = { win32: 'vkcome.dll', darwin: 'libvkcome.dylib' }[process.platform] ?? 'libvkcome.so'
  const beside = path.join(__dirname, name)
  return koffi.load(process.env.VKCOME_LIBRARY ?? (fs.existsSync(beside) ? beside : name))
}

const lib = library()
const version = lib.func('uint32_t vkcome_abi_version()')()
if (version >>> 16 !== abi[0] || ((version >>> 8) & 255) < abi[1]) {
  throw new Error(`vkcome: the library has interface ${version >>> 16}.${(version >>> 8) & 255}, and ${abi.join('.')} is needed`)
}

const free = lib.func('void vkcome_free(void *text)')
koffi.disposable('Text', 'str', free)
koffi.proto('int Progress(const char *json, void *user)')
const codeName = lib.func('Text vkcome_code_name(int32_t code)')

const watch = 'Progress *progress, void *user, uint64_t cancel'
const functions = {
  devices: lib.func('int32_t vkcome_devices(_Out_ Text *json, _Out_ Text *error)'),
  device_open: lib.func('int32_t vkcome_device_open(const char *options, _Out_ uint64_t *device, _Out_ Text *error)'),
  device_info: lib.func('int32_t vkcome_device_info(uint64_t device, _Out_ Text *json, _Out_ Text *error)'),
  device_close: lib.func('int32_t vkcome_device_close(uint64_t device, _Out_ Text *error)'),
  cancel_open: lib.func('int32_t vkcome_cancel_open(_Out_ uint64_t *cancel, _Out_ Text *error)'),
  cancel_trigger: lib.func('int32_t vkcome_cancel_trigger(uint64_t cancel, _Out_ Text *error)'),
  cancel_close: lib.func('int32_t vkcome_cancel_close(uint64_t cancel, _Out_ Text *error)'),
  model_open: lib.func(`int32_t vkcome_model_open(const char *name, const char *options, ${watch}, _Out_ uint64_t *model, _Out_ Text *error)`),
  model_inspect: lib.func('int32_t vkcome_model_inspect(uint64_t model, _Out_ Text *json, _Out_ Text *error)'),
  model_close: lib.func('int32_t vkcome_model_close(uint64_t model, _Out_ Text *error)'),
  plan: lib.func(`int32_t vkcome_plan(uint64_t device, uint64_t model, const char *request, ${watch}, _Out_ Text *json, _Out_ Text *error)`),
  prune: lib.func(`int32_t vkcome_prune(uint64_t device, uint64_t model, const char *request, ${watch}, _Out_ Text *json, _Out_ Text *error)`),
  distill: lib.func(`int32_t vkcome_distill(uint64_t device, uint64_t teacher, uint64_t student, const char *request, ${watch}, _Out_ Text *json, _Out_ Text *error)`),
  evaluate: lib.func(`int32_t vkcome_evaluate(uint64_t device, uint64_t model, const char *request, ${watch}, _Out_ Text *json, _Out_ Text *error)`),
  generator_open: lib.func('int32_t vkcome_generator_open(uint64_t device, uint64_t model, const char *options, _Out_ uint64_t *generator, _Out_ Text *error)'),
  generate: lib.func(`int32_t vkcome_generate(uint64_t generator, const char *request, ${watch}, _Out_ Text *json, _Out_ Text *error)`),
  generator_close: lib.func('int32_t vkcome_generator_close(uint64_t generator, _Out_ Text *error)')
}

// VkcomeError is what the library says went wrong. code is the name in vkcome.h, as VKCOME_ERROR_BUSY.
class VkcomeError extends Error {
  constructor(number, text) {
    super(text)
    this.name = 'VkcomeError'
    this.code = codeName(number)
  }
}

function text(value) {
  if (value.includes('\0')) throw new TypeError('a text for vkcome holds a zero byte')
  return value
}

const json = (value) => text(JSON.stringify(value ?? {}))

// call calls a function on a thread of the pool; out, if it is not undefined, is the place of what it gives.
function call(name, before, out) {
  const error = [null]
  return new Promise((resolve, reject) => {
    functions[name].async(...before, ...(out ? [out, error] : [error]), (failed, code) => {
      if (failed) reject(failed)
      else if (code !== 0) reject(new VkcomeError(code, error[0]))
      else resolve(out?.[0])
    })
  })
}

const ask = async (name, before) => JSON.parse(await call(name, before, [null]))

// watched calls a function that tells how far it is and can be cancelled.
async function watched(name, before, { progress, signal } = {}, out = [null]) {
  let thrown, callback = null, cancel = 0
  const abort = () => functions.cancel_trigger(cancel, [null])
  if (progress) {
    callback = koffi.register((event) => {
      try {
        progress(JSON.parse(event))
        return 0
      } catch (e) { // nothing is thrown through C
        thrown ??= { e }
        return 1
      }
    }, 'Progress *')
  }
  try {
    if (signal) {
      cancel = await call('cancel_open', [], [null])
      signal.addEventListener('abort', abort)
      if (signal.aborted) abort()
    }
    const given = await call(name, [...before, callback, null, cancel], out)
    if (thrown) throw thrown.e // all was done by then; what was thrown is not lost
    return given
  } catch (e) {
    throw thrown ? thrown.e : e
  } finally {
    signal?.removeEventListener('abort', abort)
    if (cancel) await call('cancel_close', [cancel])
    if (callback) koffi.unregister(callback)
  }
}

class Closable {
  constructor(kind, handle) {
    this.kind = kind
    this.handle = handle
  }

  // close closes it; once is enough, and more does nothing.
  async close() {
    const handle = this.handle
    if (!handle) return
    this.handle = 0
    try {
      await call(this.kind + '_close', [handle])
    } catch (e) {
      if (e.code === 'VKCOME_ERROR_BUSY') this.handle = handle
      throw e
    }
  }
}

class Device extends Closable {
  // open opens a device: { device: '0' } by its index, UUID or a part of its name, else the best.
  static async open(options) {
    return new Device('device', await call('device_open', [json(options)], [null]))
  }

  info() {
    return ask('device_info', [this.handle])
  }

  // inTurn does work when what was asked before has ended: the library computes one thing at a time on a device.
  inTurn(work) {
    const turn = (this.last ?? Promise.resolve()).then(work)
    this.last = turn.catch(() => {})
    return turn
  }
}

class Model extends Closable {
  // open opens a Hugging Face folder, a GGUF file, a name on the hub, or embedded:tiny12.
  static async open(name, options, watch) {
    const handle = [null]
    try {
      return new Model('model', await watched('model_open', [text(name), json(options)], watch, handle))
    } catch (e) {
      if (handle[0]) await call('model_close', handle) // it was open when progress threw something
      throw e
    }
  }

  inspect() {
    return ask('model_inspect', [this.handle])
  }
}

class Generator extends Closable {
  static async open(device, model, options) {
    const g = new Generator('generator', await call('generator_open', [device.handle, model.handle, json(options)], [null]))
    g.device = device
    return g
  }

  // generate continues a prompt; onText gets the text piece by piece.
  generate(prompt, { onText, signal, ...request } = {}) {
    const progress = onText && ((event) => onText(event.text))
    return this.device.inTurn(async () => JSON.parse(await watched('generate', [this.handle, json({ prompt, ...request })], { progress, signal })))
  }

  close() {
    return this.device.inTurn(() => super.close())
  }
}

// compute asks for a result that takes a device and models.
function compute(name, device, models, request, watch) {
  const before = [device.handle, ...models.map((m) => m.handle), json(request)]
  return device.inTurn(async () => JSON.parse(await watched(name, before, watch)))
}

module.exports = {
  Device, Model, Generator, VkcomeError,
  plan: (device, model, request, watch) => compute('plan', device, [model], request, watch),
  prune: (device, model, request, watch) => compute('prune', device, [model], request, watch),
  distill: (device, teacher, student, request, watch) => compute('distill', device, [teacher, student], request, watch),
  evaluate: (device, model, request, watch) => compute('evaluate', device, [model], request, watch),
  devices: async () => (await ask('devices', [])).devices
}
