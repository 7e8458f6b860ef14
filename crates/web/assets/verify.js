// The proof of one event, computed in this page: no WebCrypto, no server verdicts. A line gets its tick
// only when this code recomputed it, and the fields shown are decoded from the very bytes it hashed.
import { decode } from "./cbor.js";
import { GROUPS, MAPS, WORDS } from "./dictionary.js";
import { captured, el, fromBase64, hex, same } from "./dom.js";
import { parseEntry, parseEvidence } from "./evidence.js";
import { parseNote, parseVkey, signedBy } from "./note.js";
import { sha256 } from "./sha256.js";
import { consistent, leafHash, rootFromInclusion } from "./tree.js";

async function run(section) {
  const started = performance.now();
  const lines = new Lines(section);
  try {
    const response = await fetch(section.dataset.evidence);
    if (!response.ok) {
      const problem = await response.json().catch(() => ({}));
      return lines.waiting(problem.detail ?? `the server answered ${response.status}`);
    }
    const evidence = parseEvidence(new Uint8Array(await response.arrayBuffer()));
    check(evidence, section.dataset, lines);
    await checkMemory(evidence, section.dataset, lines);
    lines.verdict(performance.now() - started);
    showFields(evidence, lines);
  } catch (error) {
    lines.add("evidence file", false, error.message);
    lines.verdict(performance.now() - started);
  }
}

/** Lines 1 to 8. Each later line uses what the earlier ones computed, never what the file claims. */
function check(evidence, given, lines) {
  const commitments = evidence.groups.map((group, g) =>
    group.state === "disclosed" ? sha256(Uint8Array.of(2), group.salt, Uint8Array.of(g), group.bytes) : group.commitment,
  );
  const opened = evidence.groups.map((group, g) => (group.state === "disclosed" ? g : -1)).filter((g) => g >= 0);
  const missing = evidence.groups.some((group) => group.state === "missing");
  lines.add(
    "salted groups",
    !missing && opened.length > 0,
    evidence.groups.map((group, g) => `c_${g} ${group.state} ${hex(commitments[g] ?? [])}`).join("\n"),
  );
  const schema = Uint8Array.of(evidence.schema >> 8, evidence.schema & 255);
  const whole = sha256(Uint8Array.of(3), schema, ...commitments.map((c) => c ?? new Uint8Array()));
  const entry = parseEntry(evidence.entry);
  lines.add("commitment C", same(whole, entry.commitment), hex(whole));
  lines.add("53-byte entry", entryAgrees(evidence, entry, given), hex(evidence.entry));
  const leaf = leafHash(evidence.entry);
  lines.add("leaf", leaf.length === 32, hex(leaf));
  const note = parseNote(evidence.note);
  const computed = rootFromInclusion(evidence.index, note.size, leaf, evidence.inclusion);
  lines.add("inclusion path", computed !== null, `leaf ${evidence.index} of ${note.size}\n` + evidence.inclusion.map(hex).join("\n"));
  lines.add("root", computed !== null && same(computed, note.root), hex(computed ?? []));
  const key = parseVkey(given.vkey);
  const signed = signedBy(note, key);
  const named = note.origin === key.name && evidence.origin === note.origin;
  lines.add("checkpoint signature", signed.ok && named, signed.ok ? `${given.vkey}\n${note.text}` : signed.why);
  lines.add("witnesses", null, `none required by this server: the log is unwitnessed (${signed.others ?? 0} other signature lines, not checked here)`);
}

/** Index and kind are those asked for, and a disclosed core names the same sequence number. */
function entryAgrees(evidence, entry, given) {
  if (entry.kind !== 1 || evidence.index !== Number(given.index)) return false;
  if (evidence.groups[0].state !== "disclosed") return true;
  const core = decode(evidence.groups[0].bytes);
  return BigInt(core.get(4)) === entry.sourceSeq;
}

/** Line 9: the tree must extend the one that this browser remembers, under the same key. */
async function checkMemory(evidence, given, lines) {
  const note = parseNote(evidence.note);
  const slot = `countersign.head.${note.origin}`;
  const remembered = JSON.parse(localStorage.getItem(slot) ?? "null");
  const head = { size: note.size, root: hex(note.root), vkey: given.vkey };
  if (!remembered) {
    if (lines.good) localStorage.setItem(slot, JSON.stringify(head));
    return lines.add("this browser's memory", lines.good ? true : null, `first visit: remembering size ${note.size}`);
  }
  const why = await differs(remembered, note, given);
  if (!why && lines.good && note.size > remembered.size) localStorage.setItem(slot, JSON.stringify(head));
  lines.add("this browser's memory", !why, why ?? `extends the tree of size ${Math.min(remembered.size, note.size)} seen before`);
}

