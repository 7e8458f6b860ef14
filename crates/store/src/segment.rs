//! The segment file: Parquet with modular encryption, zstd-1, one row a leaf in leaf order, row groups of
//! at most one subtree. `docs/reference/segments.md` is its text.
//!
//! Invariants: every column has a key, or parquet would write it in clear; no Bloom filters, which parquet
//! writes in clear; a file is complete under its name or not there (temp, fsync, rename, fsync directory);
//! what is read back is checked by a reader that shares nothing with the writer.

use crate::columns::engine;
use crate::error::StoreError;
use crate::rebuild::{Columns, NEEDED_NOT};
use crate::schema::{self, LATER, STORED};
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{FieldRef, Int64Type, Schema, TimestampNanosecondType};
use countersign_event::Frame;
use countersign_ledger::{SegmentInfo, SegmentKey, SegmentRows};
use parquet::arrow::arrow_reader::{
    ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::{ArrowSchemaConverter, ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::encryption::decrypt::FileDecryptionProperties;
use parquet::encryption::encrypt::FileEncryptionProperties;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::{ColumnPath, SchemaDescriptor};
use ring::{digest, hkdf};
use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

/// Most rows of one row group: one height-16 subtree.
pub(crate) const ROW_GROUP_ROWS: usize = 65_536;
/// Rows decoded at once on the way back: bounds memory when every event is as large as can be.
const READ_ROWS: usize = 1_024;
/// Directory of segment files inside the data directory.
pub(crate) const DIR: &str = "seg";

/// Name of the file of one segment version.
pub(crate) fn file_name(first: u64, version: u32) -> String {
    format!("{first:020}-{version}.parquet")
}
/// The same, relative to the data directory.
pub(crate) fn relative(first: u64, version: u32) -> String {
    format!("{DIR}/{}", file_name(first, version))
}
pub(crate) fn path(dir: &Path, first: u64, version: u32) -> PathBuf {
    dir.join(DIR).join(file_name(first, version))
}

/// Physical columns of the file: path, name of its column, group.
static LEAVES: LazyLock<Vec<(String, &'static schema::Col)>> = LazyLock::new(|| {
    let Ok(parquet) = parquet_schema() else { return Vec::new() };
    let leaves = parquet.columns().iter().filter_map(|leaf| {
        let root = leaf.path().parts().first()?;
        Some((leaf.path().string(), schema::find(root)?))
    });
    leaves.collect()
});

fn parquet_schema() -> Result<SchemaDescriptor, StoreError> {
    ArrowSchemaConverter::new().convert(&STORED).map_err(|e| StoreError::Engine(e.to_string()))
}

/// Keys of one file, by HKDF-SHA256 from its data key: footer, groups 0 to 4, group 5, group 6.
struct Keys {
    footer: Vec<u8>,
    low: Vec<u8>,
    content: Vec<u8>,
    body: Vec<u8>,
}

struct KeyLen;
impl hkdf::KeyType for KeyLen {
    fn len(&self) -> usize {
        32
    }
}

impl Keys {
    fn of(key: &SegmentKey) -> Result<Keys, StoreError> {
        let failed = |_| StoreError::Engine("key derivation failed".to_owned());
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"countersign segment v1");
        let root = salt.extract(key.data_key.as_ref());
        let derive = |label: &[u8]| {
            let mut out = vec![0; 32];
            root.expand(&[label], KeyLen).and_then(|okm| okm.fill(&mut out)).map_err(failed)?;
            Ok::<_, StoreError>(out)
        };
        Ok(Keys {
            footer: derive(b"footer")?,
            low: derive(b"groups 0-4")?,
            content: derive(b"group 5")?,
            body: derive(b"group 6")?,
        })
    }
    fn of_group(&self, group: u8) -> &[u8] {
        match group {
            0..=4 => &self.low,
            5 => &self.content,
            _ => &self.body,
        }
    }
}

/// For a file with these columns.
fn encryption(key: &SegmentKey, columns: &Schema) -> Result<Arc<FileEncryptionProperties>, StoreError> {
    let keys = Keys::of(key)?;
    let mut builder = FileEncryptionProperties::builder(keys.footer.clone())
        .with_plaintext_footer(false)
        .with_aad_prefix(key.aad_prefix.clone())
        .with_aad_prefix_storage(false);
    for (path, col) in LEAVES.iter().filter(|(_, col)| columns.index_of(col.name).is_ok()) {
        builder = builder.with_column_key(path, keys.of_group(col.group).to_vec());
    }
    builder.build().map_err(|e| StoreError::Engine(e.to_string()))
}

