// RFC 6962 tree hashing and the verification of inclusion and consistency (RFC 9162 2.1.3.2, 2.1.4.2).
// Sizes are safe integers: the decoder refuses larger ones before they come here.
import { same } from "./dom.js";
import { sha256 } from "./sha256.js";

const ONE = Uint8Array.of(1);
const half = (n) => Math.floor(n / 2);

export const leafHash = (entry) => sha256(Uint8Array.of(0), entry);
export const nodeHash = (left, right) => sha256(ONE, left, right);

/** Root that a leaf and its path lead to; null if the path does not fit index and size. */
export function rootFromInclusion(index, size, leaf, path) {
  if (!(index < size)) return null;
  let [node, last, hash] = [index, size - 1, leaf];
  for (const sibling of path) {
    if (last === 0) return null;
    if (node % 2 === 1 || node === last) {
      hash = nodeHash(sibling, hash);
      while (node % 2 === 0 && node !== 0) [node, last] = [half(node), half(last)];
    } else {
      hash = nodeHash(hash, sibling);
    }
    [node, last] = [half(node), half(last)];
  }
  return last === 0 ? hash : null;
}

/** Whether the tree of `old` leaves is a prefix of the tree of `size` leaves. */
export function consistent(old, size, oldRoot, root, path) {
  if (old === size) return path.length === 0 && same(oldRoot, root);
  if (old === 0) return path.length === 0;
  if (old > size || path.length === 0) return false;
  let [node, last] = [old - 1, size - 1];
  while (node % 2 === 1) [node, last] = [half(node), half(last)];
  const rest = path.slice();
  const start = node === 0 ? oldRoot : rest.shift();
  let [first, second] = [start, start];
  for (const sibling of rest) {
    if (last === 0) return false;
    if (node % 2 === 1 || node === last) {
      first = nodeHash(sibling, first);
      second = nodeHash(sibling, second);
      while (node % 2 === 0 && node !== 0) [node, last] = [half(node), half(last)];
    } else {
      second = nodeHash(second, sibling);
    }
    [node, last] = [half(node), half(last)];
  }
  return last === 0 && same(first, oldRoot) && same(second, root);
}
