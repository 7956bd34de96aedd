//! Header of a GGUF file: metadata and tensor table, read as hostile input.
//!
//! Layout (GGUF specification, versions 2 and 3, little-endian): magic, version, counts, key/value
//! pairs, tensor table, padding to the alignment, tensor data. Every length and offset is checked
//! against the file before use.

use std::collections::BTreeMap;

use super::fault::Fault;
use super::quants::Kind;

/// No model needs more, and the limit keeps a hostile count from reserving memory.
const MAX_ENTRIES: u64 = 1 << 20;
const MAX_ARRAY: u64 = 1 << 24;
const MAX_DIMENSIONS: u32 = 4;

/// A metadata value. Numbers of all widths are kept in the widest of their kind.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Integer(i128),
    Float(f64),
    Bool(bool),
    Text(String),
    Texts(Vec<String>),
    Numbers(Vec<f64>),
}

/// A row of the tensor table.
pub(super) struct TensorEntry {
    /// Outermost first, unlike in the file.
    pub(super) shape: Vec<usize>,
    pub(super) kind: Kind,
    /// From the start of the file.
    pub(super) start: usize,
    pub(super) length: usize,
}

impl Value {
    /// What an error says of a value that should have been another: of lists their length only.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Texts(texts) => format!("a list of {} strings", texts.len()),
            Self::Numbers(numbers) => format!("a list of {} numbers", numbers.len()),
            Self::Text(text) => {
                format!("the string {:?}", text.chars().take(64).collect::<String>())
            }
            other => format!("{other:?}"),
        }
    }
}

/// What stands before the tensor data.
pub(super) struct Header {
    pub(super) metadata: BTreeMap<String, Value>,
    pub(super) tensors: BTreeMap<String, TensorEntry>,
}

/// Reads and checks the header of a file.
///
/// # Errors
/// The first [`Fault`].
pub(super) fn parse(bytes: &[u8]) -> Result<Header, Fault> {
    let mut reader = Reader { bytes, at: 0 };
    if reader.take(4)? != b"GGUF" {
        return Err(Fault::NotGguf);
    }
    let version = reader.u32()?;
    if !(2..=3).contains(&version) {
        return Err(Fault::Version(version));
    }
    let tensor_count = reader.count("tensors", MAX_ENTRIES)?;
    let pair_count = reader.count("metadata pairs", MAX_ENTRIES)?;

    let mut metadata = BTreeMap::new();
    for _ in 0..pair_count {
        let key = reader.string()?;
        let value_type = reader.u32()?;
        let value = reader.value(value_type).map_err(|fault| fault.within("metadata", &key))?;
        if metadata.insert(key.clone(), value).is_some() {
            return Err(Fault::Twice { what: "metadata", name: key });
        }
    }

    let mut table = Vec::new();
    for _ in 0..tensor_count {
        let name = reader.string()?;
        let entry = reader.tensor_entry().map_err(|fault| fault.within("tensor", &name))?;
        table.push((name, entry));
    }
    let alignment = match metadata.get("general.alignment") {
        None => 32,
        Some(Value::Integer(n)) if (1..=1 << 20).contains(n) && n.count_ones() == 1 => *n as usize,
        Some(other) => return Err(Fault::Alignment(other.describe())),
    };
    let tensors = placed(table, reader.at, alignment, bytes.len())?;
    check_overlaps(&tensors)?;
    Ok(Header { metadata, tensors })
}

/// The tensors by name, their places counted from the start of a file of `length` bytes whose
/// tensor table ends at `table_end`.
fn placed(
    table: Vec<(String, TensorEntry)>,
    table_end: usize,
    alignment: usize,
    length: usize,
) -> Result<BTreeMap<String, TensorEntry>, Fault> {
    let data = table_end.checked_next_multiple_of(alignment).ok_or(Fault::DataPastEnd)?;
    let mut tensors = BTreeMap::new();
    for (name, entry) in table {
        let start = entry.start.checked_add(data);
        let end = start.and_then(|start| start.checked_add(entry.length));
        let Some(start) = start.filter(|_| end.is_some_and(|end| end <= length)) else {
            return Err(Fault::Truncated { tensor: name });
        };
        if !start.is_multiple_of(alignment) {
            return Err(Fault::Unaligned { tensor: name, alignment });
        }
        if tensors.insert(name.clone(), TensorEntry { start, ..entry }).is_some() {
            return Err(Fault::Twice { what: "tensor", name });
        }
    }
    Ok(tensors)
}

