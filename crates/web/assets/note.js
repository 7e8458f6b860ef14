// C2SP signed notes and checkpoints, as far as this page needs them: one Ed25519 log key.
import { fromBase64, same } from "./dom.js";
import { verify } from "./ed25519.js";
import { sha256 } from "./sha256.js";

const utf8 = new TextEncoder();

/** From `<name>+<8 hex digits>+<base64 of type and key>`. */
export function parseVkey(vkey) {
  const [, name, id, key] = /^([^+\s]+)\+([0-9a-f]{8})\+(\S+)$/.exec(vkey) ?? [];
  if (!name) throw new Error("the log's key cannot be read");
  const bytes = fromBase64(key);
  if (bytes.length !== 33 || bytes[0] !== 1) throw new Error("the log's key is not an Ed25519 key");
  const expected = sha256(utf8.encode(name + "\n"), bytes).subarray(0, 4);
  if (expected.some((byte, i) => byte !== parseInt(id.slice(2 * i, 2 * i + 2), 16))) {
    throw new Error("the log's key does not match its id");
  }
  return { name, id: expected, publicKey: bytes.subarray(1) };
}

/** Text, checkpoint and signature lines of a note. */
export function parseNote(note) {
  const split = note.lastIndexOf("\n\n");
  if (split < 0 || !note.endsWith("\n")) throw new Error("the checkpoint is not a signed note");
  const text = note.slice(0, split + 1);
  const lines = note.slice(split + 2, -1).split("\n");
  const signatures = lines.map((line) => {
    const [, name, base64] = /^\u2014 (\S+) (\S+)$/.exec(line) ?? [];
    const bytes = name ? fromBase64(base64) : [];
    if (bytes.length < 5) throw new Error("a signature line cannot be read");
    return { name, id: bytes.subarray(0, 4), bytes: bytes.subarray(4) };
  });
  const head = /^([^\n]+)\n(0|[1-9][0-9]{0,15})\n([A-Za-z0-9+/]{43}=)\n$/.exec(text);
  if (!head) throw new Error("the checkpoint's text cannot be read");
  const [, origin, size, root] = head;
  return { text, signatures, origin, size: Number(size), root: fromBase64(root) };
}

/** Whether a line of this key is there, and whether it holds. A wrong line by a known key is fatal. */
export function signedBy(note, key) {
  const own = note.signatures.filter((line) => line.name === key.name && same(line.id, key.id));
  if (own.length === 0) return { ok: false, why: "no signature by the log's key" };
  const message = utf8.encode(note.text);
  const ok = own.every((line) => line.bytes.length === 64 && verify(line.bytes, message, key.publicKey));
  return { ok, why: ok ? "" : "the signature is wrong", others: note.signatures.length - own.length };
}
