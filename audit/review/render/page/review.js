'use strict';
// Whatever comes from the log is set as text, never as markup.
const data = JSON.parse(document.getElementById('data').textContent);
const views = new Map(data.views.map(v => [v.id, v]));
const byId = id => document.getElementById(id);
const make = (tag, text, cls) => { const e = document.createElement(tag); if (text !== undefined) e.textContent = text; if (cls) e.className = cls; return e; };
const svgTag = (tag, attributes, text) => {
  const e = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  if (text !== undefined) e.textContent = text;
  return e;
};
const clock = ms => ms ? new Date(ms).toISOString().replace('T', ' ').slice(0, 19) : '';
const column = (view, name) => view.columns.findIndex(c => c.name === name);
const choose = (e, act) => {
  e.setAttribute('tabindex', '0');
  e.setAttribute('role', 'button');
  e.addEventListener('click', act);
  e.addEventListener('keydown', k => { if (k.key === 'Enter' || k.key === ' ') { k.preventDefault(); act(); } });
};

function summary() {
  const b = views.get('bypasses'), certain = column(b, 'Certain'), kind = column(b, 'Kind');
  const gone = b.rows.filter(r => r[certain] && (r[kind] === 'no-decision' || r[kind] === 'failed-open')).length;
  const tiles = [
    ['Certain bypasses', gone, gone > 0], ['Other bypasses', b.rows.length - gone], ['Allowed', data.decisions.Allow || 0], ['Denied', data.decisions.Deny || 0],
    ['Failed', data.decisions.Error || 0, (data.decisions.Error || 0) > 0], ['Label changes', views.get('labelChanges').rows.length],
  ];
  for (const [name, n, bad] of tiles) {
    const li = make('li', name, bad ? 'bad' : '');
    li.prepend(make('b', n.toLocaleString('en')));
    byId('tiles').append(li);
  }
  for (const n of data.notes) byId('notes').append(make('li', n));
}

function topBypasses() {
  const b = views.get('bypasses'), kind = column(b, 'Kind'), certain = column(b, 'Certain'), why = column(b, 'Why');
  const grave = ['failed-open', 'no-decision', 'tampering', 'impersonation', 'exempted', 'token-minted', 'connected'];
  const order = b.rows.map((r, i) => i).sort((x, y) => grave.indexOf(b.rows[x][kind]) - grave.indexOf(b.rows[y][kind]) || x - y);
  for (const i of order.slice(0, 100)) {
    const r = b.rows[i], li = make('li');
    const bad = r[certain] && grave.indexOf(r[kind]) < 2;
    li.append(make('time', clock(r[0])), make('span', r[kind] + (r[certain] ? '' : '?'), 'tag ' + (bad ? 'bad' : 'warn')), make('span', r[1] + ' · ' + r[2] + ' · ' + r[why]));
    byId('top-bypasses').append(li);
  }
  if (order.length > 100) byId('top-bypasses').append(make('li', 'and ' + (order.length - 100) + ' more below'));
  if (order.length === 0) byId('top-bypasses').append(make('li', 'Nothing in this log went around saguard.', 'none'));
}

// nice returns bounds that hold all times, never empty.
const bounds = () => [data.from, Math.max(data.to, data.from + 1000)];

function heat() {
  const v = views.get('denials'), check = column(v, 'Check'), [from, to] = bounds(), buckets = 60, w = 14, left = 150;
  const counts = new Map();
  for (const r of v.rows) {
    if (!counts.has(r[check])) counts.set(r[check], new Array(buckets).fill(0));
    counts.get(r[check])[Math.min(buckets - 1, Math.max(0, Math.floor((r[0] - from) / (to - from) * buckets)))]++;
  }
  if (counts.size === 0) { byId('heat').append(make('p', 'Nothing was denied.', 'help')); return; }
  const most = Math.max(...[...counts.values()].map(c => Math.max(...c)));
  const names = [...counts.keys()].sort(), h = names.length * 22 + 24;
  const svg = svgTag('svg', { viewBox: `0 0 ${left + buckets * w} ${h}`, width: left + buckets * w, role: 'group', 'aria-label': 'Denials by check and time' });
  names.forEach((name, y) => {
    svg.append(svgTag('text', { x: 0, y: y * 22 + 15 }, name));
    counts.get(name).forEach((n, x) => {
      const at = from + (to - from) * x / buckets, until = from + (to - from) * (x + 1) / buckets;
      const cell = svgTag('rect', { x: left + x * w, y: y * 22, width: w, height: 20, class: 'cell' });
      cell.setAttribute('fill', n ? `rgba(${getComputedStyle(document.documentElement).getPropertyValue('--heat')}, ${0.2 + 0.8 * n / most})` : 'transparent');
      cell.append(svgTag('title', {}, `${name}: ${n} from ${clock(at)}`));
      if (n) { cell.setAttribute('aria-label', `${name}: ${n} denials from ${clock(at)}`); choose(cell, () => show('denials', name, [at, until])); }
      svg.append(cell);
    });
  });
  svg.append(svgTag('text', { x: left, y: h - 6, class: 'soft' }, clock(from)), svgTag('text', { x: left + buckets * w, y: h - 6, 'text-anchor': 'end', class: 'soft' }, clock(to)));
  byId('heat').append(svg);
}

