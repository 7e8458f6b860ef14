// Ed25519 verification: noble's curve arithmetic with our own SHA-512, all synchronous, no WebCrypto.
import { hashes, verify as check } from "./vendor/noble-ed25519-3.2.0/index.js";

const MASK = 0xffffffffffffffffn;
const K = [];
const START = [];
{
  const primes = [];
  for (let n = 2; primes.length < 80; n++) if (primes.every((p) => n % p !== 0)) primes.push(n);
  const fraction = (n, root) => {
    const value = BigInt(n) << (64n * root);
    let x = 1n << 68n;
    for (;;) {
      const next = ((root - 1n) * x + value / x ** (root - 1n)) / root;
      if (next >= x) return x & MASK;
      x = next;
    }
  };
  primes.forEach((p, i) => {
    K.push(fraction(p, 3n));
    if (i < 8) START.push(fraction(p, 2n));
  });
}

const rotate = (x, n) => ((x >> n) | (x << (64n - n))) & MASK;

/** SHA-512 (FIPS 180-4). Messages here are a few hundred bytes, so big integers are fast enough. */
export function sha512(message) {
  const blocks = new Uint8Array((((message.length + 16) >> 7) + 1) << 7);
  blocks.set(message);
  blocks[message.length] = 0x80;
  const view = new DataView(blocks.buffer);
  view.setBigUint64(blocks.length - 8, BigInt(message.length) * 8n);
  const state = START.slice();
  const w = new Array(80);
  for (let block = 0; block < blocks.length; block += 128) {
    for (let i = 0; i < 16; i++) w[i] = view.getBigUint64(block + 8 * i);
    for (let i = 16; i < 80; i++) {
      const s0 = rotate(w[i - 15], 1n) ^ rotate(w[i - 15], 8n) ^ (w[i - 15] >> 7n);
      const s1 = rotate(w[i - 2], 19n) ^ rotate(w[i - 2], 61n) ^ (w[i - 2] >> 6n);
      w[i] = (w[i - 16] + s0 + w[i - 7] + s1) & MASK;
    }
    let [a, b, c, d, e, f, g, h] = state;
    for (let i = 0; i < 80; i++) {
      const big1 = rotate(e, 14n) ^ rotate(e, 18n) ^ rotate(e, 41n);
      const t1 = h + big1 + ((e & f) ^ (~e & MASK & g)) + K[i] + w[i];
      const t2 = (rotate(a, 28n) ^ rotate(a, 34n) ^ rotate(a, 39n)) + ((a & b) ^ (a & c) ^ (b & c));
      [h, g, f, e, d, c, b, a] = [g, f, e, (d + t1) & MASK, c, b, a, (t1 + t2) & MASK];
    }
    [a, b, c, d, e, f, g, h].forEach((word, i) => (state[i] = (state[i] + word) & MASK));
  }
  const out = new DataView(new ArrayBuffer(64));
  state.forEach((word, i) => out.setBigUint64(8 * i, word));
  return new Uint8Array(out.buffer);
}

hashes.sha512 = sha512;

/** Strict verification (RFC 8032 encodings; weak public keys refused). Never throws. */
export function verify(signature, message, publicKey) {
  try {
    return check(signature, message, publicKey, { zip215: false });
  } catch {
    return false;
  }
}