/// Tensors that share bytes would let a small file ask for any amount of memory.
fn check_overlaps(tensors: &BTreeMap<String, TensorEntry>) -> Result<(), Fault> {
    let filled = tensors.iter().filter(|(_, entry)| entry.length > 0);
    let mut places: Vec<_> =
        filled.map(|(name, entry)| (entry.start, entry.length, name)).collect();
    places.sort_unstable();
    for pair in places.windows(2) {
        let [(start, length, name), (next, _, other)] = pair else { continue };
        if start + length > *next {
            let (first, second) = ((*name).clone(), (*other).clone());
            return Err(Fault::Overlap { first, second, at: *next });
        }
    }
    Ok(())
}

/// Reads forward and never past the end.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or(Fault::Ends { count, at: self.at, length: self.bytes.len() })?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let taken = self.take(N)?;
        let mut array = [0; N];
        array.copy_from_slice(taken);
        Ok(array)
    }

    fn u32(&mut self) -> Result<u32, Fault> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Fault> {
        self.array().map(u64::from_le_bytes)
    }

    fn count(&mut self, what: &'static str, limit: u64) -> Result<usize, Fault> {
        let count = self.u64()?;
        if count > limit {
            return Err(Fault::TooMany { count, what, limit });
        }
        Ok(count as usize)
    }

    fn string(&mut self) -> Result<String, Fault> {
        let at = self.at;
        let length = self.u64()?;
        let length = usize::try_from(length).map_err(|_| Fault::LongString { length, at })?;
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes)
            .map(str::to_owned)
            .map_err(|source| Fault::NotUtf8 { at, source })
    }

    fn value(&mut self, value_type: u32) -> Result<Value, Fault> {
        const STRING: u32 = 8;
        const ARRAY: u32 = 9;
        match value_type {
            STRING => self.string().map(Value::Text),
            ARRAY => {
                let element = self.u32()?;
                let count = self.count("elements", MAX_ARRAY)?;
                match element {
                    STRING => (0..count)
                        .map(|_| self.string())
                        .collect::<Result<_, _>>()
                        .map(Value::Texts),
                    ARRAY => Err(Fault::NestedArray),
                    _ => (0..count)
                        .map(|_| match self.scalar(element)? {
                            Value::Integer(n) => Ok(n as f64),
                            Value::Float(x) => Ok(x),
                            Value::Bool(b) => Ok(f64::from(b)),
                            _ => Err(Fault::ValueType(element)),
                        })
                        .collect::<Result<_, Fault>>()
                        .map(Value::Numbers),
                }
            }
            _ => self.scalar(value_type),
        }
    }

    fn scalar(&mut self, value_type: u32) -> Result<Value, Fault> {
        Ok(match value_type {
            0 => Value::Integer(u8::from_le_bytes(self.array()?).into()),
            1 => Value::Integer(i8::from_le_bytes(self.array()?).into()),
            2 => Value::Integer(u16::from_le_bytes(self.array()?).into()),
            3 => Value::Integer(i16::from_le_bytes(self.array()?).into()),
            4 => Value::Integer(u32::from_le_bytes(self.array()?).into()),
            5 => Value::Integer(i32::from_le_bytes(self.array()?).into()),
            6 => Value::Float(f32::from_le_bytes(self.array()?).into()),
            7 => match u8::from_le_bytes(self.array()?) {
                0 => Value::Bool(false),
                1 => Value::Bool(true),
                other => return Err(Fault::Bool(other)),
            },
            10 => Value::Integer(u64::from_le_bytes(self.array()?).into()),
            11 => Value::Integer(i64::from_le_bytes(self.array()?).into()),
            12 => Value::Float(f64::from_le_bytes(self.array()?)),
            other => return Err(Fault::ValueType(other)),
        })
    }

    /// One row of the tensor table; `start` is still relative to the tensor data.
    fn tensor_entry(&mut self) -> Result<TensorEntry, Fault> {
        let dimensions = self.u32()?;
        if dimensions > MAX_DIMENSIONS {
            return Err(Fault::Dimensions { found: dimensions, limit: MAX_DIMENSIONS });
        }
        let mut shape = Vec::new();
        for _ in 0..dimensions {
            let size = self.u64()?;
            shape.push(usize::try_from(size).map_err(|_| Fault::Dimension(size))?);
        }
        shape.reverse();
        if shape.contains(&0) {
            return Err(Fault::EmptyDimension(shape));
        }
        let kind = Kind::from_code(self.u32()?)?;
        let start = self.u64()?;
        let start = usize::try_from(start).map_err(|_| Fault::Offset(start))?;
        let length = kind.byte_length(&shape)?;
        Ok(TensorEntry { shape, kind, start, length })
    }
}
