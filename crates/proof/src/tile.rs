//! C2SP tlog-tiles: where hashes and entries lie as files, and how to read a tree from such files.
//!
//! Not a store and not a client: paths and bytes only. Invariant: one path for one tile; a parsed
//! path that would be written differently is refused.

use crate::Error;
use crate::tree::{Hash, HashReader, node_hash};
use std::cell::RefCell;

/// Hashes in a full tile, entries in a full bundle.
pub const TILE_WIDTH: u16 = 256;
/// Highest tile level that the specification allows.
pub const LEVEL_MAX: u8 = 63;
/// Tiles that a [`TileHashReader`] keeps; a proof over 10^9 leaves touches 8.
const CACHE_MAX: usize = 16;

/// What a tile path points at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TileKind {
    /// Hashes of tile level 0 to 63; level `n` holds complete subtrees of height `8 × n`.
    Hashes(u8),
    /// An entry bundle.
    Entries,
}

/// Coordinates of one tile or entry bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tile {
    /// Hash tile of a level, or entry bundle.
    pub kind: TileKind,
    /// Position in its level.
    pub index: u64,
    /// Hashes or entries held, 1 to 256; less than 256 = a partial tile of the right edge.
    pub width: u16,
}

impl Tile {
    /// A full or partial hash tile; `None` if level or width is outside the format.
    pub fn hashes(level: u8, index: u64, width: u16) -> Option<Tile> {
        Tile { kind: TileKind::Hashes(level), index, width }.valid()
    }

    /// A full or partial entry bundle; `None` if the width is outside the format.
    pub fn entries(index: u64, width: u16) -> Option<Tile> {
        Tile { kind: TileKind::Entries, index, width }.valid()
    }

    fn valid(self) -> Option<Tile> {
        let level_ok = !matches!(self.kind, TileKind::Hashes(level) if level > LEVEL_MAX);
        (level_ok && (1..=TILE_WIDTH).contains(&self.width)).then_some(self)
    }

    /// The path below the log's prefix: `tile/<L>/<N>[.p/<W>]` or `tile/entries/<N>[.p/<W>]`.
    pub fn path(&self) -> String {
        let level = match self.kind {
            TileKind::Hashes(level) => level.to_string(),
            TileKind::Entries => "entries".to_owned(),
        };
        let mut groups = vec![self.index % 1000];
        let mut rest = self.index / 1000;
        while rest > 0 {
            groups.push(rest % 1000);
            rest /= 1000;
        }
        let mut path = format!("tile/{level}");
        for (left, group) in groups.iter().enumerate().rev() {
            let prefix = if left > 0 { "x" } else { "" };
            path.push_str(&format!("/{prefix}{group:03}"));
        }
        if self.width < TILE_WIDTH {
            path.push_str(&format!(".p/{}", self.width));
        }
        path
    }

    /// The inverse of [`Tile::path`]; anything it would not write is refused.
    pub fn parse(path: &str) -> Result<Tile, Error> {
        const WHAT: &str = "tile path";
        // 2^64 has 20 digits, so 7 groups; longer text cannot be a tile and is not looked at.
        if path.len() > 64 {
            return Err(Error::Limit { what: "length of a tile path", max: 64 });
        }
        let tile = parse_parts(path).ok_or_else(|| Error::malformed(WHAT, "not tile/<level>/<index>"))?;
        if tile.path() != path {
            return Err(Error::malformed(WHAT, "not the one way to write this tile"));
        }
        Ok(tile)
    }
}

fn parse_parts(path: &str) -> Option<Tile> {
    let rest = path.strip_prefix("tile/")?;
    let (level, rest) = rest.split_once('/')?;
    let kind = match level {
        "entries" => TileKind::Entries,
        number => TileKind::Hashes(number.parse().ok()?),
    };
    let (number, width) = match rest.split_once(".p/") {
        Some((number, width)) => (number, width.parse().ok().filter(|width| *width < TILE_WIDTH)?),
        None => (rest, TILE_WIDTH),
    };
    let mut index = 0u64;
    for group in number.split('/') {
        let digits = group.strip_prefix('x').unwrap_or(group);
        index = index.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
    }
    Tile { kind, index, width }.valid()
}

/// The hash tiles, full and partial, that change when a log grows from `old` to `new` leaves.
///
/// Level by level, index ascending. Partial tiles of earlier sizes are not listed: they stay as they are.
pub fn new_tiles(old: u64, new: u64) -> Vec<Tile> {
    let mut tiles = Vec::new();
    for level in 0..8u8 {
        let (before, after) = (old >> (8 * level), new >> (8 * level));
        if after == 0 {
            break;
        }
        push_range(&mut tiles, TileKind::Hashes(level), before, after);
    }
    tiles
}

/// The entry bundles, full and partial, that change when a log grows from `old` to `new` leaves.
pub fn new_bundles(old: u64, new: u64) -> Vec<Tile> {
    let mut tiles = Vec::new();
    push_range(&mut tiles, TileKind::Entries, old, new);
    tiles
}

