//! Functions of our own in SQL. All are pure; patterns and keys must be literals.

use crate::content;
use crate::filter::{Glob, fold, in_block, parse_block};
use crate::rows;
use crate::schema::plain_number;
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, BooleanBuilder, FixedSizeBinaryBuilder, Int64Array,
    LargeBinaryArray, StringViewArray,
};
use arrow::datatypes::{DataType, Field, Int64Type};
use countersign_event::{Kind, Verified, fields};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarUDF, Signature, SimpleScalarUDF, Volatility, create_udf,
};
use std::sync::Arc;

type Args<'a> = &'a [ColumnarValue];

/// All of them.
pub(crate) fn all() -> Vec<ScalarUDF> {
    let (text, big, int, flag) =
        (DataType::Utf8View, DataType::LargeBinary, DataType::Int64, DataType::Boolean);
    let id = DataType::FixedSizeBinary(16);
    let list = DataType::List(Arc::new(Field::new_list_field(DataType::Utf8View, true)));
    let mut searched = vec![text.clone()];
    searched.extend(vec![text.clone(); crate::filter::fields::SEARCHED.len()]);
    let make = |name: &str, args: Vec<DataType>, out: DataType, f: fn(Args<'_>) -> Result<ArrayRef>| {
        create_udf(
            name,
            args,
            out,
            Volatility::Immutable,
            Arc::new(move |args: Args<'_>| scalar_again(args, f(args)?)),
        )
    };
    vec![
        make("event_id", vec![id.clone(), text.clone(), id.clone(), int.clone()], id, event_id),
        make("has_text", searched, flag.clone(), has_text),
        make("any_like", vec![list.clone(), text.clone()], flag.clone(), any_like),
        make("any_match", vec![list, text.clone()], flag.clone(), any_match),
        make("in_cidr", vec![text.clone(), text.clone()], flag, in_cidr),
        hex_function(),
        make("verified_name", vec![int.clone()], text.clone(), verified_name),
        make("number", vec![text.clone()], int, number),
        make("header", vec![big.clone(), text.clone()], text.clone(), |a| keyed(a, content::header_in)),
        make("unmapped", vec![big.clone(), text.clone()], text.clone(), |a| keyed(a, content::unmapped_in)),
        make("sys", vec![big.clone(), text.clone()], text.clone(), |a| keyed(a, sys)),
        make("detail", vec![big, text.clone(), text.clone()], text, detail),
    ]
}

/// One value for one value: a call with literals only stays a literal.
fn scalar_again(args: Args<'_>, out: ArrayRef) -> Result<ColumnarValue> {
    if args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_))) {
        return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&out, 0)?));
    }
    Ok(ColumnarValue::Array(out))
}

fn arrays(args: Args<'_>) -> Result<Vec<ArrayRef>> {
    ColumnarValue::values_to_arrays(args)
}

/// The text of a literal argument.
fn literal(args: Args<'_>, at: usize) -> Result<String> {
    match args.get(at) {
        Some(ColumnarValue::Scalar(ScalarValue::Utf8View(Some(text)) | ScalarValue::Utf8(Some(text)))) => {
            Ok(text.clone())
        }
        Some(ColumnarValue::Array(array)) if array.len() == 1 && array.as_string_view_opt().is_some() => {
            Ok(array.as_string_view().value(0).to_owned())
        }
        _ => exec_err!("argument {} must be a text literal", at + 1),
    }
}

fn texts(array: &ArrayRef) -> Result<&StringViewArray> {
    array.as_string_view_opt().map_or_else(|| exec_err!("expected text"), Ok)
}
fn blobs(array: &ArrayRef) -> Result<&LargeBinaryArray> {
    array.as_binary_opt::<i64>().map_or_else(|| exec_err!("expected bytes"), Ok)
}

fn event_id(args: Args<'_>) -> Result<ArrayRef> {
    let arrays = arrays(args)?;
    let (Some(own), Some(stream)) =
        (arrays[0].as_fixed_size_binary_opt(), arrays[2].as_fixed_size_binary_opt())
    else {
        return exec_err!("expected ids");
    };
    let (agent, Some(seq)) = (texts(&arrays[1])?, arrays[3].as_primitive_opt::<Int64Type>()) else {
        return exec_err!("expected a number");
    };
    let mut out = FixedSizeBinaryBuilder::with_capacity(own.len(), 16);
    for row in 0..own.len() {
        if own.is_valid(row) {
            out.append_value(own.value(row))?;
        } else if let (true, true, Ok(stream)) =
            (agent.is_valid(row), seq.is_valid(row), stream.value(row).try_into())
        {
            out.append_value(countersign_event::eid(agent.value(row), stream, seq.value(row) as u64))?;
        } else {
            out.append_null();
        }
    }
    Ok(Arc::new(out.finish()))
}

