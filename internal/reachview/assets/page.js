"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const N = data.parties.length;
  const $ = (id) => document.getElementById(id);
  const SVG = "http://www.w3.org/2000/svg";

  // h makes an element. Texts come from clusters: they are only ever set as text.
  function h(tag, props, ...children) {
    const e = document.createElement(tag);
    for (const [k, v] of Object.entries(props || {})) {
      if (k === "class") e.className = v;
      else if (k.startsWith("on")) e.addEventListener(k.slice(2), v);
      else if (k in e && k !== "role") e[k] = v;
      else e.setAttribute(k, v);
    }
    e.append(...children.filter((c) => c !== null && c !== undefined));
    return e;
  }
  function s(tag, props, ...children) {
    const e = document.createElementNS(SVG, tag);
    for (const [k, v] of Object.entries(props || {})) {
      if (k.startsWith("on")) e.addEventListener(k.slice(2), v);
      else e.setAttribute(k, v);
    }
    e.append(...children);
    return e;
  }

  // What is shown, and what is chosen.
  const state = { view: "matrix", by: N > 60 ? "namespace" : "account", ns: "", find: "", port: "", outside: true, pick: null, zoom: 0 };
  let active = { r: 0, c: 0 };

  // ---- What cells mean ----

  const PROTOCOLS = { icmp: [1], tcp: [6], udp: [17], icmpv6: [58], sctp: [132], udplite: [136] };

  // parsePort reads "5432", "udp 53", "tcp/80-90", "icmp": null for nothing, undefined for what cannot be read.
  function parsePort(text) {
    text = text.trim().toLowerCase();
    if (text === "") return null;
    const m = /^([a-z][a-z0-9]*)?[\s/:]*(?:(\d+)(?:\s*-\s*(\d+))?)?$/.exec(text);
    if (!m) return undefined;
    const protocols = m[1] ? PROTOCOLS[m[1]] : [6, 17, 132];
    const first = m[2] === undefined ? 0 : Number(m[2]);
    const last = m[2] === undefined ? 65535 : m[3] === undefined ? first : Number(m[3]);
    if (!protocols || first > last || last > 65535) return undefined;
    if (m[2] !== undefined && (protocols[0] === 1 || protocols[0] === 58)) return undefined;
    return { protocols, first, last };
  }

  // levelOf says for which pods something is allowed: 0 none, 1 some, 2 all; with a port, something of that.
  function levelOf(content, port) {
    let level = 0;
    for (const line of content.lines) {
      for (const [protocol, first, last] of line.b) {
        let match = !port;
        if (port) {
          for (const p of port.protocols) {
            const own = content.own.has(p);
            if ((own ? protocol === p : protocol === 0) && (!own || (first <= port.last && last >= port.first))) match = true;
          }
        }
        if (match && line.a > level) level = line.a;
      }
    }
    return level;
  }
  for (const c of data.contents) {
    c.own = new Set();
    c.open = false;
    for (const line of c.lines) {
      for (const [protocol] of line.b) {
        if (protocol !== 0) c.own.add(protocol);
        else if (line.a > 0) c.open = true;
      }
    }
    c.level = levelOf(c, null);
  }
  let shownLevel = data.contents.map((c) => c.level);
  const contentAt = (from, to) => { const n = data.cells[from * N + to]; return n < 0 ? null : data.contents[n]; };
  const levelAt = (from, to) => { const n = data.cells[from * N + to]; return n < 0 ? 0 : shownLevel[n]; };

  // ---- Filters ----

  let items = []; // what rows, columns and nodes stand for
  let focused = []; // whether an item is what the filters ask for; the others are there as its neighbours

  function arrange() {
    const port = parsePort(state.port);
    $("port").classList.toggle("bad", port === undefined);
    shownLevel = data.contents.map((c) => (port ? levelOf(c, port) : c.level));
    const find = state.find.trim().toLowerCase();
    const asked = (p) => (state.ns === "" || p.ns === state.ns) && (find === "" || p.name.toLowerCase().includes(find));
    const filtering = state.ns !== "" || find !== "";
    const focus = data.parties.map((p) => asked(p) && (state.outside || !p.outside));
    const keep = data.parties.map((p, i) => focus[i] && (state.outside || !p.outside));
    if (filtering) {
      for (let i = 0; i < N; i++) {
        if (!focus[i]) continue;
        for (let k = 0; k < N; k++) {
          if (!keep[k] && (state.outside || !data.parties[k].outside) && (levelAt(i, k) > 0 || levelAt(k, i) > 0)) keep[k] = true;
        }
      }
    }
    const previous = items[active.r] && items[active.r].name;
    items = [];
    focused = [];
    const byName = new Map();
    const crowded = keep.filter(Boolean).length > 40; // then neighbours are shown by their namespaces
    data.parties.forEach((p, i) => {
      if (!keep[i]) return;
      const group = state.by === "namespace" || (filtering && crowded && !focus[i] && !p.outside);
      const name = !group ? p.name : p.outside ? "outside addresses" : p.ns;
      let n = byName.get(name);
      if (n === undefined) {
        n = items.length;
        byName.set(name, n);
        items.push({ name, label: group ? name : p.label, ns: group ? "" : p.ns, outside: p.outside, members: [] });
        focused.push(false);
      }
      items[n].members.push(i);
      if (!filtering || focus[i]) focused[n] = true;
    });
    const r = items.findIndex((x) => x.name === previous);
    active = { r: Math.max(0, r), c: Math.min(active.c, Math.max(0, items.length - 1)) };
    const accounts = items.reduce((sum, x) => sum + x.members.filter((m) => !data.parties[m].outside).length, 0);
    $("count").textContent = accounts + " of " + data.parties.filter((p) => !p.outside).length + " accounts shown";
  }

  // cellOf sums up what item i may send to item k; null if there is nothing to say.
  function cellOf(i, k) {
    const from = items[i].members, to = items[k].members;
    if (from.length === 1 && to.length === 1) {
      const content = contentAt(from[0], to[0]);
      if (!content) return null;
      const level = levelAt(from[0], to[0]);
      return { level, open: content.open, text: content.text, short: level > 0 ? content.text.replace(/^some pods: /, "") : "", share: 1 };
    }
    let total = 0, allowed = 0, level = 0, open = false;
    for (const f of from) {
      for (const t of to) {
        const content = contentAt(f, t);
        if (!content) continue;
        total++;
        const l = levelAt(f, t);
        if (l > 0) { allowed++; open = open || content.open; }
        if (l > level) level = l;
      }
    }
    if (total === 0) return null;
    const text = "something allowed for " + allowed + " of " + total + " pairs";
    return { level, open, text, short: allowed > 0 ? allowed + "/" + total : "", share: allowed / total };
  }
  function classOf(cell) {
    if (!cell) return "none";
    if (cell.level === 0) return "nothing";
    return (cell.open ? "everything" : "some-ports") + (cell.level === 1 ? " some-pods" : "");
  }
  const isDim = (i, k) => !focused[i] && !focused[k];

  // ---- Matrix ----

  let matrix = null;

  function sizes(n, width) {
    const fit = Math.floor((width - 8) / Math.max(1, n));
    if (n <= 8) return { w: Math.max(84, Math.min(128, fit)), h: 46, text: true };
    if (n <= 16) return { w: Math.max(60, Math.min(92, fit)), h: 38, text: true };
    if (n <= 40) return { w: 26, h: 26, text: false };
    if (n <= 90) return { w: 19, h: 19, text: false };
    return { w: 14, h: 14, text: false };
  }

  function showMatrix() {
    const n = items.length;
    const longest = Math.max(8, ...items.map((x) => (x.ns ? x.ns.length + 1 : 0) + x.label.length));
    const side = Math.min(280, Math.round(longest * 7) + 22), top = Math.min(200, Math.round(longest * 7.3) + 20);
    const size = sizes(n, $("view").clientWidth - side - 24);
    const corner = h("div", { class: "corner" }, h("span", {}, "from ↓   to →"));
    const tops = h("div", { class: "tops" }), sides = h("div", { class: "sides" }), body = h("div", { class: "cells" });
    const space = h("div", { class: "space" + (size.text ? "" : " small") }, corner, tops, sides, body);
    space.style.gridTemplateColumns = side + "px " + n * size.w + "px";
    space.style.gridTemplateRows = top + "px " + n * size.h + "px";
    const root = h("div", { class: "matrix", role: "grid", "aria-label": "from rows to columns", "aria-rowcount": n, "aria-colcount": n }, space);
    matrix = { root, tops, sides, body, side, top, size, n };
    root.addEventListener("scroll", () => drawMatrix(false));
    body.addEventListener("keydown", onMatrixKey);
    $("view").replaceChildren(root);
    drawMatrix(false);
  }

  function drawMatrix(focus) {
    if (!matrix) return;
    const { root, tops, sides, body, side, top, size, n } = matrix;
    const had = focus || body.contains(document.activeElement);
    const margin = 4;
    const r0 = Math.max(0, Math.floor(root.scrollTop / size.h) - margin), c0 = Math.max(0, Math.floor(root.scrollLeft / size.w) - margin);
    const r1 = Math.min(n - 1, Math.ceil((root.scrollTop + root.clientHeight - top) / size.h) + margin);
    const c1 = Math.min(n - 1, Math.ceil((root.scrollLeft + root.clientWidth - side) / size.w) + margin);
    const font = Math.min(13, Math.max(9, size.h - 3)) + "px";
    const name = (i) => [items[i].ns ? h("span", { class: "ns" }, items[i].ns + "/") : null, items[i].label].filter(Boolean);
    const heads = (first, last, place) => {
      const out = [];
      for (let i = first; i <= last; i++) {
        const e = h("div", { class: (place ? "side" : "top") + (items[i].outside ? " out" : "") + (i === (place ? active.r : active.c) ? " hot" : ""), title: items[i].name, onclick: () => pickItem(i) }, ...name(i));
        e.dataset.name = items[i].name;
        e.style.fontSize = font;
        if (place) { e.style.top = i * size.h + "px"; e.style.height = e.style.lineHeight = size.h + "px"; e.style.width = side + "px"; }
        else { e.style.left = i * size.w + "px"; e.style.width = e.style.lineHeight = size.w + "px"; e.style.maxHeight = top - 8 + "px"; }
        out.push(e);
      }
      return out;
    };
    tops.replaceChildren(...heads(c0, c1, false));
    sides.replaceChildren(...heads(r0, r1, true));
    const cells = [];
    const add = (r, c) => {
      const cell = cellOf(r, c);
      const chosen = state.pick && state.pick.from === items[r].name && state.pick.to === items[c].name;
      const e = h("div", {
        class: "cell " + classOf(cell) + (isDim(r, c) ? " dim" : "") + (chosen ? " chosen" : ""), role: "gridcell",
        tabIndex: r === active.r && c === active.c ? 0 : -1, "aria-rowindex": r + 1, "aria-colindex": c + 1,
        "aria-label": items[r].name + " to " + items[c].name + ": " + (cell ? (cell.level > 0 ? cell.text : "nothing allowed") : "no pair"),
        title: items[r].name + " → " + items[c].name + "\n" + (cell ? (cell.level > 0 ? cell.text : "nothing allowed") : "not judged: no pod at either end, or no IP version in common"),
      });
      e.dataset.r = r;
      e.dataset.c = c;
      e.dataset.from = items[r].name;
      e.dataset.to = items[c].name;
      const gap = size.w > 20 ? 2 : 1;
      e.style.left = c * size.w + "px";
      e.style.top = r * size.h + "px";
      e.style.width = size.w - gap + "px";
      e.style.height = size.h - gap + "px";
      if (cell && cell.level > 0 && cell.share < 1 && !size.text && !isDim(r, c)) e.style.opacity = String(0.35 + 0.65 * cell.share);
      if (size.text && cell) {
        const most = Math.floor(size.w / 6.4) * 2;
        e.textContent = cell.short.length > most ? cell.short.slice(0, most - 2) + "…" : cell.short;
      }
      cells.push(e);
      return e;
    };
    let current = null;
    for (let r = r0; r <= r1; r++) {
      for (let c = c0; c <= c1; c++) {
        const e = add(r, c);
        if (r === active.r && c === active.c) current = e;
      }
    }
    if (!current && n > 0) current = add(active.r, active.c);
    body.replaceChildren(...cells);
    if (had && current) current.focus({ preventScroll: true });
  }

  // One listener for all cells: there may be thousands, and they come and go.
  $("view").addEventListener("click", (e) => {
    const cell = e.target.closest(".cell");
    if (!cell) return;
    active = { r: Number(cell.dataset.r), c: Number(cell.dataset.c) };
    pickCell(cell.dataset.from, cell.dataset.to);
    drawMatrix(true);
  });
  $("view").addEventListener("mouseover", (e) => {
    const cell = e.target.closest(".cell");
    if (!matrix) return;
    for (const head of matrix.sides.children) head.classList.toggle("hot", Boolean(cell) && head.dataset.name === cell.dataset.from);
    for (const head of matrix.tops.children) head.classList.toggle("hot", Boolean(cell) && head.dataset.name === cell.dataset.to);
  });

  function onMatrixKey(e) {
    const n = items.length;
    const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], Home: [0, -n], End: [0, n], PageUp: [-10, 0], PageDown: [10, 0] }[e.key];
    if (move) {
      const to = (x) => Math.max(0, Math.min(n - 1, x));
      active = { r: to(active.r + move[0]), c: to(active.c + move[1]) };
      reveal();
      drawMatrix(true);
    } else if (e.key === "Enter" || e.key === " ") {
      pickCell(items[active.r].name, items[active.c].name);
      drawMatrix(true);
    } else return;
    e.preventDefault();
  }

  // reveal scrolls so that the active cell is in sight, beside the sticky names.
  function reveal() {
    const { root, side, top, size } = matrix;
    const x = active.c * size.w, y = active.r * size.h, w = root.clientWidth - side, t = root.clientHeight - top;
    if (x < root.scrollLeft) root.scrollLeft = x;
    else if (x + size.w > root.scrollLeft + w) root.scrollLeft = x + size.w - w;
    if (y < root.scrollTop) root.scrollTop = y;
    else if (y + size.h > root.scrollTop + t) root.scrollTop = y + size.h - t;
  }

  // ---- Graph ----

  function showGraph() {
    matrix = null;
    const n = items.length;
    const edges = [];
    for (let i = 0; i < n; i++) {
      for (let k = 0; k < n; k++) {
        if (i === k || isDim(i, k)) continue;
        const cell = cellOf(i, k);
        if (cell && cell.level > 0) edges.push({ i, k, cell });
      }
    }
    const radial = n > 14;
    const longest = Math.max(6, ...items.map((x) => x.label.length));
    const margin = Math.min(230, longest * 7 + 44), room = Math.min($("view").clientWidth - 24, $("view").clientHeight - 16);
    const radius = Math.max(radial ? 210 : 150, room / 2 - (radial ? margin : 60), (n * 14) / (2 * Math.PI));
    const size = 2 * (radius + margin);
    const spots = items.map((_, i) => {
      const a = (2 * Math.PI * (i + 0.5)) / Math.max(1, n) - Math.PI / 2;
      return { a, x: radius * Math.cos(a), y: radius * Math.sin(a) };
    });
    const svg = s("svg", { width: size, height: size, viewBox: [-size / 2, -size / 2, size, size].join(" "), role: "group", "aria-label": "graph of who can reach whom" });
    svg.append(s("defs", {}, arrow("tip", ""), arrow("tip-open", "open")));
    // A ring of arcs, one for each namespace.
    const names = [];
    for (let i = 0; i < n; ) {
      let k = i;
      const key = (x) => (x.outside ? "outside" : x.ns || x.name);
      while (k + 1 < n && key(items[k + 1]) === key(items[i])) k++;
      if (state.by === "account") {
        const [arc, text] = ring(key(items[i]), i, k, n, radius);
        svg.append(arc);
        if (text) names.push(text); // above the edges
      }
      i = k + 1;
    }
    const layer = s("g", { class: edges.length > 1500 ? "many crowd" : edges.length > 250 ? "many" : "" });
    const paths = edges.map((e) => {
      const from = spots[e.i], to = spots[e.k];
      const mx = (from.x + to.x) / 2, my = (from.y + to.y) / 2, dx = to.x - from.x, dy = to.y - from.y, d = Math.hypot(dx, dy) || 1;
      const bend = 0.55, off = Math.min(26, d / 6);
      const cx = mx * bend - (dy / d) * off, cy = my * bend + (dx / d) * off;
      const short = 9; // the tip ends at the circle, not in it
      const td = Math.hypot(to.x - cx, to.y - cy) || 1;
      const path = "M" + from.x.toFixed(1) + " " + from.y.toFixed(1) + "Q" + cx.toFixed(1) + " " + cy.toFixed(1) + " " + (to.x - ((to.x - cx) / td) * short).toFixed(1) + " " + (to.y - ((to.y - cy) / td) * short).toFixed(1);
      const shown = s("path", { class: "edge " + classOf(e.cell), d: path });
      if (edges.length <= 400) shown.setAttribute("marker-end", e.cell.open ? "url(#tip-open)" : "url(#tip)");
      const hit = s("path", { class: "hit", d: path, onclick: () => pickCell(items[e.i].name, items[e.k].name) }, s("title", {}));
      hit.firstChild.textContent = items[e.i].name + " → " + items[e.k].name + "\n" + e.cell.text;
      layer.append(shown, hit);
      return { ...e, shown };
    });
    svg.append(layer, ...names);
    const nodes = items.map((item, i) => {
      const { a, x, y } = spots[i];
      const left = Math.cos(a) < -0.01, deg = (a * 180) / Math.PI;
      const text = s("text", { "font-size": radial ? (n > 120 ? 10 : 12) : 13, "dominant-baseline": "middle", "text-anchor": left ? "end" : "start" });
      text.textContent = item.label.length > 32 ? item.label.slice(0, 30) + "…" : item.label;
      if (radial) text.setAttribute("transform", "rotate(" + (left ? deg + 180 : deg) + ") translate(" + (left ? -14 : 14) + " 0)");
      else {
        const out = 22;
        text.setAttribute("x", (Math.cos(a) * out).toFixed(1));
        text.setAttribute("y", (Math.sin(a) * out).toFixed(1));
        if (Math.abs(Math.cos(a)) < 0.05) text.setAttribute("text-anchor", "middle");
      }
      const picked = state.pick && (state.pick.item === item.name || state.pick.from === item.name || state.pick.to === item.name);
      const g = s("g", { class: "node" + (item.outside ? " out" : "") + (picked ? " picked" : ""), transform: "translate(" + x.toFixed(1) + " " + y.toFixed(1) + ")", tabindex: 0, role: "button", "aria-label": item.name, "data-name": item.name,
        onclick: () => pickItem(i), onmouseenter: () => light(i), onmouseleave: () => light(-1), onfocus: () => light(i), onblur: () => light(-1),
        onkeydown: (e) => { if (e.key === "Enter" || e.key === " ") { pickItem(i); e.preventDefault(); } else step(e, i); } },
        s("circle", { r: n > 120 ? 4 : 6 }), text);
      svg.append(g);
      return g;
    });
    // step goes round with the arrow keys.
    function step(e, i) {
      const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[e.key];
      if (!by) return;
      nodes[(i + by + n) % n].focus();
      e.preventDefault();
    }
    function light(i) {
      const near = new Set([i]);
      for (const p of paths) {
        const on = p.i === i || p.k === i;
        if (on) near.add(p.i).add(p.k);
        p.shown.classList.toggle("lit", i >= 0 && on);
        p.shown.classList.toggle("faded", i >= 0 && !on);
      }
      nodes.forEach((node, k) => node.classList.toggle("faded", i >= 0 && !near.has(k)));
    }
    const root = h("div", { class: "graph" });
    root.append(svg);
    const fit = Math.min(1, radial ? room / size : 1);
    const zoom = (to) => {
      state.zoom = Math.max(fit, Math.min(3, to));
      const x = (root.scrollLeft + root.clientWidth / 2) / Math.max(1, root.scrollWidth), y = (root.scrollTop + root.clientHeight / 2) / Math.max(1, root.scrollHeight);
      svg.setAttribute("width", size * state.zoom);
      svg.setAttribute("height", size * state.zoom);
      root.scrollLeft = x * root.scrollWidth - root.clientWidth / 2;
      root.scrollTop = y * root.scrollHeight - root.clientHeight / 2;
    };
    const button = (text, label, to) => h("button", { type: "button", "aria-label": label, title: label, onclick: () => zoom(to()) }, text);
    const tools = h("div", { class: "zoom" }, button("+", "closer", () => state.zoom * 1.4), button("−", "farther", () => state.zoom / 1.4), button("⤢", "all of it", () => fit));
    root.addEventListener("wheel", (e) => { if (e.ctrlKey) { zoom(state.zoom * (e.deltaY < 0 ? 1.15 : 0.87)); e.preventDefault(); } }, { passive: false });
    $("view").replaceChildren(root, tools);
    zoom(state.zoom || fit);
    root.scrollLeft = (root.scrollWidth - root.clientWidth) / 2;
    root.scrollTop = (root.scrollHeight - root.clientHeight) / 2;
    if (state.pick) {
      const i = items.findIndex((x) => x.name === state.pick.item);
      if (i >= 0) light(i);
      for (const p of paths) if (items[p.i].name === state.pick.from && items[p.k].name === state.pick.to) p.shown.classList.add("lit");
    }
  }

  function arrow(id, kind) {
    return s("marker", { id, class: kind, viewBox: "0 0 10 10", refX: 9, refY: 5, markerWidth: 9, markerHeight: 9, markerUnits: "userSpaceOnUse", orient: "auto-start-reverse" }, s("path", { d: "M0 0.8L10 5L0 9.2z" }));
  }

  function ring(name, first, last, n, radius) {
    const pad = 0.12, at = (i) => (2 * Math.PI * i) / n - Math.PI / 2;
    const a0 = at(first + pad), a1 = at(last + 1 - pad), r = radius - 16;
    const p = (a, d) => (d * Math.cos(a)).toFixed(1) + " " + (d * Math.sin(a)).toFixed(1);
    const arc = s("path", { class: "ring", d: "M" + p(a0, r) + "A" + r + " " + r + " 0 " + (a1 - a0 > Math.PI ? 1 : 0) + " 1 " + p(a1, r) }, s("title", {}));
    arc.firstChild.textContent = name;
    const mid = (a0 + a1) / 2;
    if ((a1 - a0) * r < name.length * 6.5) return [arc];
    // The name stands along the inner side of the arc, upright.
    const inner = r - 13, flip = Math.sin(mid) > 0;
    const deg = (mid * 180) / Math.PI + (flip ? -90 : 90);
    const text = s("text", { class: "ringtext", "text-anchor": "middle", "dominant-baseline": "middle", transform: "translate(" + p(mid, inner).replace(" ", ",") + ") rotate(" + deg.toFixed(1) + ")" });
    text.textContent = name;
    return [arc, text];
  }

  // ---- Detail ----

  function pickCell(from, to) {
    state.pick = { from, to };
    draw(false);
  }
  function pickItem(i) {
    state.pick = { item: items[i].name };
    draw(true);
  }

  const indexOf = (name) => data.parties.findIndex((p) => p.name === name);

  function showDetail() {
    const box = $("detail");
    const pick = state.pick;
    box.scrollTop = 0;
    if (!pick) return box.replaceChildren(...overview());
    if (pick.item !== undefined) {
      const i = indexOf(pick.item);
      return box.replaceChildren(...(i >= 0 ? partyDetail(i) : groupDetail(pick.item)));
    }
    const f = indexOf(pick.from), t = indexOf(pick.to);
    box.replaceChildren(...(f >= 0 && t >= 0 ? cellDetail(f, t) : pairsDetail(pick.from, pick.to)));
  }

  const heading = (from, to) => h("h2", {}, from, h("span", { class: "arrow" }, " → "), to);
  const verdict = (allow) => h("span", { class: "verdict " + (allow ? "yes" : "no") }, allow ? "Allow" : "Deny");

  function cellDetail(f, t) {
    const from = data.parties[f], to = data.parties[t], content = contentAt(f, t);
    const out = [heading(from.name, to.name)];
    if (!content) out.push(h("p", {}, "Nothing is judged here: both ends are outside of the cluster, or they have no IP version in common."));
    else {
      out.push(h("p", {}, content.level === 2 ? "Allowed: " + content.text : content.level === 1 ? "Allowed for " + content.text : "Nothing is allowed."));
      for (const line of content.lines) out.push(lineDetail(line, from, to));
    }
    const back = h("button", { class: "link", type: "button", onclick: () => { state.pick = { from: to.name, to: from.name }; draw(true); } }, "⇄ the way back");
    out.push(h("div", {}, f === t ? null : back, partyLink(f), f === t ? null : partyLink(t)));
    return out;
  }

  function partyLink(i) {
    return h("button", { class: "link", type: "button", onclick: () => { state.pick = { item: data.parties[i].name }; draw(true); } }, data.parties[i].name);
  }

  function lineDetail(line, from, to) {
    const out = h("div", { class: "block a" + line.a }, h("span", { class: "pods" }, ["denied", "some pods", "all pods"][line.a]), h("div", { class: "ports" }, line.text === "any" ? "any protocol, any port" : line.text));
    for (const [bits, source, target, pairs] of line.w) {
      const list = h("dl", {});
      const by = (title, rule, allow) => { if (rule >= 0) list.append(h("dt", {}, title), h("dd", {}, verdict(allow), " " + data.rules[rule])); };
      by("source", source, (bits & 2) > 0);
      by("target", target, (bits & 4) > 0);
      out.append(h("div", { class: "way" }, pairs.length > 0 ? h("div", { class: "which" }, verdict((bits & 1) > 0), " ", which(pairs, from, to)) : null, list));
    }
    return out;
  }

  function which(pairs, from, to) {
    const names = (groups, party) => groups.map((g) => party.groups[g].name || "its pods").join(" | ");
    return pairs.map(([f, t]) => {
      const parts = [];
      if (from.groups.length > 1) parts.push("from " + (f.length === from.groups.length ? "any" : names(f, from)));
      if (to.groups.length > 1) parts.push("to " + (t.length === to.groups.length ? "any" : names(t, to)));
      return parts.join(" ");
    }).join("; ");
  }

  function peerList(title, entries) {
    const most = 300;
    const list = h("ul", {});
    for (const e of entries.slice(0, most)) {
      list.append(h("li", {}, h("button", { type: "button", title: e.text, onclick: () => { state.pick = { from: e.from, to: e.to }; draw(true); } }, h("span", { class: "who" }, e.who), h("span", { class: "what" }, e.text))));
    }
    return [h("h3", {}, title + " (" + entries.length + ")"), entries.length === 0 ? h("p", {}, "nobody") : list, entries.length > most ? h("p", {}, entries.length - most + " more") : null].filter(Boolean);
  }

  function partyDetail(i) {
    const p = data.parties[i];
    const out = [h("h2", {}, p.name), h("p", {}, p.outside ? "Addresses that are no pod's" : p.pods + (p.pods === 1 ? " pod" : " pods"))];
    if (p.nets.length > 0) out.push(h("p", { class: "groups" }, p.nets.slice(0, 20).join(", ") + (p.nets.length > 20 ? " and " + (p.nets.length - 20) + " more" : "") + ", less what is in a longer prefix of another row, or a pod's"));
    if (p.groups.length > 1) {
      out.push(h("h3", {}, "Pods that are treated differently"));
      for (const g of p.groups) out.push(h("p", { class: "groups" }, (g.name || "all") + (g.pods.length > 0 ? ": " + g.pods.join(", ") + (g.more > 0 ? " and " + g.more + " more" : "") : "")));
    }
    const reach = [], reached = [];
    for (let k = 0; k < N; k++) {
      if (levelAt(i, k) > 0) reach.push({ who: data.parties[k].name, text: contentAt(i, k).text, from: p.name, to: data.parties[k].name });
      if (levelAt(k, i) > 0) reached.push({ who: data.parties[k].name, text: contentAt(k, i).text, from: data.parties[k].name, to: p.name });
    }
    return [...out, ...peerList("Can reach", reach), ...peerList("Can be reached by", reached)];
  }

  const membersOf = (name) => { const item = items.find((x) => x.name === name); return item ? item.members : []; };

  function groupDetail(name) {
    const members = membersOf(name);
    const out = [h("h2", {}, name), h("p", {}, members.length + " rows")];
    if (members.length > 0 && !data.parties[members[0]].outside) {
      out.push(h("button", { class: "link", type: "button", onclick: () => { state.ns = name; state.by = "account"; state.pick = null; draw(true); } }, "Show its accounts"));
    }
    const list = h("ul", {});
    for (const m of members) list.append(h("li", {}, h("button", { type: "button", onclick: () => { state.pick = { item: data.parties[m].name }; draw(true); } }, h("span", { class: "who" }, data.parties[m].name))));
    return [...out, list];
  }

  function pairsDetail(from, to) {
    const entries = [];
    for (const f of membersOf(from)) {
      for (const t of membersOf(to)) {
        if (levelAt(f, t) > 0) entries.push({ who: data.parties[f].label + " → " + data.parties[t].label, text: contentAt(f, t).text, from: data.parties[f].name, to: data.parties[t].name });
      }
    }
    return [heading(from, to), ...peerList("Allowed", entries)];
  }

  function overview() {
    const reached = data.parties.map((p, i) => {
      let n = 0, open = 0;
      for (let k = 0; k < N; k++) if (k !== i && levelAt(k, i) > 0) { n++; if (contentAt(k, i).open) open++; }
      return { i, n, open };
    }).filter((x) => !data.parties[x.i].outside && x.n > 0).sort((x, y) => y.n - x.n).slice(0, 12);
    const list = h("ul", {});
    for (const x of reached) list.append(h("li", {}, h("button", { type: "button", onclick: () => { state.pick = { item: data.parties[x.i].name }; draw(true); } }, h("span", { class: "who" }, data.parties[x.i].name), h("span", { class: "what" }, x.n + (x.open > 0 ? ", " + (x.open === x.n ? "all" : x.open) + " by any protocol" : "")))));
    return [h("h2", {}, "What decides"), h("p", {}, "Choose a cell, a name or an edge: here is what may pass, and which tier, policy and rule says so at the source and at the target."),
      h("h3", {}, "Reached by most others"), reached.length > 0 ? list : h("p", {}, "nobody reaches anybody")];
  }

  // ---- Frame ----

  function legend() {
    const key = (cls, text) => h("span", { class: "key" }, h("span", { class: "swatch cell-like " + cls }), text);
    $("legend").replaceChildren(key("key-open", "any protocol"), key("key-ports", "some protocols or ports"), key("key-pods", "only some of the pods"), key("key-none", "nothing"),
      h("span", { class: "hint" }, state.view === "matrix" ? "arrow keys move, Enter opens, Esc closes" : "Tab and arrow keys move, Enter opens, Esc closes"));
  }

  function draw(view) {
    for (const [id, on] of [["view-matrix", state.view === "matrix"], ["view-graph", state.view === "graph"], ["by-account", state.by === "account"], ["by-namespace", state.by === "namespace"]]) $(id).setAttribute("aria-pressed", String(on));
    $("namespace").value = state.ns;
    arrange();
    showDetail();
    legend();
    remember();
    if (items.length === 0) {
      matrix = null;
      $("view").replaceChildren(h("p", { class: "message" }, N === 0 ? "There are no pods with an address, so nobody can reach anybody." : "No account fits these filters."));
      return;
    }
    if (state.view === "graph") showGraph();
    else if (view || !matrix) {
      const at = matrix && { x: matrix.root.scrollLeft, y: matrix.root.scrollTop };
      showMatrix();
      if (at) { matrix.root.scrollLeft = at.x; matrix.root.scrollTop = at.y; }
    } else drawMatrix(false);
  }

  // The address says what is shown, so that it can be handed on.
  function remember() {
    const q = new URLSearchParams();
    for (const k of ["view", "by", "ns", "find", "port"]) if (state[k]) q.set(k, state[k]);
    if (!state.outside) q.set("outside", "no");
    for (const [k, v] of Object.entries(state.pick || {})) q.set(k, v);
    try { history.replaceState(null, "", "#" + q); } catch (e) { /* a page without an address of its own */ }
  }
  function recall() {
    const q = new URLSearchParams(location.hash.slice(1));
    for (const k of ["view", "by", "ns", "find", "port"]) if (q.has(k)) state[k] = q.get(k);
    if (!["matrix", "graph"].includes(state.view)) state.view = "matrix";
    if (!["account", "namespace"].includes(state.by)) state.by = "account";
    state.outside = q.get("outside") !== "no";
    if (q.has("item")) state.pick = { item: q.get("item") };
    else if (q.has("from") && q.has("to")) state.pick = { from: q.get("from"), to: q.get("to") };
    $("find").value = state.find;
    $("port").value = state.port;
    $("outside").checked = state.outside;
  }

  const namespaces = [...new Set(data.parties.filter((p) => !p.outside).map((p) => p.ns))];
  for (const ns of namespaces) $("namespace").append(h("option", { value: ns }, ns));
  recall();
  if (!namespaces.includes(state.ns)) state.ns = "";

  const set = (change, view) => () => { state.zoom = 0; Object.assign(state, change()); draw(view); };
  $("view-matrix").addEventListener("click", set(() => ({ view: "matrix" }), true));
  $("view-graph").addEventListener("click", set(() => ({ view: "graph" }), true));
  $("by-account").addEventListener("click", set(() => ({ by: "account", pick: null }), true));
  $("by-namespace").addEventListener("click", set(() => ({ by: "namespace", pick: null }), true));
  $("namespace").addEventListener("change", set(() => ({ ns: $("namespace").value, by: $("namespace").value ? "account" : state.by }), true));
  $("find").addEventListener("input", set(() => ({ find: $("find").value, by: $("find").value ? "account" : state.by }), true));
  $("port").addEventListener("input", set(() => ({ port: $("port").value }), true));
  $("outside").addEventListener("change", set(() => ({ outside: $("outside").checked }), true));
  $("theme").addEventListener("click", () => {
    const dark = document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    document.documentElement.dataset.theme = dark ? "light" : "dark";
  });
  document.addEventListener("keydown", (e) => {
    if (e.key === "Escape" && state.pick) { state.pick = null; draw(true); }
    if (e.key === "/" && !["INPUT", "SELECT"].includes(document.activeElement.tagName)) { $("find").focus(); e.preventDefault(); }
  });
  addEventListener("resize", () => { if (matrix) drawMatrix(false); });

  const accounts = data.parties.filter((p) => !p.outside);
  let pairs = 0, open = 0;
  for (let i = 0; i < N; i++) for (let k = 0; k < N; k++) {
    if (data.parties[i].outside || data.parties[k].outside || i === k || data.cells[i * N + k] < 0) continue;
    pairs++;
    if (data.contents[data.cells[i * N + k]].level > 0) open++;
  }
  $("summary").textContent = accounts.length + " service accounts in " + namespaces.length + (namespaces.length === 1 ? " namespace, " : " namespaces, ") + accounts.reduce((sum, p) => sum + p.pods, 0) + " pods; something may pass in " + open + " of " + pairs + " directions between accounts";
  draw(true);
  const at = (name) => Math.max(0, items.findIndex((x) => x.name === name));
  if (state.pick && state.pick.from !== undefined && matrix) {
    active = { r: at(state.pick.from), c: at(state.pick.to) };
    reveal();
    drawMatrix(false);
  }
})();