async function differs(remembered, note, given) {
  if (remembered.vkey !== given.vkey) return "the log's key is not the one this browser remembers";
  const bytes = (text) => Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
  if (remembered.size === note.size) return remembered.root === hex(note.root) ? null : "another root at the same size: a fork";
  const [old, size] = remembered.size < note.size ? [remembered.size, note.size] : [note.size, remembered.size];
  const response = await fetch(`${given.consistency}?from=${old}&to=${size}`);
  if (!response.ok) return `the server cannot show that size ${size} extends size ${old}`;
  const path = (await response.json()).hashes.map(fromBase64);
  const roots = remembered.size < note.size ? [bytes(remembered.root), note.root] : [note.root, bytes(remembered.root)];
  return consistent(old, size, ...roots, path) ? null : "the tree is not an extension of the one seen before: a fork or a rollback";
}

class Lines {
  constructor(section) {
    this.list = document.getElementById("proof-lines");
    this.result = document.getElementById("proof-verdict");
    this.fields = document.getElementById("proof-fields");
    this.section = section;
    this.list.replaceChildren();
    this.good = true;
  }

  add(name, ok, detail) {
    if (ok === false) this.good = false;
    const [word, kind] = ok === null ? ["– not checked", "none"] : ok ? ["✓ verified in this page", "ok"] : ["✕ does not verify", "fail"];
    const state = el("div", {}, el("strong", {}, name), el("br"), el("span", { class: `state ${kind}` }, word));
    const bytes = el("code", {}, ...String(detail).split("\n").flatMap((line, i) => (i ? [el("br"), captured(line)] : [captured(line)])));
    this.list.append(el("li", {}, state, bytes));
  }

  waiting(why) {
    this.result.textContent = `No proof yet: ${why}. Reload in a second.`;
  }

  verdict(ms) {
    this.result.className = `verdict ${this.good ? "ok" : "fail"}`;
    this.result.textContent = this.good
      ? `✓ This event is in the log that this key signed: verified in this page in ${Math.ceil(ms)} ms.`
      : "✕ This event does not verify. Do not rely on it; run countersign fsck and keep the evidence file.";
    this.section.dataset.state = this.good ? "verified" : "failed";
  }
}

/** The fields beside the ticks: decoded here from the bytes that were hashed. */
function showFields(evidence, lines) {
  if (!lines.good) return;
  const core = evidence.groups[0].state === "disclosed" ? decode(evidence.groups[0].bytes) : new Map();
  const word = (name, number) => WORDS[name]?.[String(number)];
  const kinds = { detail: word("Kind", core.get(11)), sys: word("Rec", core.get(10)) === "finding" ? "finding" : "check" };
  if (kinds.detail === "grpc") kinds.detail = "rpc";
  const parts = evidence.groups.flatMap((group, g) => {
    const title = el("h3", {}, `${GROUPS[g]} `, el("span", { class: "soft" }, group.state + (group.entry !== undefined ? ` (entry ${group.entry})` : "")));
    if (group.state !== "disclosed") return [title];
    const map = decode(group.bytes);
    return map.size ? [title, table(map, GROUPS[g], kinds)] : [title, el("p", { class: "soft" }, "empty")];
  });
  lines.fields.replaceChildren(el("h3", {}, "Fields, decoded from the bytes that were hashed"), ...parts);
}


function table(map, home, kinds) {
  const list = el("dl", { class: "fields" });
  for (const [key, value] of map) {
    const [name, type] = MAPS[home]?.[String(key)] ?? [`key ${key}`, ""];
    list.append(el("dt", {}, captured(name)), el("dd", {}, shown(value, type, name, kinds)));
  }
  return list;
}

function shown(value, type, name, kinds) {
  if (value instanceof Map) return table(value, name === "detail" || name === "sys" ? `${name}:${kinds[name]}` : type, kinds);
  if (value instanceof Uint8Array) return el("code", {}, address(value, name) ?? hex(value));
  if (Array.isArray(value)) return list(value, type, name, kinds);
  if (type.startsWith("e ")) return captured(WORDS[type.slice(2)]?.[String(value)] ?? String(value));
  if (/ns$/.test(type) && String(name).startsWith("t_")) return captured(time(value));
  return captured(String(value));
}

function list(values, type, name, kinds) {
  const inner = type.replace(/^\[(.*)\].*$/, "$1");
  const types = inner.includes(", ") ? inner.split(", ") : null;
  const out = el("span");
  values.forEach((value, i) => {
    if (i) out.append(" · ");
    out.append(shown(value, (types ? types[i] ?? "" : inner).replace(/ ≤\d+$/, ""), name, kinds));
  });
  return out;
}

function address(bytes, name) {
  if (name !== "ip") return null;
  if (bytes.length === 4) return bytes.join(".");
  const words = Array.from({ length: bytes.length / 2 }, (_, i) => ((bytes[2 * i] << 8) | bytes[2 * i + 1]).toString(16));
  return words.join(":");
}

function time(ns) {
  const n = BigInt(ns);
  return `${new Date(Number(n / 1000000n)).toISOString().slice(0, 19)}.${String(n % 1000000000n).padStart(9, "0")}Z`;
}

const root = document.getElementById("proof");
if (root) run(root);