fn has_text(args: Args<'_>) -> Result<ArrayRef> {
    let glob = Glob::from_like(&literal(args, 0)?).folded();
    let arrays = arrays(args)?;
    let columns: Vec<&StringViewArray> = arrays[1..].iter().map(texts).collect::<Result<_>>()?;
    let rows = arrays.iter().map(|array| array.len()).max().unwrap_or(0);
    let found = |row: usize| columns.iter().any(|col| col.is_valid(row) && within(&glob, col.value(row)));
    Ok(Arc::new((0..rows).map(|row| Some(found(row))).collect::<BooleanArray>()))
}

fn within(glob: &Glob, text: &str) -> bool {
    glob.within(&fold(text))
}

fn any_of(args: Args<'_>, test: impl Fn(&str) -> bool) -> Result<ArrayRef> {
    let arrays = arrays(args)?;
    let Some(lists) = arrays[0].as_list_opt::<i32>() else { return exec_err!("expected a list") };
    let mut out = BooleanBuilder::with_capacity(lists.len());
    for row in 0..lists.len() {
        let items = lists.is_valid(row).then(|| lists.value(row));
        let found = match &items {
            Some(items) => texts(items)?.iter().flatten().any(&test),
            None => false,
        };
        out.append_value(found);
    }
    Ok(Arc::new(out.finish()))
}

fn any_like(args: Args<'_>) -> Result<ArrayRef> {
    let glob = Glob::from_like(&literal(args, 1)?);
    any_of(args, |text| glob.matches(text))
}

fn any_match(args: Args<'_>) -> Result<ArrayRef> {
    let built =
        regex::RegexBuilder::new(&literal(args, 1)?).size_limit(crate::filter::REGEX_COMPILED_MAX).build();
    match built {
        Ok(regex) => any_of(args, |text| regex.is_match(text)),
        Err(error) => exec_err!("not a regular expression: {error}"),
    }
}

fn in_cidr(args: Args<'_>) -> Result<ArrayRef> {
    let literal = literal(args, 1)?;
    let Some((block, prefix)) = parse_block(&literal) else {
        return exec_err!("`{literal}` is no address block such as 10.0.0.0/8");
    };
    let arrays = arrays(args)?;
    let inside =
        |ip: Option<&str>| ip.and_then(|ip| ip.parse().ok()).is_some_and(|ip| in_block(ip, block, prefix));
    Ok(Arc::new(texts(&arrays[0])?.iter().map(|ip| Some(inside(ip))).collect::<BooleanArray>()))
}

/// `hex` takes bytes of any kind, so its signature is wider than the others'.
fn hex_function() -> ScalarUDF {
    let run = |args: Args<'_>| scalar_again(args, hex(args)?);
    let signature = Signature::any(1, Volatility::Immutable);
    ScalarUDF::from(SimpleScalarUDF::new_with_signature("hex", signature, DataType::Utf8View, Arc::new(run)))
}

fn hex(args: Args<'_>) -> Result<ArrayRef> {
    let arrays = arrays(args)?;
    let bytes = arrow::compute::cast(&arrays[0], &DataType::LargeBinary)?;
    Ok(Arc::new(blobs(&bytes)?.iter().map(|bytes| bytes.map(rows::hex)).collect::<StringViewArray>()))
}

fn verified_name(args: Args<'_>) -> Result<ArrayRef> {
    let arrays = arrays(args)?;
    let Some(levels) = arrays[0].as_primitive_opt::<Int64Type>() else {
        return exec_err!("expected a level");
    };
    let name = |level: i64| u64::try_from(level).ok().and_then(Verified::from_code).map(Verified::word);
    Ok(Arc::new(levels.iter().map(|level| level.and_then(name)).collect::<StringViewArray>()))
}

fn number(args: Args<'_>) -> Result<ArrayRef> {
    let arrays = arrays(args)?;
    Ok(Arc::new(texts(&arrays[0])?.iter().map(|text| text.and_then(plain_number)).collect::<Int64Array>()))
}

fn keyed(args: Args<'_>, get: fn(&[u8], &str) -> Option<String>) -> Result<ArrayRef> {
    let key = literal(args, 1)?;
    let arrays = arrays(args)?;
    let groups = blobs(&arrays[0])?;
    Ok(Arc::new(
        groups.iter().map(|group| group.and_then(|group| get(group, &key))).collect::<StringViewArray>(),
    ))
}

/// A finding's own fields, by name.
fn sys(group: &[u8], name: &str) -> Option<String> {
    let key = fields::sys::finding::KEYS.iter().find(|key| key.name == name)?;
    content::sys_in(group, key.key)
}

fn detail(args: Args<'_>) -> Result<ArrayRef> {
    let key = literal(args, 2)?;
    let arrays = arrays(args)?;
    let (groups, kinds) = (blobs(&arrays[0])?, texts(&arrays[1])?);
    let value = |(group, kind): (Option<&[u8]>, Option<&str>)| {
        content::detail_in(group?, kind.and_then(Kind::from_word), &key)
    };
    Ok(Arc::new(groups.iter().zip(kinds.iter()).map(value).collect::<StringViewArray>()))
}
