// Live tail: one EventSource, a bounded ring, 60 rows in the document. The sums on screen always hold:
// received = shown + filtered + skipped, paused or not. Without this module the page lists the newest
// events as the server rendered them.
import { captured, duration, el } from "./dom.js";

const RING_MAX = 50000;
const ROWS_MAX = 60;
const HIDDEN_CLOSE_MS = 30000;
const SPEAK_MS = 10000;
const RATE_WINDOW_S = 10;

const root = document.getElementById("tail");
if (root && "EventSource" in window) start(root);

function start(section) {
  const part = (name) => document.getElementById(`tail-${name}`);
  const sums = { received: 0, shown: 0, filtered: 0, skipped: 0 };
  let ring = [];
  let offset = 0;
  let last = null;
  let source = null;
  let paused = false;
  let dirty = false;
  let closing = 0;
  const recent = [];

  function open() {
    const url = new URL(section.dataset.url, location.href);
    if (last !== null) url.searchParams.set("after", last);
    source = new EventSource(url);
    source.onopen = () => say("connected");
    source.onerror = () => say(source.readyState === EventSource.CLOSED ? "closed by the server; reload to resume" : "reconnecting");
    source.addEventListener("events", (message) => take(message, onEvents));
    source.addEventListener("skip", (message) => take(message, onSkip));
    source.addEventListener("gap", (message) => take(message, onGap));
    source.addEventListener("beat", (message) => take(message, onBeat));
    source.addEventListener("bye", (message) => {
      source.close();
      say(`closed: ${JSON.parse(message.data).reason}`);
    });
  }

  function take(message, handle) {
    if (message.lastEventId) last = message.lastEventId;
    handle(JSON.parse(message.data));
    dirty = true;
  }

  function onEvents({ events, examined, filtered }) {
    sums.received += examined;
    sums.filtered += filtered;
    sums.shown += events.length;
    ring.push(...events);
    if (ring.length > RING_MAX) ring = ring.slice(ring.length - RING_MAX);
    if (paused) offset += events.length;
    recent.push([performance.now(), events.length]);
  }

  function onSkip({ from, to, count, reason }) {
    sums.received += count;
    sums.skipped += count;
    ring.push({ skip: `skipped ${count} entries, ${from} to ${to - 1}: ${reason}` });
  }

  function onGap(gap) {
    ring.push({ skip: `GAP: ${gap.count ?? "an unknown number of"} records of source ${gap.source ?? "unknown"} lost (${gap.reason})`, gap: true });
  }

  function onBeat({ head, last_event_s, silent }) {
    const ago = last_event_s === undefined ? "no event yet" : `last event ${last_event_s} s ago`;
    say(`listening at ${head}; ${ago}; ${silent} sources silent`);
  }

  function say(text) {
    part("state").textContent = text;
  }

  function row(event) {
    if (event.skip) {
      return el("tr", { class: event.gap ? "gap" : "skip" }, el("td", { colspan: 7 }, captured(event.skip)));
    }
    const link = el("a", { href: `/events/${Number(event.index)}` }, String(event.index));
    return el(
      "tr",
      { "data-outcome": event.outcome ?? "unknown" },
      el("td", { class: "num" }, link),
      el("td", {}, el("time", { datetime: event.time }, (event.time ?? "").slice(11, 23))),
      el("td", {}, captured(event.who ?? "nobody named", 256)),
      el("td", {}, captured(event.op ?? event.rec ?? "", 64)),
      el("td", {}, captured([event.service, event.resource].filter(Boolean).join(" "), 512)),
      el("td", {}, el("span", { class: `mark ${event.outcome ?? "unknown"}` }, event.outcome ?? "unknown"), " ", captured(event.status ?? "", 32)),
      el("td", { class: "num" }, duration(event.duration_ns)),
    );
  }

  function draw() {
    for (const [name, value] of Object.entries(sums)) part(name).textContent = String(value);
    const cut = performance.now() - RATE_WINDOW_S * 1000;
    while (recent.length && recent[0][0] < cut) recent.shift();
    const rate = recent.reduce((sum, [, n]) => sum + n, 0) / RATE_WINDOW_S;
    part("rate").textContent = `${rate.toFixed(rate < 10 ? 1 : 0)}/s`;
    if (paused && offset === drawnAt) return;
    drawnAt = offset;
    const end = Math.max(0, ring.length - offset);
    const rows = ring.slice(Math.max(0, end - ROWS_MAX), end).reverse();
    if (rows.length) part("rows").replaceChildren(...rows.map(row));
  }
  let drawnAt = -1;

  function frame() {
    if (dirty) {
      dirty = false;
      if (!paused) {
        offset = 0;
        drawnAt = -1;
      }
      draw();
    }
    requestAnimationFrame(frame);
  }

  function pause(on) {
    paused = on;
    part("pause").textContent = paused ? "Resume" : "Pause";
    part("pause").setAttribute("aria-pressed", String(paused));
    part("older").hidden = part("newer").hidden = !paused;
    offset = 0;
    dirty = true;
  }

  function page(step) {
    offset = Math.min(Math.max(0, offset + step), Math.max(0, ring.length - ROWS_MAX));
    dirty = true;
  }

  part("pause").hidden = false;
  part("pause").addEventListener("click", () => pause(!paused));
  part("older").addEventListener("click", () => page(ROWS_MAX));
  part("newer").addEventListener("click", () => page(-ROWS_MAX));
  document.addEventListener("visibilitychange", () => {
    clearTimeout(closing);
    if (document.hidden) closing = setTimeout(() => source.close(), HIDDEN_CLOSE_MS);
    else if (source.readyState === EventSource.CLOSED) open();
  });
  setInterval(() => {
    part("live").textContent = `${sums.shown} events shown, ${sums.skipped} skipped`;
  }, SPEAK_MS);
  open();
  requestAnimationFrame(frame);
  // A hidden or headless page may get no animation frames; the numbers must hold there too.
  setInterval(() => dirty && document.hidden && ((dirty = false), draw()), 1000);
}
