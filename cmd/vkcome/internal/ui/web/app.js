// The page of vkcome's local application. What it shows comes from the server as one state; text of models and files is only ever put into
// the page as text.

const $ = (id) => document.getElementById(id);
const csrf = document.querySelector('meta[name=csrf]').content;

async function call(path, body) {
  const options = body === undefined ? {} : { method: 'POST', headers: { 'Content-Type': 'application/json', 'X-Vkcome-Csrf': csrf }, body: JSON.stringify(body) };
  const answer = await fetch('api/' + path, options);
  if (!(answer.headers.get('Content-Type') || '').includes('json')) throw new Error(await answer.text());
  if (!answer.ok) throw new Error((await answer.json()).error);
  return answer;
}
const ask = async (path, body) => (await call(path, body)).json();

function element(tag, attributes = {}, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) e.addEventListener(name.slice(2), value);
    else e.setAttribute(name, value);
  }
  e.append(...children);
  return e;
}

function problem(id, error) {
  $(id).hidden = !error;
  $(id).textContent = error ? error.message : '';
}

// attempt does something that may fail, and shows the error in its place.
async function attempt(id, f) {
  problem(id, null);
  try {
    return await f();
  } catch (error) {
    problem(id, error);
  }
}

function bytes(n) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let i = 0;
  while (n >= 1024 && i < units.length - 1) { n /= 1024; i++; }
  return n.toFixed(i ? 1 : 0) + ' ' + units[i];
}
const count = (n) => n.toLocaleString('en');
function duration(s) {
  if (s < 60) return s.toFixed(s < 10 ? 1 : 0) + ' s';
  if (s < 3600) return Math.floor(s / 60) + ' min ' + Math.round(s % 60) + ' s';
  return Math.floor(s / 3600) + ' h ' + Math.round(s % 3600 / 60) + ' min';
}

// The picture of layers: those of the original above, and below what they have become.

const leaves = (tree) => Array.isArray(tree) ? tree.flatMap(leaves) : [tree];

function picture(originals, tree) {
  const grid = element('div', { class: 'layers' + (originals > 36 ? ' many' : ''), 'aria-hidden': 'true' });
  grid.style.gridTemplateColumns = `repeat(${originals}, minmax(0, 1fr))`;
  const put = (row, from, to, kind, text) => {
    const cell = element('span', { class: kind, title: text }, text);
    cell.style.gridRow = row;
    cell.style.gridColumn = `${from + 1} / ${to + 2}`;
    grid.append(cell);
  };
  const there = new Set(tree.flatMap(leaves));
  const merged = [];
  for (let l = 0; l < originals; l++) put(1, l, l, there.has(l) ? 'original' : 'gone', String(l));
  for (const node of tree) {
    const from = leaves(node);
    put(2, Math.min(...from), Math.max(...from), from.length > 1 ? 'merged' : 'kept', from.join('+'));
    if (from.length > 1) merged.push(from.join('+'));
  }
  const gone = [];
  for (let l = 0; l < originals; l++) if (!there.has(l)) gone.push(l);
  const words = [`${originals} layers → ${tree.length}`];
  if (merged.length) words.push('merged: ' + merged.join(', '));
  if (gone.length) words.push('dropped: ' + gone.join(', '));
  return element('figure', {}, grid, element('figcaption', {}, words.join(' · ')));
}

// State from the server.

let state = { job: null, runs: [], recent: [] };
let drawn = '';

const events = new EventSource('api/events');
events.onmessage = (e) => {
  $('lost').hidden = true;
  state = JSON.parse(e.data);
  showJob();
  const rest = JSON.stringify([state.runs, state.recent, state.job && state.job.state]);
  if (rest !== drawn) { // so that what has the focus stays where nothing changed
    drawn = rest;
    showRuns();
    showSuggestions();
  }
};
events.onerror = () => { $('lost').hidden = false; };

const kinds = { run: 'Pruning', measure: 'Measuring perplexity', export: 'Writing a GGUF' };
const text = (id, value) => { if ($(id).textContent !== value) $(id).textContent = value; };
let figured = '';

