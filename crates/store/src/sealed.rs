//! A sealed segment as queries see it: its decoded footer, kept, and its bytes, read when asked for.
//!
//! DataFusion skips its own cache of footers for encrypted files; a segment never changes, so ours never
//! has to be dropped. The decoded footer carries the keys: no key travels in a plan.

use crate::error::StoreError;
use crate::segment;
use bytes::Bytes;
use countersign_event::Frame;
use countersign_ledger::{Ledger, SegmentInfo};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::ParquetFileReaderFactory;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt;
use futures::future::BoxFuture;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
};
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

/// One sealed segment.
pub(crate) struct Sealed {
    pub(crate) info: SegmentInfo,
    pub(crate) path: PathBuf,
    ledger: Ledger,
    footer: OnceLock<Arc<ParquetMetaData>>,
}

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealed").field("first", &self.info.first).finish_non_exhaustive()
    }
}

impl Sealed {
    pub(crate) fn new(dir: &std::path::Path, ledger: &Ledger, info: SegmentInfo) -> Sealed {
        let path = segment::path(dir, info.first, info.version);
        Sealed { info, path, ledger: ledger.clone(), footer: OnceLock::new() }
    }
    /// File name inside the data directory.
    pub(crate) fn file(&self) -> String {
        segment::relative(self.info.first, self.info.version)
    }
    fn fail(&self, error: &dyn std::fmt::Display) -> StoreError {
        StoreError::Segment { file: self.file(), what: format!("cannot be read: {error}") }
    }
    fn open(&self) -> Result<File, StoreError> {
        File::open(&self.path).map_err(|e| self.fail(&e))
    }

    /// The footer, decrypted once; its length and rows must be what the manifest says.
    pub(crate) fn footer(&self) -> Result<Arc<ParquetMetaData>, StoreError> {
        if let Some(footer) = self.footer.get() {
            return Ok(Arc::clone(footer));
        }
        let file = self.open()?;
        let len = file.metadata().map_err(|e| self.fail(&e))?.len();
        if len != self.info.file_len {
            return Err(self.fail(&format!("it is {len} bytes long, {} were sealed", self.info.file_len)));
        }
        let key = self.ledger.segment_key(self.info.first)?;
        let footer = ParquetMetaDataReader::new()
            .with_decryption_properties(Some(segment::decryption(&key)?))
            .with_column_index_policy(PageIndexPolicy::Skip)
            .with_offset_index_policy(PageIndexPolicy::Optional)
            .parse_and_finish(&file)
            .map_err(|e| self.fail(&e))?;
        let rows = footer.file_metadata().num_rows() as u64;
        if rows != self.info.end - self.info.first {
            return Err(
                self.fail(&format!("it has {rows} rows, {} were sealed", self.info.end - self.info.first))
            );
        }
        Ok(Arc::clone(self.footer.get_or_init(|| Arc::new(footer))))
    }

    /// Frames of the leaves `from..to`, which lie inside.
    pub(crate) fn frames(&self, from: u64, to: u64) -> Result<Vec<Option<Frame>>, StoreError> {
        let metadata = ArrowReaderMetadata::try_new(self.footer()?, ArrowReaderOptions::new())
            .map_err(|e| self.fail(&e))?;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(self.open()?, metadata);
        let mask = segment::rebuild_mask(builder.parquet_schema());
        let selection = RowSelection::from(vec![
            RowSelector::skip((from - self.info.first) as usize),
            RowSelector::select((to - from) as usize),
            RowSelector::skip((self.info.end - to) as usize),
        ]);
        let reader =
            builder.with_projection(mask).with_row_selection(selection).with_batch_size(1_024).build();
        let mut frames = Vec::with_capacity((to - from) as usize);
        for batch in reader.map_err(|e| self.fail(&e))? {
            frames.extend(segment::frames(&batch.map_err(|e| self.fail(&e))?)?);
        }
        if frames.len() as u64 == to - from { Ok(frames) } else { Err(self.fail(&"rows are missing")) }
    }
}

/// Hands DataFusion a reader with the kept footer. The segment travels with the file.
#[derive(Debug)]
pub(crate) struct Readers;

impl ParquetFileReaderFactory for Readers {
    fn create_reader(
        &self,
        _partition: usize,
        file: PartitionedFile,
        _hint: Option<usize>,
        _metrics: &ExecutionPlanMetricsSet,
    ) -> datafusion::common::Result<Box<dyn AsyncFileReader + Send>> {
        let segment = file.extension::<Arc<Sealed>>().cloned();
        let segment = segment
            .ok_or_else(|| datafusion::common::internal_datafusion_err!("a file without its segment"))?;
        let open = segment.open().map_err(|e| datafusion::common::DataFusionError::External(Box::new(e)))?;
        Ok(Box::new(SegmentReader { segment, file: open }))
    }
}

/// Reads ranges of one open file: the handle keeps the bytes even if the name goes.
struct SegmentReader {
    segment: Arc<Sealed>,
    file: File,
}

impl AsyncFileReader for SegmentReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        let mut buffer = vec![0; (range.end - range.start) as usize];
        let read = self.file.read_exact_at(&mut buffer, range.start);
        let out = read.map(|()| Bytes::from(buffer)).map_err(|e| ParquetError::External(Box::new(e)));
        futures::future::ready(out).boxed()
    }
    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, parquet::errors::Result<Arc<ParquetMetaData>>> {
        let footer = self.segment.footer().map_err(|e| ParquetError::External(Box::new(e)));
        futures::future::ready(footer).boxed()
    }
}
