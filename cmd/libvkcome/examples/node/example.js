// A program that embeds vkcome: it prunes a model with progress, cancels another run, generates text, and goes on after a model that is cut off
// and a device that is lost.
//
//     make lib
//     cd cmd/libvkcome/examples/node && npm ci
//     VKCOME_LIBRARY=../../../../bin/libvkcome.so node example.js embedded:tiny12 ../../../../testdata/golden/calib_tokens.json FOLDER [BROKEN]
'use strict'

const path = require('node:path')
const { Device, Model, Generator, prune, devices } = require('./vkcome.js')

// refused is the error of a promise that must fail with a code.
async function refused(code, promise) {
  try {
    await promise
  } catch (error) {
    if (error.code === code) return error.message
    throw error
  }
  throw new Error(`nothing failed with ${code}`)
}

async function main(name, tokens, folder, broken) {
  console.log('vkcome on', (await devices())[0].name)
  const request = { target_layers: 8, method: 'come', corpus: { token_file: tokens, window: 128 } }
  const out = path.join(folder, 'pruned')
  let device = await Device.open()
  const model = await Model.open(name)
  console.log('model of', (await model.inspect()).layers, 'layers')
  if (broken) console.log('a truncated model:', await refused('VKCOME_ERROR_MODEL', Model.open(broken)))

  let ticks = 0, events = 0
  const clock = setInterval(() => ticks++, 5)
  const progress = () => { events++ }
  let lineage
  try {
    lineage = await prune(device, model, { ...request, out }, { progress })
  } catch (error) {
    if (error.code !== 'VKCOME_ERROR_DEVICE_LOST') throw error
    console.log('lost:', error.message) // open it anew, and go on with what was done
    await device.close()
    device = await Device.open()
    lineage = await prune(device, model, { ...request, out, resume: true }, { progress })
  }
  clearInterval(clock)
  console.log('pruned to', lineage.tree.length, 'layers, with', events > 10 ? 'progress' : 'too little progress')
  console.log('the event loop', ticks > 10 ? 'went on' : 'stood still')

  const abort = new AbortController()
  const cancelled = prune(device, model, { ...request, out: path.join(folder, 'cancelled') }, { progress: () => abort.abort(), signal: abort.signal })
  console.log('a cancelled run:', await refused('VKCOME_ERROR_CANCELLED', cancelled))

  const pruned = await Model.open(out)
  const generator = await Generator.open(device, pruned, { max_tokens: 12 })
  const pieces = []
  const { text } = await generator.generate('The film is', { onText: (piece) => pieces.push(piece) })
  console.log('generated:', text, 'in', pieces.length, 'pieces', pieces.join('') === text ? 'that are the text' : 'that are another text')
  console.log('a device in use:', await refused('VKCOME_ERROR_BUSY', device.close()))
  await generator.close()
  await Promise.all([pruned.close(), model.close()])
  await device.close()
  console.log('done')
}

main(...process.argv.slice(2)).catch((error) => {
  console.error(error)
  process.exitCode = 1
})