function timeline() {
  const v = views.get('labelChanges'), account = column(v, 'Account'), key = column(v, 'Label'), now = column(v, 'New'), was = column(v, 'Old'), applied = column(v, 'Applied');
  const [from, to] = bounds(), left = 230, width = 900, per = new Map();
  for (const r of v.rows) { if (!per.has(r[account])) per.set(r[account], []); per.get(r[account]).push(r); }
  if (per.size === 0) { byId('timeline').append(make('p', 'No label of a service account was changed.', 'help')); return; }
  const names = [...per.keys()].sort((x, y) => per.get(y).length - per.get(x).length || (x < y ? -1 : 1)).slice(0, 30), h = names.length * 24 + 22;
  const svg = svgTag('svg', { viewBox: `0 0 ${left + width + 20} ${h}`, width: left + width + 20, role: 'group', 'aria-label': 'Label changes by account and time' });
  const hue = text => { let n = 7; for (const c of String(text)) n = (n * 31 + c.codePointAt(0)) % 360; return n; };
  names.forEach((name, y) => {
    const label = svgTag('text', { x: 0, y: y * 24 + 15, class: 'row-name' }, name.length > 32 ? name.slice(0, 31) + '…' : name);
    choose(label, () => show('labelChanges', name));
    svg.append(label, svgTag('line', { x1: left, x2: left + width, y1: y * 24 + 11, y2: y * 24 + 11, class: 'rule' }));
    const drawn = new Set();
    for (const r of per.get(name)) {
      const x = Math.round(left + (r[0] - from) / (to - from) * width), mark = x + '/' + r[now] + '/' + r[applied];
      if (drawn.has(mark)) continue; // of many in one place one is enough to see
      drawn.add(mark);
      const color = `hsl(${hue(r[key] + r[now])} 65% 50%)`;
      const dot = svgTag('circle', { cx: x, cy: y * 24 + 11, r: 6, fill: r[applied] ? color : 'none', stroke: color, 'stroke-width': 2 });
      dot.append(svgTag('title', {}, `${clock(r[0])} ${r[1]}: ${r[key]} ${r[was] ?? '-'} → ${r[now] ?? '-'}${r[applied] ? '' : ' (refused)'}`));
      svg.append(dot);
    }
  });
  svg.append(svgTag('text', { x: left, y: h - 4, class: 'soft' }, clock(from)), svgTag('text', { x: left + width, y: h - 4, 'text-anchor': 'end', class: 'soft' }, clock(to)));
  byId('timeline').append(svg);
  if (per.size > names.length) byId('timeline').append(make('p', `The ${names.length} accounts with most changes of ${per.size}; the table has all.`, 'help'));
}

// The table draws only the rows that are seen.
const rowHeight = 29;
const state = { view: data.views[0], rows: [], span: null, sort: 0, down: false, open: -1, text: new Map() };

function textOf(view, i) {
  let texts = state.text.get(view.id);
  if (!texts) { texts = new Array(view.rows.length); state.text.set(view.id, texts); }
  return texts[i] ??= view.rows[i].map((c, n) => view.columns[n].kind === 'time' ? clock(c) : c === null ? '' : String(c)).join('\u0001').toLowerCase();
}