function showJob() {
  const j = state.job;
  $('now').hidden = !j || (j.state === 'done' && j.kind !== 'run');
  if (!j) return;
  const run = state.runs.find((r) => r.id === j.run);
  const going = j.state === 'running';
  text('now-title', going ? kinds[j.kind] : `${kinds[j.kind]}: ${j.state}`);
  text('now-what', run ? `${run.name}, ${run.originals} → ${run.spec.layers} layers` : '');
  const figure = JSON.stringify([j.tree, run && run.originals]);
  if (figure !== figured) {
    figured = figure;
    $('now-figure').replaceChildren(...(j.tree && run ? [picture(run.originals, j.tree)] : []));
  }
  $('now-bar').hidden = !going;
  if (j.total) $('now-bar').value = j.done / j.total;
  else $('now-bar').removeAttribute('value');
  text('now-stage', going ? (j.stage === 'prune' ? 'take layers away' : j.stage) : { done: 'Done.', stopped: 'Stopped. What was done is kept.', failed: '' }[j.state]);
  text('now-numbers', [j.total && going ? `${count(j.done)} of ${count(j.total)}` : '', duration(j.seconds), j.memory ? j.memory + ' on the device' : ''].filter(Boolean).join(' · '));
  $('now-notes').replaceChildren(...(j.notes || []).map((n) => element('li', {}, n)));
  problem('now-error', j.error ? new Error(j.error) : null);
  $('stop').hidden = !going;
  $('resume').hidden = going || !run || !run.resumable;
  $('stop').parentNode.hidden = $('stop').hidden && $('resume').hidden;
  $('start').disabled = $('plan').disabled = $('measure').disabled = going;
  $('say').disabled = going || Boolean(talking);
}

$('stop').addEventListener('click', () => attempt('now-error', () => ask('stop', {})));
$('resume').addEventListener('click', () => attempt('now-error', () => ask('resume', { id: state.job.run })));

function showSuggestions() {
  const names = [...new Set([...state.recent, ...known])];
  $('models').replaceChildren(...names.map((n) => element('option', { value: n })));
  $('suggestions').replaceChildren(...names.slice(0, 12).map((n) => element('button', { type: 'button', onclick: () => { $('model').value = n; useModel(); } }, n)));
}

function showRuns() {
  const runs = [...state.runs].reverse();
  const busy = state.job && state.job.state === 'running';
  $('no-runs').hidden = runs.length > 0;
  const focus = document.activeElement && document.activeElement.dataset.key;
  $('run-list').replaceChildren(...runs.map((r) => article(r, busy)));
  if (focus) document.querySelector(`[data-key="${focus}"]`)?.focus();
  const finished = runs.filter((r) => r.state === 'done');
  $('compare').hidden = finished.length === 0;
  table(finished);
  $('chat-box').hidden = finished.length === 0;
  $('no-chat').hidden = finished.length > 0;
  const chosen = $('chat-run').value;
  $('chat-run').replaceChildren(...finished.map((r) => element('option', { value: r.id }, `${r.id}: ${r.name}, ${r.originals} → ${r.spec.layers} layers`)));
  if (finished.some((r) => String(r.id) === chosen)) $('chat-run').value = chosen;
}

function article(r, busy) {
  const error = element('p', { class: 'problem', role: 'alert', id: `run-error-${r.id}`, hidden: '' });
  const button = (label, f, off) => {
    const b = element('button', { type: 'button', 'data-key': `${label}-${r.id}`, 'aria-label': `${label}: run ${r.id}`, onclick: () => attempt(error.id, f) }, label);
    b.disabled = off;
    return b;
  };
  const parts = [element('h3', {}, `${r.id}. ${r.name}`, element('span', { class: 'state ' + r.state }, r.state))];
  const facts = [`${r.originals} → ${r.spec.layers} layers`, r.method];
  if (r.parameters) facts.push(`${count(r.parameters)} parameters`, bytes(r.bytes));
  if (r.seconds) facts.push(duration(r.seconds));
  parts.push(element('p', { class: 'quiet' }, facts.filter(Boolean).join(' · ')), ...[r.spec.out, r.gguf].filter(Boolean).map((path) => element('p', { class: 'quiet path' }, path)));
  if (r.state === 'done' && r.tree) parts.push(picture(r.originals, r.tree));
  if (r.error) parts.push(element('p', { class: 'problem' }, r.error));
  const buttons = [];
  if (r.state === 'done') {
    buttons.push(button('Report', () => { window.open('report/' + r.id, '_blank', 'noopener'); }));
    buttons.push(button('Open folder', () => ask('open', { id: r.id })));
    if (!r.gguf) buttons.push(button('Export GGUF', () => ask('export', { id: r.id, type: '' }), busy));
    buttons.push(button('Chat', async () => { $('chat-run').value = r.id; anew(); $('message').focus(); }));
  }
  if (r.resumable) buttons.push(button('Resume', () => ask('resume', { id: r.id }), busy));
  if (r.state !== 'running') buttons.push(button('Forget', () => ask('forget', { id: r.id })));
  parts.push(error, element('p', { class: 'buttons' }, ...buttons));
  return element('article', { 'aria-label': `Run ${r.id}` }, ...parts);
}

const base = (path) => path.split('/').pop();

