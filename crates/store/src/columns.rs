//! Events to Arrow: the one place where rows are made. The same batches serve queries while they are
//! young and are written to the segment later, so an event is turned into columns once.
//!
//! Invariant: after [`build`], every group of every event can be rebuilt byte for byte from the batch:
//! where the plain columns do not suffice, the group's bytes stand in `exact_<group>`.

use crate::error::StoreError;
use crate::rebuild::{Columns, rebuild_group};
use crate::schema::{COLS, Get, STORED, UTC};
use arrow::array::{
    ArrayRef, BooleanArray, BooleanBuilder, FixedSizeBinaryBuilder, Int64Array, Int64Builder,
    LargeBinaryBuilder, ListBuilder, RecordBatch, StringViewArray, StringViewBuilder,
    TimestampNanosecondArray, new_null_array,
};
use arrow::datatypes::Schema;
use countersign_event::{Event, Frame, GROUPS};
use std::sync::Arc;

/// One leaf on its way into columns.
pub(crate) struct Row<'a> {
    /// Leaf index.
    pub(crate) index: u64,
    /// The event and its committed bytes; `None` for a leaf that is no event.
    pub(crate) event: Option<(&'a Event, &'a Frame)>,
}

/// Smallest and largest block for texts that do not fit into a view.
const BLOCK_BYTES: (usize, usize) = (256, 1 << 20);