function refresh() {
  const v = state.view, words = byId('filter').value.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = [];
  for (let i = 0; i < v.rows.length; i++) {
    if (state.span && !(v.rows[i][0] >= state.span[0] && v.rows[i][0] <= state.span[1])) continue;
    if (words.length && !words.every(w => textOf(v, i).includes(w))) continue;
    rows.push(i);
  }
  const c = state.sort, sign = state.down ? -1 : 1;
  rows.sort((x, y) => { const a = v.rows[x][c] ?? '', b = v.rows[y][c] ?? ''; return a === b ? x - y : (a < b ? -sign : sign); });
  state.rows = rows;
  state.open = -1;
  const left = v.left ? `, ${v.left.toLocaleString('en')} more are not in this page` : '';
  byId('count').textContent = `${rows.length.toLocaleString('en')} of ${v.rows.length.toLocaleString('en')} rows${left}` + (state.span ? ` from ${clock(state.span[0])} to ${clock(state.span[1])}` : '');
  byId('scroll').scrollTop = 0;
  draw();
}

function draw() {
  const v = state.view, box = byId('scroll'), body = byId('table').tBodies[0];
  const first = Math.max(0, Math.floor(box.scrollTop / rowHeight) - 10), last = Math.min(state.rows.length, first + Math.ceil(box.clientHeight / rowHeight) + 20);
  const pad = n => { const tr = make('tr'), td = make('td', '', 'pad'); td.colSpan = v.columns.length; td.style.height = n * rowHeight + 'px'; tr.append(td); return tr; };
  const out = [pad(first)];
  for (let n = first; n < last; n++) {
    const i = state.rows[n], tr = make('tr', undefined, i === state.open ? 'open' : '');
    v.rows[i].forEach((value, c) => tr.append(cell(v.columns[c], value)));
    tr.addEventListener('click', () => { state.open = state.open === i ? -1 : i; draw(); });
    out.push(tr);
  }
  out.push(pad(state.rows.length - last));
  body.replaceChildren(...out);
}

function cell(col, value) {
  let text = value === null ? '–' : String(value);
  if (col.kind === 'time') text = clock(value);
  if (col.kind === 'yes') text = value ? 'yes' : 'no';
  const td = make('td', col.kind === 'tag' && text ? undefined : text, col.kind === 'number' || col.kind === 'minor' ? col.kind : '');
  if (col.kind === 'tag' && text) td.append(make('span', text, 'tag'));
  td.title = text;
  return td;
}

function show(id, text, span) {
  select(id);
  byId('filter').value = text || '';
  state.span = span || null;
  refresh();
  byId('rows-title').scrollIntoView({ block: 'start' });
  byId('scroll').focus({ preventScroll: true });
}

function select(id) {
  state.view = views.get(id);
  state.sort = 0;
  state.down = false;
  state.span = null;
  for (const b of byId('tabs').children) {
    const on = b.dataset.view === id;
    b.setAttribute('aria-selected', on);
    b.tabIndex = on ? 0 : -1;
  }
  byId('view-help').textContent = state.view.help;
  const tr = make('tr');
  state.view.columns.forEach((c, n) => {
    const th = make('th', c.name);
    choose(th, () => { state.down = state.sort === n ? !state.down : false; state.sort = n; refresh(); th.setAttribute('aria-sort', state.down ? 'descending' : 'ascending'); });
    th.setAttribute('role', 'columnheader');
    if (c.kind === 'time') th.style.width = '165px';
    if (c.kind === 'yes' || c.kind === 'number') th.style.width = '80px';
    if (c.kind === 'tag' || c.kind === 'minor') th.style.width = '125px';
    if (c.name === 'Request') th.style.width = '26%';
    tr.append(th);
  });
  byId('table').tHead.replaceChildren(tr);
}

function tabs() {
  data.views.forEach((v, n) => {
    const b = make('button', `${v.title} (${v.rows.length.toLocaleString('en')})`);
    b.type = 'button';
    b.dataset.view = v.id;
    b.setAttribute('role', 'tab');
    b.addEventListener('click', () => { select(v.id); refresh(); });
    b.addEventListener('keydown', k => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[k.key];
      if (!step) return;
      const to = byId('tabs').children[(n + step + data.views.length) % data.views.length];
      to.click();
      to.focus();
    });
    byId('tabs').append(b);
  });
}

summary();
topBypasses();
heat();
timeline();
tabs();
byId('filter').addEventListener('input', refresh);
byId('clear').addEventListener('click', () => { byId('filter').value = ''; state.span = null; refresh(); });
byId('scroll').addEventListener('scroll', () => requestAnimationFrame(draw));
select((data.views.find(v => v.rows.length > 0) || data.views[0]).id);
refresh();
document.body.dataset.ready = 'yes';