function table(runs) {
  const texts = [...new Set(runs.flatMap((r) => (r.perplexity || []).map((p) => p.text)))];
  const head = ['run', 'layers', 'method', 'parameters', 'weights', 'time', ...texts.map((t) => 'perplexity, ' + base(t))];
  $('table').tHead.replaceChildren(element('tr', {}, ...head.map((h) => element('th', { scope: 'col' }, h))));
  $('table').tBodies[0].replaceChildren(...runs.map((r) => {
    const cells = [`${r.id}. ${r.name}`, `${r.originals} → ${r.spec.layers}`, r.method, count(r.parameters), bytes(r.bytes), duration(r.seconds)];
    for (const t of texts) {
      const p = (r.perplexity || []).find((p) => p.text === t);
      cells.push(p ? `${p.original.toFixed(2)} → ${p.pruned.toFixed(2)}` : '');
    }
    return element('tr', {}, ...cells.map((c) => element('td', {}, c)));
  }));
}

$('measure-form').addEventListener('submit', (e) => {
  e.preventDefault();
  attempt('measure-error', () => ask('measure', { text: $('measure-text').value, device: $('device').value }));
});

// Choosing.

let known = [];
let chosen = null; // the model, as the server described it

async function useModel() {
  $('model-said').textContent = 'Reading…';
  chosen = null;
  for (const id of ['target', 'how', 'where']) $(id).disabled = true;
  try {
    chosen = await ask('model', { model: $('model').value.trim() });
  } catch (error) {
    $('model-said').textContent = '';
    $('model-said').append(element('span', { class: 'problem' }, error.message));
    return;
  }
  const whole = chosen.depths[0];
  $('model').value = chosen.model;
  $('model-said').textContent = `${chosen.name}: ${chosen.layers} layers, ${count(whole.parameters)} parameters, ${bytes(whole.bytes)}${chosen.chat ? '' : ', no chat template'}`;
  for (const id of ['target', 'how', 'where']) $(id).disabled = false;
  $('layers').max = chosen.layers - 1;
  $('layers').value = Math.max(1, Math.round(chosen.layers * 0.75));
  $('out').value = chosen.out;
  showTarget(true);
}

function depth() { return chosen.depths.find((d) => d.layers === Number($('layers').value)); }
let unit = 1 << 20;

function showTarget(setSize) {
  const d = depth();
  $('layers-out').textContent = `${d.layers} of ${chosen.layers}`;
  $('layers').setAttribute('aria-valuetext', `${d.layers} layers, ${bytes(d.bytes)}`);
  unit = chosen.depths[0].bytes >= 2 ** 31 ? 2 ** 30 : 2 ** 20;
  $('unit').textContent = unit === 2 ** 30 ? 'GiB' : 'MiB';
  if (setSize) $('size').value = (Math.ceil(d.bytes / unit * 100) / 100).toFixed(2);
  $('target-said').textContent = `${count(d.parameters)} parameters, ${bytes(d.bytes)} of weights, ${(100 * d.sparsity).toFixed(1)} % fewer`;
  $('plan-said').textContent = '';
}

$('layers').addEventListener('input', () => showTarget(true));
$('size').addEventListener('input', () => {
  const most = Number($('size').value) * unit;
  const fits = chosen.depths.filter((d) => d.layers < chosen.layers && d.bytes <= most);
  $('layers').value = fits.length ? Math.max(...fits.map((d) => d.layers)) : 1;
  showTarget(false);
});
$('use-model').addEventListener('click', useModel);
$('model').addEventListener('keydown', (e) => {
  if (e.key === 'Enter') { e.preventDefault(); useModel(); }
});

const spec = () => ({ model: chosen.model, device: $('device').value, layers: Number($('layers').value), method: $('method').value, text: $('text').value.trim(), out: $('out').value.trim() });

$('form').addEventListener('submit', (e) => {
  e.preventDefault();
  if (!chosen) return;
  attempt('form-error', async () => {
    await ask('run', spec());
    $('now').hidden = false;
    $('now').scrollIntoView();
    $('stop').focus({ preventScroll: true });
  });
});

$('plan').addEventListener('click', () => attempt('form-error', async () => {
  $('plan-said').textContent = 'Running one layer to find out…';
  try {
    const p = await ask('plan', spec());
    $('plan-said').textContent = p.windows ? `At most ${duration(p.seconds)} for the passes through the layers, beside fitting and writing; at most ${p.device} of the device's memory and ${p.host} of the host's. ${p.windows} windows of ${p.window} tokens, method ${p.method}.`
      : `${p.method} needs no calibration: it takes as long as writing the model.`;
  } catch (error) {
    $('plan-said').textContent = '';
    throw error;
  }
}));

// Browsing: a dialog of folders, which Escape closes and the arrow keys walk.

let browsing = null;

for (const b of document.querySelectorAll('[data-browse]')) {
  b.addEventListener('click', () => {
    browsing = b.dataset.browse;
    $('browser-title').textContent = browsing === 'out' ? 'Where to write' : browsing === 'model' ? 'Choose a model' : 'Choose a text';
    $('browser').showModal();
    goTo('');
  });
}

