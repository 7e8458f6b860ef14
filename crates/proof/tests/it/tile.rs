//! Tiles and entry bundles against `tlog_tiles`; reading a tree back out of its tiles.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::tree::Stored;
use countersign_proof::tile::{
    encode_bundle, encode_hashes, new_bundles, new_tiles, parse_bundle, parse_hashes,
};
use countersign_proof::*;
use proptest::prelude::*;
use std::collections::HashMap;

fn data(index: u64) -> Vec<u8> {
    index.to_be_bytes().to_vec()
}

/// Tile bytes of a tree, computed from the hashes of its levels.
fn tiles_of(tree: &MemoryTree, old: u64, new: u64) -> Vec<(Tile, Vec<u8>)> {
    new_tiles(old, new)
        .into_iter()
        .map(|tile| {
            let TileKind::Hashes(level) = tile.kind else { unreachable!() };
            let first = tile.index * 256;
            let hashes: Vec<Hash> = (first..first + u64::from(tile.width))
                .map(|i| tree.read_hash(8 * level, i).unwrap())
                .collect();
            (tile, encode_hashes(&hashes))
        })
        .collect()
}

struct Disk(HashMap<Tile, Vec<u8>>);

impl TileReader for Disk {
    fn read_tile(&self, tile: &Tile) -> Option<Vec<u8>> {
        self.0.get(tile).cloned()
    }
}

#[test]
fn paths_are_those_of_the_specification() {
    let path = |level, index, width| Tile::hashes(level, index, width).unwrap().path();
    assert_eq!(path(0, 1_234_067, 256), "tile/0/x001/x234/067");
    assert_eq!(path(1, 273, 112), "tile/1/273.p/112");
    assert_eq!(path(63, 0, 1), "tile/63/000.p/1");
    assert_eq!(Tile::entries(256, 256).unwrap().path(), "tile/entries/256");
    assert_eq!(Tile::entries(1000, 7).unwrap().path(), "tile/entries/x001/000.p/7");
    assert!(Tile::hashes(64, 0, 1).is_none());
    assert!(Tile::hashes(0, 0, 0).is_none());
    assert!(Tile::entries(0, 257).is_none());
}

#[test]
fn odd_paths_are_refused() {
    for path in [
        "",
        "tile",
        "tile/",
        "tile/0",
        "tile/0/",
        "tile/0/1",
        "tile/0/01",
        "tile/0/0001",
        "tile/00/001",
        "tile/0/x000/001",
        "tile/0/x001/1",
        "tile/0/001/002",
        "tile/0/001.p/0",
        "tile/0/001.p/256",
        "tile/0/001.p/01",
        "tile/0/001.p/+1",
        "tile/0/+01",
        "tile/64/001",
        "tile/-1/001",
        "tile/data/001",
        "/tile/0/001",
        "tile/0/001/",
        "tile/0/001.p/1/",
        "tile/8/0/001",
        "tile/0/..",
        "tile/0/001 ",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
    ] {
        assert!(Tile::parse(path).is_err(), "{path:?}");
    }
}

#[test]
fn tiles_of_a_growing_log_equal_the_oracle() {
    let (mut tree, mut stored) = (MemoryTree::new(), Stored::default());
    let steps = [0u64, 1, 2, 255, 256, 257, 600, 1024, 70_000];
    for pair in steps.windows(2) {
        for index in pair[0]..pair[1] {
            tree.push(leaf_hash(&data(index)));
            stored.push(index, &data(index));
        }
        let ours = tiles_of(&tree, pair[0], pair[1]);
        let theirs = tlog_tiles::Tile::new_tiles(8, pair[0], pair[1]);
        assert_eq!(ours.len(), theirs.len());
        for ((tile, bytes), oracle) in ours.iter().zip(&theirs) {
            // Go's tlog, and so the oracle, writes the height as well: tile/8/0/001.
            assert_eq!(tile.path().replacen("tile/", "tile/8/", 1), oracle.path());
            assert_eq!(*bytes, oracle.read_data(&stored).unwrap());
            assert_eq!(parse_hashes(bytes, tile.width).unwrap().len(), usize::from(tile.width));
        }
    }
}

#[test]
fn proofs_read_out_of_tiles_equal_those_of_the_whole_tree() {
    let size = 70_001u64;
    let mut tree = MemoryTree::new();
    for index in 0..size {
        tree.push(leaf_hash(&data(index)));
    }
    let disk = Disk(tiles_of(&tree, 0, size).into_iter().collect());
    let reader = TileHashReader::new(size, &disk);
    assert_eq!(tree_root(size, &reader).unwrap(), tree.root());
    for index in [0, 1, 255, 256, 65_535, 65_536, 70_000] {
        let proof = inclusion_proof(index, size, &reader).unwrap();
        assert_eq!(proof, inclusion_proof(index, size, &tree).unwrap());
        verify_inclusion(&leaf_hash(&data(index)), index, size, &proof, &tree.root()).unwrap();
    }
    for old in [1, 256, 257, 65_536, 69_999] {
        assert_eq!(
            consistency_proof(old, size, &reader).unwrap(),
            consistency_proof(old, size, &tree).unwrap()
        );
    }
    assert_eq!(Frontier::from_reader(size, &reader).unwrap().root(), tree.root());
    assert!(matches!(inclusion_proof(5, 1 << 20, &reader), Err(Error::MissingHash { .. })));
    assert_eq!(reader.read_hash(64, 0), None);
}

#[test]
fn bundles_hold_exactly_the_entries_asked_for() {
    let entries: Vec<Vec<u8>> = (0..5u8).map(|n| vec![n; usize::from(n) * 3]).collect();
    let bytes = encode_bundle(entries.iter().map(Vec::as_slice)).unwrap();
    assert_eq!(parse_bundle(&bytes, 5).unwrap(), entries);
    assert!(parse_bundle(&bytes, 4).is_err());
    assert!(parse_bundle(&bytes, 6).is_err());
    assert!(parse_bundle(&bytes[..bytes.len() - 1], 5).is_err());
    assert!(encode_bundle(vec![&b"x"[..]; 257]).is_err());
    assert!(encode_bundle([vec![0; 65_536].as_slice()]).is_err());
    assert_eq!(
        new_bundles(250, 520).iter().map(Tile::path).collect::<Vec<_>>(),
        ["tile/entries/000", "tile/entries/001", "tile/entries/002.p/8"]
    );
}

proptest! {
    #[test]
    fn any_tile_has_one_path_and_the_oracle_agrees(level in 0u8..64, index in 0u64..1 << 62, width in 1u16..=256) {
        let tile = Tile::hashes(level, index, width).unwrap();
        prop_assert_eq!(Tile::parse(&tile.path()).unwrap(), tile);
        let oracle = tlog_tiles::Tile::new(8, level, index, width.into(), false);
        prop_assert_eq!(tile.path().replacen("tile/", "tile/8/", 1), oracle.path());
        let bundle = Tile::entries(index, width).unwrap();
        prop_assert_eq!(Tile::parse(&bundle.path()).unwrap(), bundle);
    }

    #[test]
    fn any_text_is_a_path_only_if_it_is_written_that_way(text in "(tile/)?[0-9x./pentris+-]{0,30}") {
        if let Ok(tile) = Tile::parse(&text) {
            prop_assert_eq!(tile.path(), text);
        }
    }

    #[test]
    fn any_bundle_survives_the_round_trip(entries in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..90), 0..=256)) {
        let bytes = encode_bundle(entries.iter().map(Vec::as_slice)).unwrap();
        prop_assert_eq!(parse_bundle(&bytes, entries.len() as u16).unwrap(), entries);
    }
}
