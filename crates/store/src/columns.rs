//! Events to Arrow: the one place where rows are made. The same batches serve queries while they are
//! young and are written to the segment later, so an event is turned into columns once.
//!
//! Invariant: after [`build`], every group of every event can be rebuilt byte for byte from the batch:
//! where the plain columns do not suffice, the group's bytes stand in `exact_<group>`.

use crate::error::StoreError;
use crate::rebuild::{Columns, rebuild_group};
use crate::schema::{COLS, Get, STORED, UTC};
use arrow::array::{
    ArrayRef, BooleanBuilder, FixedSizeBinaryBuilder, Int64Builder, LargeBinaryBuilder, ListBuilder,
    RecordBatch, StringViewArray, StringViewBuilder, TimestampNanosecondBuilder, new_null_array,
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
    let cols: Vec<_> = COLS.iter().filter(|col| col.stored() && !matches!(col.get, Get::Exact)).collect();
    let mut building: Vec<Building> = cols.iter().map(|col| Building::new(&col.get, rows.len())).collect();
    for block in rows.chunks(BLOCK_ROWS) {
        for (col, out) in cols.iter().zip(&mut building) {
            out.append(&col.get, block, rows.len())?;
        }
    }
    let plain: Vec<ArrayRef> = building.into_iter().map(Building::finish).collect();
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
    // own ids were told from derived ones a moment ago: no need to derive them again
    let eid = |row: &Row<'_>| row.event.map(|(event, _)| event.core.eid);
    let mut builders: [Option<LargeBinaryBuilder>; GROUPS] = Default::default();
    let mut scratch = Vec::with_capacity(512);
    for (at, row) in rows.iter().enumerate() {
        let Some((_, frame)) = row.event else { continue };
        for (g, bytes) in frame.groups.iter().enumerate() {
            scratch.clear();
            rebuild_group(&columns, g, at, eid(row), &mut scratch);
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

/// Rows turned into columns at once: their events fit into a core's own cache, however many columns read them.
const BLOCK_ROWS: usize = 32;

/// A column being built.
enum Building {
    /// Nothing but nulls so far: their number.
    NoText(usize),
    Text(StringViewBuilder),
    Int(Int64Builder),
    Time(TimestampNanosecondBuilder),
    Bool(BooleanBuilder),
    Fixed(FixedSizeBinaryBuilder),
    List(ListBuilder<StringViewBuilder>),
}

impl Building {
    fn new(get: &Get, rows: usize) -> Building {
        match get {
            Get::Text(_) | Get::Word(_) | Get::Made(_) | Get::Exact => Building::NoText(0),
            Get::Int(_) | Get::Index => Building::Int(Int64Builder::with_capacity(rows)),
            Get::Time(_) => Building::Time(TimestampNanosecondBuilder::with_capacity(rows)),
            Get::Bool(_) | Get::IsEvent => Building::Bool(BooleanBuilder::with_capacity(rows)),
            Get::Fixed(bytes, _) => Building::Fixed(FixedSizeBinaryBuilder::with_capacity(rows, *bytes)),
            Get::List(_) => {
                let items = StringViewBuilder::new().with_fixed_block_size(BLOCK_BYTES.0 as u32);
                Building::List(ListBuilder::with_capacity(items, rows))
            }
        }
    }

    /// The next rows of this column; `all` is the number of rows in the end.
    fn append(&mut self, get: &Get, block: &[Row<'_>], all: usize) -> Result<(), StoreError> {
        let events = block.iter().map(|row| row.event.map(|(event, _)| event));
        match (get, self) {
            (Get::Text(f), out) => {
                events.for_each(|e| out.text(e.map(f).filter(|text| !text.is_empty()), all))
            }
            (Get::Word(f), out) => events.for_each(|e| out.text(e.and_then(f), all)),
            (Get::Made(f), out) => events.for_each(|e| out.text(e.and_then(f), all)),
            (Get::Int(f), Building::Int(out)) => events.for_each(|e| out.append_option(e.and_then(f))),
            (Get::Time(f), Building::Time(out)) => events.for_each(|e| out.append_option(e.and_then(f))),
            (Get::Bool(f), Building::Bool(out)) => events.for_each(|e| out.append_option(e.and_then(f))),
            (Get::Fixed(_, f), Building::Fixed(out)) => {
                for value in events.map(|e| e.and_then(f)) {
                    match value {
                        Some(value) => out.append_value(value).map_err(engine)?,
                        None => out.append_null(),
                    }
                }
            }
            (Get::List(f), Building::List(out)) => {
                for items in events.map(|e| e.map(f).unwrap_or_default()) {
                    items.iter().for_each(|item| out.values().append_value(item));
                    out.append(!items.is_empty());
                }
            }
            (Get::Index, Building::Int(out)) => {
                block.iter().for_each(|row| out.append_value(row.index as i64))
            }
            (Get::IsEvent, Building::Bool(out)) => {
                block.iter().for_each(|row| out.append_value(row.event.is_some()))
            }
            _ => return Err(StoreError::Engine("a column is built as another type".to_owned())),
        }
        Ok(())
    }

    fn text(&mut self, value: Option<impl AsRef<str>>, all: usize) {
        match (&mut *self, value) {
            (Building::NoText(nulls), None) => *nulls += 1,
            (Building::NoText(nulls), Some(value)) => {
                // blocks fit the number of rows: a tail of small batches must not hold 8 KiB a column
                let block = (all * 32).clamp(BLOCK_BYTES.0, BLOCK_BYTES.1) as u32;
                let mut out = StringViewBuilder::with_capacity(all).with_fixed_block_size(block);
                (0..*nulls).for_each(|_| out.append_null());
                out.append_value(value);
                *self = Building::Text(out);
            }
            (Building::Text(out), value) => out.append_option(value),
            _ => {}
        }
    }

    fn finish(self) -> ArrayRef {
        match self {
            Building::NoText(nulls) => Arc::new(StringViewArray::new_null(nulls)),
            Building::Text(mut out) => Arc::new(out.finish()),
            Building::Int(mut out) => Arc::new(out.finish()),
            Building::Time(mut out) => Arc::new(out.finish().with_timezone(UTC)),
            Building::Bool(mut out) => Arc::new(out.finish()),
            Building::Fixed(mut out) => Arc::new(out.finish()),
            Building::List(mut out) => Arc::new(out.finish()),
        }
    }
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
