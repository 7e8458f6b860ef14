// Reads an evidence file (.csne) of one event: a CBOR sequence of [type, body], ended by a digest over
// everything before. docs/reference/evidence.md is the format; countersign-verify is the authority.
import { sequence } from "./cbor.js";
import { same } from "./dom.js";
import { sha256 } from "./sha256.js";

const MAGIC = "countersign-evidence";
const STATES = ["disclosed", "withheld", "erased", "retired", "missing"];

function hashes(bytes) {
  if (bytes.length % 32 !== 0) throw new Error("a proof is not a list of hashes");
  return Array.from({ length: bytes.length / 32 }, (_, i) => bytes.subarray(32 * i, 32 * i + 32));
}

function group([tag, ...rest]) {
  const state = STATES[tag];
  if (state === "disclosed") return { state, salt: rest[0], bytes: rest[1] };
  if (state) return { state, commitment: rest[0], entry: rest[1] };
  throw new Error("a group is in a state this page does not know");
}

/** The parts of a file that holds one event. */
export function parseEvidence(bytes) {
  const items = sequence(bytes);
  const last = items[items.length - 1];
  if (!last || last.value[0] !== 6) throw new Error("the file is cut: its END is missing");
  if (!same(last.value[1].get(1), sha256(bytes.subarray(0, last.start)))) throw new Error("the file's own digest is wrong");
  const header = items[0].value[1];
  if (items[0].value[0] !== 0 || header.get(0) !== MAGIC) throw new Error("this is no evidence file");
  const out = { origin: header.get(2), note: null, inclusion: null, index: null };
  for (const { value } of items.slice(1, -1)) {
    const [type, body] = value;
    if (type === 1) out.note = body.get(0);
    if (type === 2 && body.get(0) === 0) (out.paths ??= new Map()).set(body.get(1), hashes(body.get(3)));
    if (type === 3) {
      if (out.index !== null) throw new Error("the file holds more than one event");
      Object.assign(out, { index: body.get(0), entry: body.get(1), schema: body.get(2), groups: body.get(3).map(group) });
    }
  }
  out.inclusion = out.paths?.get(out.index) ?? null;
  if (out.index === null || !out.note || !out.inclusion) throw new Error("the file lacks an event, its path or a checkpoint");
  if (out.entry.length !== 53 || out.groups.length !== 7) throw new Error("the entry has the wrong shape");
  return out;
}

/** The 53 bytes of an entry by name. */
export function parseEntry(entry) {
  const view = new DataView(entry.buffer, entry.byteOffset, entry.byteLength);
  return {
    kind: view.getUint8(0),
    sourceRef: view.getUint32(1),
    sourceSeq: view.getBigUint64(5),
    timeNs: view.getBigUint64(13),
    commitment: entry.subarray(21),
  };
}