let here = '';
const goTo = (dir) => attempt('browser-error', async () => {
  const l = await ask('browse?dir=' + encodeURIComponent(dir));
  here = l.dir;
  $('browser-dir').textContent = l.dir || 'Folders that this application was opened for';
  const item = (label, f) => element('li', {}, element('button', { type: 'button', onclick: f }, label));
  const items = [];
  if (l.dir) items.push(item('↑ ..', () => goTo(l.parent)));
  for (const e of l.entries) {
    if (e.dir) items.push(item('📁 ' + e.name, () => goTo(e.path)));
    else if (browsing !== 'out') items.push(item(e.name, () => take(e.path)));
  }
  if (!items.length) items.push(element('li', { class: 'quiet' }, 'Empty.'));
  $('browser-list').replaceChildren(...items);
  $('browser-take').disabled = !l.dir;
  $('browser-list').querySelector('button')?.focus();
});

function take(path) {
  if (browsing === 'out') path += '/' + (base($('out').value) || 'pruned');
  $(browsing).value = path;
  $('browser').close();
  $(browsing).focus();
  if (browsing === 'model') useModel();
}
$('browser-take').addEventListener('click', () => take(here));
$('browser-close').addEventListener('click', () => $('browser').close());
$('browser-list').addEventListener('keydown', (e) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[e.key];
  if (!step) return;
  e.preventDefault();
  const all = [...$('browser-list').querySelectorAll('button')];
  all[Math.min(all.length - 1, Math.max(0, all.indexOf(document.activeElement) + step))]?.focus();
});

// Chat.

let talking = null; // what ends the answer that is being written
let fresh = true; // the models have heard nothing

function anew() {
  fresh = true;
  $('talk').replaceChildren();
  problem('chat-error', null);
}
$('anew').addEventListener('click', () => { anew(); $('message').focus(); });
$('chat-run').addEventListener('change', anew);
$('hush').addEventListener('click', () => talking?.abort());
$('message').addEventListener('keydown', (e) => {
  if (e.key === 'Enter' && !e.shiftKey) { e.preventDefault(); $('chat-form').requestSubmit(); }
  if (e.key === 'Escape') talking?.abort();
});

$('chat-form').addEventListener('submit', (e) => {
  e.preventDefault();
  const message = $('message').value;
  if (talking || !message.trim()) return;
  attempt('chat-error', async () => {
    talking = new AbortController();
    $('say').disabled = true;
    $('hush').hidden = false;
    const sides = {};
    const turn = element('div', { class: 'turn' }, element('div', { class: 'asked' }, message));
    for (const side of ['original', 'pruned']) {
      sides[side] = element('p', {}, '');
      turn.append(element('div', { class: 'said', 'data-side': side }, element('b', {}, side), sides[side]));
    }
    $('talk').append(turn);
    try {
      const answer = await fetch('api/chat', {
        method: 'POST', headers: { 'Content-Type': 'application/json', 'X-Vkcome-Csrf': csrf }, signal: talking.signal,
        body: JSON.stringify({ id: Number($('chat-run').value), device: $('device').value, message, anew: fresh }),
      });
      if (!answer.ok) {
        turn.remove();
        throw new Error((await answer.json()).error);
      }
      fresh = false;
      $('message').value = '';
      await lines(answer.body, (piece) => {
        if (piece.error) throw new Error(piece.error + '; the next message begins anew');
        if (piece.text) sides[piece.side].textContent += piece.text;
        if (piece.ended) sides[piece.side].parentNode.dataset.ended = 'yes';
      });
    } catch (error) {
      fresh = true; // what the models have heard is not known
      if (error.name !== 'AbortError') throw error;
      throw new Error('Stopped. The next message begins anew.');
    } finally {
      talking = null;
      $('say').disabled = Boolean(state.job && state.job.state === 'running');
      $('hush').hidden = true;
    }
  });
});

// lines reads a stream of JSON, a value a line.
async function lines(body, each) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split('\n');
    rest = parts.pop();
    for (const p of parts) if (p) each(JSON.parse(p));
  }
}

// What is there at first.

attempt('form-error', async () => {
  const [m, d] = await Promise.all([ask('models'), ask('devices')]);
  known = [...m.cached, m.embedded];
  showSuggestions();
  $('device').replaceChildren(...d.devices.map((x) => element('option', { value: x.index }, `${x.name} (${x.kind}), ${x.tier}, ${x.memory}`)));
  const wanted = d.devices.find((x) => d.chosen !== '' && (String(x.index) === d.chosen || x.name.toLowerCase().includes(d.chosen.toLowerCase())));
  if (wanted) $('device').value = wanted.index;
});