pub(crate) fn decryption(key: &SegmentKey) -> Result<Arc<FileDecryptionProperties>, StoreError> {
    let keys = Keys::of(key)?;
    let mut builder =
        FileDecryptionProperties::builder(keys.footer.clone()).with_aad_prefix(key.aad_prefix.clone());
    for (path, col) in LEAVES.iter() {
        builder = builder.with_column_key(path, keys.of_group(col.group).to_vec());
    }
    builder.build().map_err(|e| StoreError::Engine(e.to_string()))
}

/// Random or nearly so: a dictionary would only be thrown away.
const RANDOM: [&str; 6] = ["x_eid", "trace", "span", "parent", "req_digest", "rsp_digest"];
/// Rising numbers.
const RISING: [&str; 6] = ["index", "time", "seen", "seq", "duration_ns", "conn_seq"];

fn properties(key: &SegmentKey, columns: &Schema) -> Result<WriterProperties, StoreError> {
    let zstd = ZstdLevel::try_new(1).map_err(|e| StoreError::Engine(e.to_string()))?;
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(zstd))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_bloom_filter_enabled(false)
        .set_created_by("countersign".to_owned())
        .with_file_encryption_properties(encryption(key, columns)?);
    for (path, col) in LEAVES.iter() {
        let path = ColumnPath::from(path.split('.').map(str::to_owned).collect::<Vec<_>>());
        if RANDOM.contains(&col.name) {
            builder = builder
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_statistics_enabled(path, EnabledStatistics::None);
        } else if RISING.contains(&col.name) {
            builder = builder
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
        }
    }
    Ok(builder.build())
}

fn failed(first: u64, version: u32, what: &str) -> impl Fn(&dyn std::fmt::Display) -> StoreError {
    let (file, what) = (relative(first, version), what.to_owned());
    move |error| StoreError::Segment { file: file.clone(), what: format!("{what}: {error}") }
}

/// Writes the file under a temporary name, syncs it, moves it to its name and syncs the directory. An
/// older file of that name was never logged (its manifest would have raised the version): it is replaced.
pub(crate) fn write(dir: &Path, key: &SegmentKey, batches: &[RecordBatch]) -> Result<PathBuf, StoreError> {
    let fail = failed(key.segment, key.version, "cannot be written");
    let folder = dir.join(DIR);
    fs::create_dir_all(&folder).map_err(|e| fail(&e))?;
    let target = path(dir, key.segment, key.version);
    let temp = target.with_extension("tmp");
    let file = File::create(&temp).map_err(|e| fail(&e))?;
    let columns = batches.first().map_or_else(|| STORED.clone(), RecordBatch::schema);
    let properties = properties(key, &columns)?;
    let mut writer = ArrowWriter::try_new(BufWriter::with_capacity(1 << 18, file), columns, Some(properties))
        .map_err(|e| fail(&e))?;
    for batch in batches {
        writer.write(batch).map_err(|e| fail(&e))?;
    }
    let mut buffer = writer.into_inner().map_err(|e| fail(&e))?;
    buffer.flush().map_err(|e| fail(&e))?;
    buffer.get_ref().sync_all().map_err(|e| fail(&e))?;
    fs::rename(&temp, &target).map_err(|e| fail(&e))?;
    File::open(&folder).and_then(|folder| folder.sync_all()).map_err(|e| fail(&e))?;
    Ok(target)
}

