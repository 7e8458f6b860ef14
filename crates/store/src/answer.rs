//! Arrow batches to rows of plain cells, bounded in rows and bytes.

use crate::rows::{Cell, CellKind, Column};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::*;
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// Most bytes of one answer; beyond them it is cut, and says so.
pub(crate) const BYTES_MAX: usize = 256 << 20;

/// Columns of an answer.
pub(crate) fn columns(schema: &Schema) -> Vec<Column> {
    schema
        .fields()
        .iter()
        .map(|f| Column { name: f.name().clone(), kind: kind(f.name(), f.data_type()) })
        .collect()
}

fn kind(name: &str, data_type: &DataType) -> CellKind {
    match data_type {
        t if t.is_integer() => CellKind::Int,
        t if t.is_floating() => CellKind::Float,
        DataType::Boolean => CellKind::Bool,
        DataType::Timestamp(..) => CellKind::Time,
        DataType::FixedSizeBinary(16) if matches!(name, "id" | "of") => CellKind::Uuid,
        DataType::FixedSizeBinary(_) => CellKind::Id,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => CellKind::Bytes,
        DataType::List(_) | DataType::LargeList(_) => CellKind::List,
        _ => CellKind::Text,
    }
}

/// Cells of a batch, at most `room` rows, while `bytes` last.
pub(crate) fn append(batch: &RecordBatch, room: usize, bytes: &mut usize, rows: &mut Vec<Vec<Cell>>) -> bool {
    for row in 0..batch.num_rows() {
        if row == room || *bytes > BYTES_MAX {
            return false;
        }
        let cells: Vec<Cell> = batch.columns().iter().map(|column| cell(column.as_ref(), row)).collect();
        *bytes += cells.iter().map(size).sum::<usize>();
        rows.push(cells);
    }
    true
}

fn size(cell: &Cell) -> usize {
    size_of::<Cell>()
        + match cell {
            Cell::Text(text) => text.len(),
            Cell::Bytes(bytes) => bytes.len(),
            Cell::List(items) => items.iter().map(size).sum(),
            _ => 0,
        }
}

macro_rules! number {
    ($array:expr, $row:expr, $($ty:ident => $make:expr),+) => {
        match $array.data_type() {
            $(DataType::$ty => {
                paste_number!($array, $row, $ty, $make)
            })+
            _ => None,
        }
    };
}
macro_rules! paste_number {
    ($array:expr, $row:expr, Int8, $make:expr) => {
        Some($make($array.as_primitive::<Int8Type>().value($row).into()))
    };
    ($array:expr, $row:expr, Int16, $make:expr) => {
        Some($make($array.as_primitive::<Int16Type>().value($row).into()))
    };
    ($array:expr, $row:expr, Int32, $make:expr) => {
        Some($make($array.as_primitive::<Int32Type>().value($row).into()))
    };
    ($array:expr, $row:expr, Int64, $make:expr) => {
        Some($make($array.as_primitive::<Int64Type>().value($row)))
    };
    ($array:expr, $row:expr, UInt8, $make:expr) => {
        Some($make($array.as_primitive::<UInt8Type>().value($row).into()))
    };
    ($array:expr, $row:expr, UInt16, $make:expr) => {
        Some($make($array.as_primitive::<UInt16Type>().value($row).into()))
    };
    ($array:expr, $row:expr, UInt32, $make:expr) => {
        Some($make($array.as_primitive::<UInt32Type>().value($row).into()))
    };
    ($array:expr, $row:expr, UInt64, $make:expr) => {
        Some($make($array.as_primitive::<UInt64Type>().value($row)))
    };
    ($array:expr, $row:expr, Float32, $make:expr) => {
        Some($make($array.as_primitive::<Float32Type>().value($row).into()))
    };
    ($array:expr, $row:expr, Float64, $make:expr) => {
        Some($make($array.as_primitive::<Float64Type>().value($row)))
    };
}

/// One value.
pub(crate) fn cell(array: &dyn Array, row: usize) -> Cell {
    if array.is_null(row) {
        return Cell::Null;
    }
    let number = number!(array, row, Int8 => Cell::Int, Int16 => Cell::Int, Int32 => Cell::Int, Int64 => Cell::Int,
        UInt8 => Cell::UInt, UInt16 => Cell::UInt, UInt32 => Cell::UInt, UInt64 => Cell::UInt,
        Float32 => Cell::Float, Float64 => Cell::Float);
    number.unwrap_or_else(|| other(array, row))
}

fn other(array: &dyn Array, row: usize) -> Cell {
    match array.data_type() {
        DataType::Null => Cell::Null,
        DataType::Boolean => Cell::Bool(array.as_boolean().value(row)),
        DataType::Utf8 => Cell::Text(array.as_string::<i32>().value(row).to_owned()),
        DataType::LargeUtf8 => Cell::Text(array.as_string::<i64>().value(row).to_owned()),
        DataType::Utf8View => Cell::Text(array.as_string_view().value(row).to_owned()),
        DataType::Binary => Cell::Bytes(array.as_binary::<i32>().value(row).to_vec()),
        DataType::LargeBinary => Cell::Bytes(array.as_binary::<i64>().value(row).to_vec()),
        DataType::BinaryView => Cell::Bytes(array.as_binary_view().value(row).to_vec()),
        DataType::FixedSizeBinary(_) => Cell::Bytes(array.as_fixed_size_binary().value(row).to_vec()),
        DataType::Timestamp(unit, _) => {
            let (value, scale) = match unit {
                TimeUnit::Second => (array.as_primitive::<TimestampSecondType>().value(row), 1_000_000_000),
                TimeUnit::Millisecond => {
                    (array.as_primitive::<TimestampMillisecondType>().value(row), 1_000_000)
                }
                TimeUnit::Microsecond => (array.as_primitive::<TimestampMicrosecondType>().value(row), 1_000),
                TimeUnit::Nanosecond => (array.as_primitive::<TimestampNanosecondType>().value(row), 1),
            };
            Cell::TimeNs(value.saturating_mul(scale))
        }
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            Cell::List((0..items.len()).map(|item| cell(items.as_ref(), item)).collect())
        }
        _ => match ArrayFormatter::try_new(array, &FormatOptions::default()) {
            Ok(formatter) => Cell::Text(formatter.value(row).to_string()),
            Err(error) => Cell::Text(error.to_string()),
        },
    }
}