fn push_range(tiles: &mut Vec<Tile>, kind: TileKind, before: u64, after: u64) {
    if before >= after {
        return;
    }
    for index in before / 256..after / 256 {
        tiles.push(Tile { kind, index, width: TILE_WIDTH });
    }
    let rest = (after % 256) as u16;
    if rest > 0 {
        tiles.push(Tile { kind, index: after / 256, width: rest });
    }
}

/// Bytes of a hash tile.
pub fn encode_hashes(hashes: &[Hash]) -> Vec<u8> {
    hashes.concat()
}

/// The hashes of a tile of exactly `width` hashes.
pub fn parse_hashes(bytes: &[u8], width: u16) -> Result<Vec<Hash>, Error> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() || hashes.len() != usize::from(width) {
        return Err(Error::malformed("tile", format!("{} bytes for {width} hashes", bytes.len())));
    }
    Ok(hashes.to_vec())
}

/// Bytes of an entry bundle: for each entry its length (u16, big-endian) and itself.
///
/// Refuses more than 256 entries and entries over 65,535 bytes.
pub fn encode_bundle<'a>(entries: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    for (count, entry) in entries.into_iter().enumerate() {
        if count >= usize::from(TILE_WIDTH) {
            return Err(Error::Limit { what: "number of entries in a bundle", max: 256 });
        }
        let length = u16::try_from(entry.len())
            .map_err(|_| Error::Limit { what: "length of an entry", max: u16::MAX.into() })?;
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(entry);
    }
    Ok(out)
}

/// The entries of a bundle of exactly `width` entries, nothing before, between or after them.
pub fn parse_bundle(bytes: &[u8], width: u16) -> Result<Vec<&[u8]>, Error> {
    const WHAT: &str = "entry bundle";
    let mut entries = Vec::with_capacity(usize::from(width.min(TILE_WIDTH)));
    let mut rest = bytes;
    while let Some((length, tail)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length));
        let (entry, tail) =
            tail.split_at_checked(length).ok_or_else(|| Error::malformed(WHAT, "last entry is cut"))?;
        if entries.len() >= usize::from(width) {
            return Err(Error::malformed(WHAT, format!("more than {width} entries")));
        }
        entries.push(entry);
        rest = tail;
    }
    if !rest.is_empty() {
        return Err(Error::malformed(WHAT, "a stray byte at the end"));
    }
    if entries.len() != usize::from(width) {
        return Err(Error::malformed(WHAT, format!("{} entries instead of {width}", entries.len())));
    }
    Ok(entries)
}

/// Where tile bytes come from: a directory, an object store, memory.
pub trait TileReader {
    /// The bytes of exactly this tile, or of a wider one of the same index; `None` if absent.
    fn read_tile(&self, tile: &Tile) -> Option<Vec<u8>>;
}

/// Reads hashes of any level out of the tiles of a log of a known size.
///
/// It trusts the tiles: a proof built from wrong ones fails where it is verified.
#[derive(Debug)]
pub struct TileHashReader<'a, R> {
    tiles: &'a R,
    size: u64,
    cache: RefCell<Vec<(Tile, Vec<Hash>)>>,
}

impl<'a, R: TileReader> TileHashReader<'a, R> {
    /// A reader over the tiles of the tree of `size` leaves.
    pub fn new(size: u64, tiles: &'a R) -> Self {
        TileHashReader { tiles, size, cache: RefCell::new(Vec::new()) }
    }

    /// The hashes `range` of a tile, from the cache or from the source.
    fn part(&self, tile: Tile, first: usize, count: usize) -> Option<Vec<Hash>> {
        if let Some((_, hashes)) = self.cache.borrow().iter().find(|(known, _)| *known == tile) {
            return Some(hashes.get(first..first.checked_add(count)?)?.to_vec());
        }
        let bytes = self.tiles.read_tile(&tile)?;
        let hashes: Vec<Hash> = bytes.as_chunks::<32>().0.iter().take(tile.width.into()).copied().collect();
        if hashes.len() < usize::from(tile.width) {
            return None;
        }
        let wanted = hashes.get(first..first.checked_add(count)?)?.to_vec();
        let mut cache = self.cache.borrow_mut();
        if cache.len() >= CACHE_MAX {
            cache.remove(0);
        }
        cache.push((tile, hashes));
        Some(wanted)
    }
}

impl<R: TileReader> HashReader for TileHashReader<'_, R> {
    fn read_hash(&self, level: u8, index: u64) -> Option<Hash> {
        let (tile_level, height) = (level / 8, level % 8);
        if tile_level >= 8 {
            return None;
        }
        let stored = self.size >> (8 * tile_level);
        let first = index.checked_mul(1 << height)?;
        if first.checked_add(1 << height)? > stored {
            return None;
        }
        let tile_index = first / 256;
        let width = (stored - tile_index * 256).min(256) as u16;
        let tile = Tile::hashes(tile_level, tile_index, width)?;
        let mut row = self.part(tile, (first % 256) as usize, 1 << height)?;
        while row.len() > 1 {
            row = row.as_chunks::<2>().0.iter().map(|[left, right]| node_hash(left, right)).collect();
        }
        row.pop()
    }
}