/// Removes what a crash left between temp and rename.
pub(crate) fn remove_temps(dir: &Path) -> io::Result<usize> {
    let mut removed = 0;
    let entries = match fs::read_dir(dir.join(DIR)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "tmp") {
            fs::remove_file(path)?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// SHA-256 and length of a file, read from the start.
pub(crate) fn digest_of(path: &Path) -> io::Result<([u8; 32], u64)> {
    let mut file = File::open(path)?;
    let mut context = digest::Context::new(&digest::SHA256);
    let (mut buffer, mut len) = (vec![0; 1 << 18], 0);
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        context.update(&buffer[..n]);
        len += n as u64;
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    Ok((out, len))
}

/// Event times inside, smallest and largest; both 0 where there is no event.
pub(crate) fn times(batches: &[RecordBatch]) -> (i64, i64) {
    let mut span: Option<(i64, i64)> = None;
    for batch in batches {
        let Some(column) = batch.column_by_name("time") else { continue };
        let Some(times) = column.as_primitive_opt::<TimestampNanosecondType>() else { continue };
        let bounds = arrow::compute::min(times).zip(arrow::compute::max(times));
        span = match (span, bounds) {
            (Some((a, b)), Some((min, max))) => Some((a.min(min), b.max(max))),
            (span, bounds) => span.or(bounds),
        };
    }
    span.unwrap_or_default()
}

/// Options of a reader with all keys.
pub(crate) fn reader_options(
    key: &SegmentKey,
    index: PageIndexPolicy,
) -> Result<ArrowReaderOptions, StoreError> {
    Ok(ArrowReaderOptions::new()
        .with_file_decryption_properties(decryption(key)?)
        .with_page_index_policy(index))
}

/// Frames of a file, in row order, at most [`READ_ROWS`] decoded at once.
pub(crate) struct Frames {
    reader: ParquetRecordBatchReader,
    ready: VecDeque<Option<Frame>>,
    next_index: u64,
    failed: bool,
}

impl Frames {
    /// A fresh reader over the file.
    pub(crate) fn open(path: &Path, key: &SegmentKey) -> Result<Frames, StoreError> {
        let fail = failed(key.segment, key.version, "cannot be read");
        let file = File::open(path).map_err(|e| fail(&e))?;
        let options = reader_options(key, PageIndexPolicy::Skip)?;
        let builder =
            ParquetRecordBatchReaderBuilder::try_new_with_options(file, options).map_err(|e| fail(&e))?;
        if !ours(builder.schema()) {
            return Err(fail(&"its columns are not those of this version"));
        }
        let mask = rebuild_mask(builder.parquet_schema());
        let reader =
            builder.with_projection(mask).with_batch_size(READ_ROWS).build().map_err(|e| fail(&e))?;
        Ok(Frames { reader, ready: VecDeque::new(), next_index: key.segment, failed: false })
    }

    fn refill(&mut self) -> Result<bool, String> {
        let Some(batch) = self.reader.next() else { return Ok(false) };
        let batch = batch.map_err(|e| e.to_string())?;
        let index = batch.column_by_name("index").and_then(|c| c.as_primitive_opt::<Int64Type>());
        let index = index.ok_or("the column index is missing")?;
        for (row, value) in index.values().iter().enumerate() {
            if *value as u64 != self.next_index + row as u64 {
                return Err(format!("row of leaf {} says it is leaf {value}", self.next_index + row as u64));
            }
        }
        self.next_index += batch.num_rows() as u64;
        self.ready = frames(&batch).map_err(|e| e.to_string())?;
        Ok(true)
    }
}

impl Iterator for Frames {
    type Item = Result<Option<Frame>, String>;
    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() && !self.failed {
            match self.refill() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
        self.ready.pop_front().map(Ok)
    }
}

/// Whether a file has the columns of this version or of an earlier one, each of its type, and no other.
fn ours(file: &Schema) -> bool {
    let known =
        |field: &FieldRef| STORED.field_with_name(field.name()).is_ok_and(|own| own == field.as_ref());
    let there =
        |field: &FieldRef| LATER.contains(&field.name().as_str()) || file.index_of(field.name()).is_ok();
    file.fields().iter().all(known) && STORED.fields().iter().all(there)
}

/// The columns that frames are rebuilt from, and the index.
pub(crate) fn rebuild_mask(parquet: &SchemaDescriptor) -> ProjectionMask {
    let roots = parquet.root_schema().get_fields().iter().enumerate();
    let needed = roots.filter(|(_, root)| !NEEDED_NOT.contains(&root.name()));
    ProjectionMask::roots(parquet, needed.map(|(at, _)| at))
}

/// Frames of all rows of a batch.
pub(crate) fn frames(batch: &RecordBatch) -> Result<VecDeque<Option<Frame>>, StoreError> {
    let columns = Columns::new(batch)?;
    if columns.nulls_where_required() {
        return Err(engine(arrow::error::ArrowError::InvalidArgumentError(
            "an event's required columns are empty".to_owned(),
        )));
    }
    Ok((0..batch.num_rows()).map(|row| columns.frame(row)).collect())
}

/// Reads segment files for the checker: digest and length first, then every row.
#[derive(Clone, Debug)]
pub struct SegmentStore {
    dir: PathBuf,
}

impl SegmentStore {
    /// The segments of this data directory.
    pub fn new(dir: &Path) -> SegmentStore {
        SegmentStore { dir: dir.to_owned() }
    }
}

impl SegmentRows for SegmentStore {
    fn name(&self, segment: &SegmentInfo) -> String {
        relative(segment.first, segment.version)
    }

    fn rows(
        &self,
        segment: &SegmentInfo,
        key: &SegmentKey,
    ) -> Result<countersign_ledger::fsck::Rows<'_>, String> {
        let path = path(&self.dir, segment.first, segment.version);
        let (digest, len) = digest_of(&path).map_err(|e| format!("cannot be read: {e}"))?;
        if len != segment.file_len {
            return Err(format!("is {len} bytes long, {} were sealed", segment.file_len));
        }
        if digest != segment.file_digest {
            return Err("its SHA-256 is not the one that was sealed".to_owned());
        }
        Ok(Box::new(Frames::open(&path, key).map_err(|e| e.to_string())?))
    }
}

/// Bytes of each column of a file.
pub(crate) fn column_bytes(footer: &ParquetMetaData) -> BTreeMap<String, u64> {
    let mut sizes = BTreeMap::new();
    for column in footer.row_groups().iter().flat_map(|group| group.columns()) {
        let size = u64::try_from(column.compressed_size()).unwrap_or(0);
        *sizes.entry(column.column_path().string()).or_insert(0) += size;
    }
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::{Row, build};
    use crate::sample::{Rng, gateway, wild};
    use crate::schema::Get;
    use arrow::array::Array;
    use countersign_event::Event;

    fn key(first: u64) -> SegmentKey {
        SegmentKey { data_key: [8; 32].into(), segment: first, version: 1, aad_prefix: b"origin/1".to_vec() }
    }
    fn batch(first: u64, events: &[(Event, Frame)]) -> RecordBatch {
        let rows: Vec<_> =
            events.iter().zip(first..).map(|((e, f), index)| Row { index, event: Some((e, f)) }).collect();
        build(&rows).unwrap()
    }
    fn encoded(event: Event) -> Option<(Event, Frame)> {
        let frame = event.encode().ok()?;
        Some((Event::decode(&frame).unwrap(), frame))
    }

    #[test]
    fn every_leaf_of_the_file_has_a_group_and_so_a_key() {
        assert_eq!(LEAVES.len(), parquet_schema().unwrap().num_columns());
        assert!(schema::COLS.iter().filter(|c| matches!(c.get, Get::Exact)).count() > 7);
    }

    #[test]
    fn a_segment_gives_back_every_byte_of_events_nobody_expects() {
        let mut rng = Rng(1);
        let events: Vec<_> = (1..3_000).filter_map(|seq| encoded(wild(&mut rng, seq))).collect();
        assert!(events.len() > 2_500, "the generator makes events that can be encoded: {}", events.len());
        let dir = tempfile::tempdir().unwrap();
        let path = write(dir.path(), &key(100), &[batch(100, &events)]).unwrap();
        let back: Vec<_> = Frames::open(&path, &key(100)).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
        assert_eq!(back.len(), events.len());
        for ((_, frame), back) in events.iter().zip(&back) {
            assert_eq!(Some(frame), back.as_ref());
        }
    }

    #[test]
    fn what_a_gateway_records_is_rebuilt_from_plain_columns() {
        let mut rng = Rng(2);
        let events: Vec<_> = (1..200).filter_map(|seq| encoded(gateway(&mut rng, seq))).collect();
        let batch = batch(0, &events);
        for name in schema::EXACT {
            let column = batch.column_by_name(name).unwrap();
            assert_eq!(column.null_count(), events.len(), "{name} is needed for ordinary events");
        }
    }

    #[test]
    fn a_probable_cause_stands_in_its_columns_and_several_stand_whole() {
        let mut rng = Rng(6);
        let mut one = gateway(&mut rng, 1);
        one.links.cause = vec![([5; 16], 7, 900)];
        let mut two = gateway(&mut rng, 2);
        two.links.cause = vec![([6; 16], 1, 450), ([5; 16], 7, 450)];
        let events: Vec<_> = [one, two].into_iter().filter_map(encoded).collect();
        let made = batch(0, &events);
        let exact = made.column_by_name("exact_4").unwrap();
        assert_eq!((exact.is_null(0), exact.is_null(1)), (true, false));
        let scores = made.column_by_name("cause_score").unwrap().as_primitive::<Int64Type>().clone();
        assert_eq!(scores.values(), &[900, 450]);
        let back = frames(&made).unwrap();
        assert!(events.iter().zip(back).all(|((_, frame), back)| Some(frame) == back.as_ref()));
    }

    #[test]
    fn a_segment_of_before_the_columns_of_causes_still_gives_back_every_byte() {
        let mut rng = Rng(7);
        let mut events: Vec<_> = (1..100).filter_map(|seq| encoded(gateway(&mut rng, seq))).collect();
        let dir = tempfile::tempdir().unwrap();
        let path = write(dir.path(), &key(0), &[before_causes(&batch(0, &events))]).unwrap();
        let back: Vec<_> = Frames::open(&path, &key(0)).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
        assert!(events.drain(..).zip(back).all(|((_, frame), back)| Some(frame) == back));
    }

    #[test]
    fn a_file_with_a_strange_or_without_a_needed_column_is_refused() {
        let mut rng = Rng(8);
        let made = batch(0, &[encoded(gateway(&mut rng, 1)).unwrap()]);
        let dir = tempfile::tempdir().unwrap();
        let without = |name: &str| {
            let kept: Vec<_> =
                (0..made.num_columns()).filter(|at| made.schema().field(*at).name() != name).collect();
            made.project(&kept).unwrap()
        };
        for missing in ["status_code", "exact_4", "trace"] {
            let path = write(dir.path(), &key(0), &[without(missing)]).unwrap();
            assert!(Frames::open(&path, &key(0)).is_err(), "{missing}");
        }
        assert!(!ours(&Schema::new(vec![arrow::datatypes::Field::new(
            "x",
            arrow::datatypes::DataType::Utf8,
            true
        )])));
    }

    /// The batch as earlier versions built it. Only for events without causes: theirs stood whole in `exact_4`.
    fn before_causes(batch: &RecordBatch) -> RecordBatch {
        let old = |at: &usize| !LATER.contains(&batch.schema().field(*at).name().as_str());
        batch.project(&(0..batch.num_columns()).filter(old).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn queries_see_segments_of_before_and_of_now_as_one_table() {
        let dir = tempfile::tempdir().unwrap();
        let kek = || countersign_ledger::Kek::from_bytes([42; 32]);
        let options = || countersign_ledger::Options::new("example.org/test/1");
        let (ledger, _) = countersign_ledger::Ledger::open(dir.path(), kek(), options()).unwrap();
        let identity = "spiffe://example.org/gw".to_owned();
        let source = ledger
            .register(countersign_ledger::SourceSpec { identity, stream: crate::sample::STREAM })
            .unwrap();
        let mut rng = Rng(9);
        source.record_wait((1..50).map(|seq| gateway(&mut rng, seq)).collect()).unwrap();
        ledger.close_part().unwrap();
        let end = ledger.size();
        seal_as_before(dir.path(), &ledger, end);
        let store = crate::Store::open(dir.path(), ledger.clone(), crate::StoreOptions::default()).unwrap();
        let mut now = gateway(&mut rng, 50);
        now.links.cause = vec![([5; 16], 7, 900)];
        source.record_wait(vec![now]).unwrap();
        assert!(store.wait_visible(ledger.size(), std::time::Duration::from_secs(60)));
        let sql = "select count(*) as n, count(cause_conn) as m, max(cause_score) as s from events";
        let rows = futures::executor::block_on(store.sql(crate::SqlRequest::new(sql))).unwrap();
        assert_eq!(rows.to_json(), r#"[{"n":50,"m":1,"s":900}]"#);
        let request = crate::FindRequest::new("cause.score:>100 cause.seq:7");
        let found = futures::executor::block_on(store.find(request)).unwrap();
        assert_eq!(found.rows.len(), 1);
        assert!(store.get(end - 1).unwrap().unwrap().event.is_some());
        assert!(!store.column_bytes().unwrap().is_empty());
        store.shutdown();
        ledger.shutdown().unwrap();
    }

    /// Seals all there is as a version without the columns of causes would have.
    fn seal_as_before(dir: &Path, ledger: &countersign_ledger::Ledger, end: u64) {
        let mut reader = ledger.reader(0);
        let mut leaves = Vec::new();
        while leaves.len() < end as usize {
            let fed = reader.next(std::time::Duration::from_secs(60)).unwrap();
            let Some(countersign_ledger::Feed::Batch(batch)) = fed else { continue };
            leaves.extend(batch.records.iter().cloned());
        }
        let row = |leaf: &'_ countersign_ledger::Committed| match &leaf.payload {
            countersign_ledger::Payload::Event { event, frame } => {
                Some((Arc::clone(event), Arc::clone(frame)))
            }
            countersign_ledger::Payload::Body(_) => None,
        };
        let events: Vec<_> = leaves.iter().map(row).collect();
        let rows: Vec<_> = (0..end)
            .zip(&events)
            .map(|(index, event)| Row { index, event: event.as_ref().map(|(e, f)| (&**e, &**f)) })
            .collect();
        let old = before_causes(&build(&rows).unwrap());
        let key = ledger.segment_key(0).unwrap();
        let path = write(dir, &key, std::slice::from_ref(&old)).unwrap();
        let roots = ledger.check_range(0, &mut Frames::open(&path, &key).unwrap()).unwrap();
        let (file_digest, file_len) = digest_of(&path).unwrap();
        let (min_time, max_time) = times(&[old]);
        let version = key.version;
        let sealed = countersign_ledger::SealedSegment {
            first: 0,
            end,
            version,
            file_digest,
            file_len,
            min_time,
            max_time,
            roots,
        };
        ledger.sealed(sealed).unwrap();
    }

    #[test]
    fn leaves_that_are_no_events_keep_their_rows() {
        let mut rng = Rng(3);
        let (event, frame) = encoded(gateway(&mut rng, 1)).unwrap();
        let rows = [
            Row { index: 5, event: None },
            Row { index: 6, event: Some((&event, &frame)) },
            Row { index: 7, event: None },
        ];
        let dir = tempfile::tempdir().unwrap();
        let path = write(dir.path(), &key(5), &[build(&rows).unwrap()]).unwrap();
        let back: Vec<_> = Frames::open(&path, &key(5)).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
        assert_eq!(back, [None, Some(frame), None]);
    }

    #[test]
    fn no_name_value_or_statistic_stands_in_clear() {
        let mut rng = Rng(4);
        let mut events: Vec<_> = (1..2_000).filter_map(|seq| encoded(gateway(&mut rng, seq))).collect();
        let mut marked = gateway(&mut rng, 2_000);
        marked.target.raw = "/MARKER-target".into();
        marked.content.err = "MARKER-error".into();
        marked.content.headers = vec![("x".into(), "MARKER-header".into())];
        marked.body.req.as_mut().unwrap().content_type = "MARKER-type".into();
        events.push(encoded(marked).unwrap());
        let dir = tempfile::tempdir().unwrap();
        let path = write(dir.path(), &key(0), &[batch(0, &events)]).unwrap();
        let bytes = fs::read(path).unwrap();
        assert!(bytes.starts_with(b"PARE") && bytes.ends_with(b"PARE"));
        let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        for col in schema::stored().filter(|col| col.name.len() >= 5) {
            assert!(!holds(col.name.as_bytes()), "the file names its column {}", col.name);
        }
        for marker in
            ["MARKER", "spiffe://", "gw.example.org", "/v1/", "ARROW:schema", "countersign", "origin/1"]
        {
            assert!(!holds(marker.as_bytes()), "{marker} stands in clear");
        }
    }

    #[test]
    fn another_key_version_or_place_opens_nothing() {
        let mut rng = Rng(5);
        let events: Vec<_> = (1..50).filter_map(|seq| encoded(gateway(&mut rng, seq))).collect();
        let dir = tempfile::tempdir().unwrap();
        let path = write(dir.path(), &key(0), &[batch(0, &events)]).unwrap();
        let other_data = SegmentKey { data_key: [9; 32].into(), ..key(0) };
        let other_place = SegmentKey { aad_prefix: b"origin/2".to_vec(), ..key(0) };
        assert!(Frames::open(&path, &other_data).is_err());
        assert!(Frames::open(&path, &other_place).is_err());
        let moved = SegmentKey { segment: 9, ..key(0) };
        assert!(Frames::open(&path, &moved).unwrap().next().unwrap().is_err(), "rows carry their own index");
    }

    #[test]
    fn a_crash_before_the_rename_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(DIR)).unwrap();
        fs::write(dir.path().join(DIR).join("00000000000000000000-1.tmp"), b"torn").unwrap();
        assert_eq!(remove_temps(dir.path()).unwrap(), 1);
        assert_eq!(fs::read_dir(dir.path().join(DIR)).unwrap().count(), 0);
    }
}