/// The columns of these rows.
pub(crate) fn build(rows: &[Row<'_>]) -> Result<RecordBatch, StoreError> {
    let plain: Vec<ArrayRef> = COLS
        .iter()
        .filter(|col| col.stored() && !matches!(col.get, Get::Exact))
        .map(|col| array(&col.get, rows))
        .collect::<Result<_, _>>()?;
    let fields: Vec<_> = STORED.fields().iter().take(plain.len()).cloned().collect();
    let without_exact = RecordBatch::try_new(Arc::new(Schema::new(fields)), plain).map_err(engine)?;
    let exact = exact(&without_exact, rows)?;
    let mut arrays = without_exact.columns().to_vec();
    arrays.extend(exact);
    RecordBatch::try_new(STORED.clone(), arrays).map_err(engine)
}

pub(crate) fn engine(error: arrow::error::ArrowError) -> StoreError {
    StoreError::Engine(error.to_string())
}

/// The groups that plain columns do not give back, whole.
fn exact(plain: &RecordBatch, rows: &[Row<'_>]) -> Result<Vec<ArrayRef>, StoreError> {
    let columns = Columns::new(plain)?;
    let mut builders: [Option<LargeBinaryBuilder>; GROUPS] = Default::default();
    let mut scratch = Vec::with_capacity(512);
    for (at, row) in rows.iter().enumerate() {
        let Some((_, frame)) = row.event else { continue };
        for (g, bytes) in frame.groups.iter().enumerate() {
            scratch.clear();
            rebuild_group(&columns, g, at, &mut scratch);
            if scratch != *bytes {
                let builder = builders[g].get_or_insert_with(LargeBinaryBuilder::new);
                pad_binary(builder, at);
                builder.append_value(bytes);
            }
        }
    }
    Ok(builders
        .into_iter()
        .map(|builder| match builder {
            None => new_null_array(&arrow::datatypes::DataType::LargeBinary, rows.len()),
            Some(mut builder) => {
                pad_binary(&mut builder, rows.len());
                Arc::new(builder.finish()) as ArrayRef
            }
        })
        .collect())
}

fn pad_binary(builder: &mut LargeBinaryBuilder, to: usize) {
    use arrow::array::ArrayBuilder;
    while builder.len() < to {
        builder.append_null();
    }
}

/// One column of all rows.
fn array(get: &Get, rows: &[Row<'_>]) -> Result<ArrayRef, StoreError> {
    Ok(match get {
        Get::Text(f) => texts(rows, |e| Some(f(e)).filter(|text| !text.is_empty())),
        Get::Word(f) => texts(rows, f),
        Get::Made(f) => made(rows, f),
        Get::Int(f) => ints(rows, f),
        Get::Time(f) => {
            let values = rows.iter().map(|row| row.event.and_then(|(e, _)| f(e)));
            Arc::new(values.collect::<TimestampNanosecondArray>().with_timezone(UTC))
        }
        Get::Bool(f) => {
            let mut out = BooleanBuilder::with_capacity(rows.len());
            rows.iter().for_each(|row| out.append_option(row.event.and_then(|(e, _)| f(e))));
            Arc::new(out.finish())
        }
        Get::Fixed(bytes, f) => fixed(rows, *bytes, f)?,
        Get::List(f) => lists(rows, f),
        Get::Index => Arc::new(rows.iter().map(|row| row.index as i64).collect::<Int64Array>()),
        Get::IsEvent => {
            Arc::new(BooleanArray::from(rows.iter().map(|row| row.event.is_some()).collect::<Vec<_>>()))
        }
        Get::Exact => return Err(StoreError::Engine("exact groups are built last".to_owned())),
    })
}

/// A builder whose blocks fit the number of rows: a tail of small batches must not hold 8 KiB a column.
fn text_builder(rows: usize) -> StringViewBuilder {
    let block = (rows * 32).clamp(BLOCK_BYTES.0, BLOCK_BYTES.1) as u32;
    StringViewBuilder::with_capacity(rows).with_fixed_block_size(block)
}

fn texts<'a>(rows: &'a [Row<'_>], f: impl Fn(&'a Event) -> Option<&'a str>) -> ArrayRef {
    let mut out: Option<StringViewBuilder> = None;
    for (at, row) in rows.iter().enumerate() {
        let value = row.event.and_then(|(e, _)| f(e));
        match (&mut out, value) {
            (Some(out), value) => out.append_option(value),
            (None, None) => {}
            (None, Some(text)) => {
                let mut fresh = text_builder(rows.len());
                (0..at).for_each(|_| fresh.append_null());
                fresh.append_value(text);
                out = Some(fresh);
            }
        }
    }
    match out {
        Some(mut out) => Arc::new(out.finish()),
        None => Arc::new(StringViewArray::new_null(rows.len())),
    }
}

fn made(rows: &[Row<'_>], f: &fn(&Event) -> Option<String>) -> ArrayRef {
    let mut out = text_builder(rows.len());
    rows.iter().for_each(|row| out.append_option(row.event.and_then(|(e, _)| f(e))));
    Arc::new(out.finish())
}

fn ints(rows: &[Row<'_>], f: &fn(&Event) -> Option<i64>) -> ArrayRef {
    let mut out = Int64Builder::with_capacity(rows.len());
    rows.iter().for_each(|row| out.append_option(row.event.and_then(|(e, _)| f(e))));
    Arc::new(out.finish())
}

fn fixed(rows: &[Row<'_>], bytes: i32, f: &fn(&Event) -> Option<&[u8]>) -> Result<ArrayRef, StoreError> {
    let mut out = FixedSizeBinaryBuilder::with_capacity(rows.len(), bytes);
    for row in rows {
        match row.event.and_then(|(e, _)| f(e)) {
            Some(value) => out.append_value(value).map_err(engine)?,
            None => out.append_null(),
        }
    }
    Ok(Arc::new(out.finish()))
}

fn lists(rows: &[Row<'_>], f: &fn(&Event) -> Vec<&str>) -> ArrayRef {
    let mut out = ListBuilder::new(StringViewBuilder::new().with_fixed_block_size(BLOCK_BYTES.0 as u32));
    for row in rows {
        let items = row.event.map(|(e, _)| f(e)).unwrap_or_default();
        items.iter().for_each(|item| out.values().append_value(item));
        out.append(!items.is_empty());
    }
    Arc::new(out.finish())
}

/// Batches as one, with their texts moved together so that the small blocks can go.
pub(crate) fn merge(batches: &[RecordBatch]) -> Result<RecordBatch, StoreError> {
    let merged = arrow::compute::concat_batches(&STORED, batches).map_err(engine)?;
    let arrays =
        merged.columns().iter().map(|array| match array.as_any().downcast_ref::<StringViewArray>() {
            Some(views) => Arc::new(views.gc()) as ArrayRef,
            None => Arc::clone(array),
        });
    RecordBatch::try_new(STORED.clone(), arrays.collect()).map_err(engine)
}
