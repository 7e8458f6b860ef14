// Decoder of deterministic CBOR (RFC 8949 4.2.1) as events and evidence files use it: unsigned and
// negative integers, byte strings, text, arrays, maps, booleans. Anything else, and any second way of
// writing the same thing, is refused: bytes that were hashed have one meaning.

const DEPTH_MAX = 16;
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.at = 0;
  }

  fail(rule) {
    throw new Error(`not canonical CBOR at byte ${this.at}: ${rule}`);
  }

  take(length) {
    if (length > this.bytes.length - this.at) this.fail("ends early");
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  head() {
    const first = this.take(1)[0];
    const low = first & 31;
    if (low < 24) return [first >> 5, low];
    if (low > 27) this.fail("indefinite or reserved length");
    const size = 1 << (low - 24);
    this.take(size);
    const at = this.at - size;
    let n;
    if (size === 1) n = this.view.getUint8(at);
    else if (size === 2) n = this.view.getUint16(at);
    else if (size === 4) n = this.view.getUint32(at);
    else n = this.view.getBigUint64(at);
    const least = [24, 256, 65536, 4294967296n][low - 24];
    if (n < least) this.fail("integer is not the shortest");
    if (typeof n === "bigint" && n <= BigInt(Number.MAX_SAFE_INTEGER)) n = Number(n);
    return [first >> 5, n];
  }

  length(n) {
    if (typeof n === "bigint" || n > this.bytes.length - this.at) this.fail("ends early");
    return n;
  }

  value(depth = 0) {
    if (depth > DEPTH_MAX) this.fail("nested too deep");
    const [major, n] = this.head();
    switch (major) {
      case 0:
        return n;
      case 1:
        return typeof n === "bigint" ? -1n - n : -1 - n;
      case 2:
        return this.take(this.length(n));
      case 3:
        return utf8.decode(this.take(this.length(n)));
      case 4:
        return Array.from({ length: this.length(n) }, () => this.value(depth + 1));
      case 5:
        return this.map(this.length(n), depth);
      case 7:
        if (n === 20 || n === 21) return n === 21;
    }
    return this.fail("type is not allowed");
  }

  map(pairs, depth) {
    const map = new Map();
    let before = null;
    for (let i = 0; i < pairs; i++) {
      const start = this.at;
      const key = this.value(depth + 1);
      const encoded = this.bytes.subarray(start, this.at);
      if (before && !ascending(before, encoded)) this.fail("keys are not ascending");
      before = encoded;
      map.set(key, this.value(depth + 1));
    }
    return map;
  }
}

// Bytewise order of the encodings, which is the order of RFC 8949 4.2.1.
function ascending(a, b) {
  for (let i = 0; i < Math.min(a.length, b.length); i++) if (a[i] !== b[i]) return a[i] < b[i];
  return a.length < b.length;
}

/** One value that fills `bytes` exactly. */
export function decode(bytes) {
  const reader = new Reader(bytes);
  const value = reader.value();
  if (reader.at !== bytes.length) reader.fail("bytes after the end");
  return value;
}

/** A CBOR sequence (RFC 8742): each value with its first and last byte offset. */
export function sequence(bytes, max = 10000) {
  const reader = new Reader(bytes);
  const items = [];
  while (reader.at < bytes.length) {
    if (items.length === max) reader.fail(`more than ${max} items`);
    const start = reader.at;
    items.push({ value: reader.value(), start, end: reader.at });
  }
  return items;
}
