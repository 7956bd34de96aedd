//! GGUF files: header, metadata and tensor table, read as hostile input from a memory map.
//!
//! Layout (GGUF specification, versions 2 and 3, little-endian): magic, version, counts, key/value
//! pairs, tensor table, padding to the alignment, tensor data. Every length and offset is checked
//! against the file before use.

mod coded;
mod model;
mod quants;
mod vocabulary;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use crate::files::identity::Identity;
use crate::files::source::{Stored, Tensor};
use crate::{Error, Result};
pub(crate) use coded::Coded;
use quants::Kind;

/// No model needs more, and the limit keeps a hostile count from reserving memory.
const MAX_ENTRIES: u64 = 1 << 20;
const MAX_ARRAY: u64 = 1 << 24;
const MAX_DIMENSIONS: u32 = 4;

/// A metadata value. Numbers of all widths are kept in the widest of their kind.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Integer(i128),
    Float(f64),
    Bool(bool),
    Text(String),
    Texts(Vec<String>),
    Numbers(Vec<f64>),
}

struct TensorEntry {
    /// Outermost first, unlike in the file.
    shape: Vec<usize>,
    kind: Kind,
    /// From the start of the file.
    start: usize,
    length: usize,
}

/// An open GGUF file.
pub(crate) struct Gguf {
    path: PathBuf,
    file: File,
    map: Mmap,
    metadata: BTreeMap<String, Value>,
    tensors: BTreeMap<String, TensorEntry>,
}

impl Value {
    /// What an error says of a value that should have been another: of lists their length only.
    fn describe(&self) -> String {
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

impl Gguf {
    /// Maps and checks the file; reads no tensor data.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io(path))?;
        // SAFETY: the map is read-only. A file truncated by another process while it is mapped can
        // end this process with SIGBUS, as for every program that maps its models; the cache
        // replaces files atomically.
        let map = unsafe { Mmap::map(&file) }.map_err(Error::io(path))?;
        let (metadata, tensors) = parse(&map).map_err(|reason| malformed(path, reason))?;
        Ok(Self { path: path.to_owned(), file, map, metadata, tensors })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Hash of the whole file.
    pub(crate) fn identity(&self) -> Result<Identity> {
        Identity::of(Vec::new(), [(&*self.path, &self.file)])
    }

    /// Shape of a tensor by its GGUF name.
    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|entry| entry.shape.as_slice())
    }

    /// The tensor with this GGUF name, rows as in the file.
    pub(crate) fn read(&self, name: &str) -> Option<Stored<'_>> {
        let TensorEntry { shape, kind, start, length } = self.tensors.get(name)?;
        let bytes = &self.map[*start..start + length];
        Some(match (kind.bits(), &shape[..]) {
            (Some(bits), &[rows, columns]) => Stored::Coded(Coded {
                kind: *kind,
                bits,
                bytes,
                shape: [rows, columns],
                head_dim: None,
            }),
            _ => Stored::Floats(Tensor { shape: shape.clone(), data: kind.dequantise(bytes) }),
        })
    }

    fn value(&self, key: &str) -> Option<&Value> {
        self.metadata.get(key)
    }

    fn text(&self, key: &str) -> Option<&str> {
        match self.value(key) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    fn malformed(&self, reason: impl Into<String>) -> Error {
        malformed(&self.path, reason.into())
    }

    fn unsupported(&self, what: impl Into<String>) -> Error {
        Error::Unsupported { path: self.path.clone(), what: what.into() }
    }
}

fn malformed(path: &Path, reason: String) -> Error {
    Error::Malformed { path: path.to_owned(), format: "GGUF", reason }
}

type Parsed = (BTreeMap<String, Value>, BTreeMap<String, TensorEntry>);

fn parse(bytes: &[u8]) -> Result<Parsed, String> {
    let mut reader = Reader { bytes, at: 0 };
    if reader.take(4)? != b"GGUF" {
        return Err("it does not start with `GGUF`".into());
    }
    let version = reader.u32()?;
    if !(2..=3).contains(&version) {
        return Err(format!("version {version}, expected 2 or 3 (little-endian)"));
    }
    let tensor_count = reader.count("tensors", MAX_ENTRIES)?;
    let pair_count = reader.count("metadata pairs", MAX_ENTRIES)?;

    let mut metadata = BTreeMap::new();
    for _ in 0..pair_count {
        let key = reader.string()?;
        let value_type = reader.u32()?;
        let value =
            reader.value(value_type).map_err(|reason| format!("metadata `{key}`: {reason}"))?;
        if metadata.insert(key.clone(), value).is_some() {
            return Err(format!("metadata `{key}` stands twice"));
        }
    }

    let mut table = Vec::new();
    for _ in 0..tensor_count {
        let name = reader.string()?;
        let entry = reader.tensor_entry().map_err(|reason| format!("tensor `{name}`: {reason}"))?;
        table.push((name, entry));
    }

    let alignment = match metadata.get("general.alignment") {
        None => 32,
        Some(Value::Integer(n)) if (1..=1 << 20).contains(n) && n.count_ones() == 1 => *n as usize,
        Some(other) => {
            return Err(format!("`general.alignment`: {} is no power of two", other.describe()));
        }
    };
    let data_start = reader
        .at
        .checked_next_multiple_of(alignment)
        .ok_or("the tensor data starts past the end")?;
    let mut tensors = BTreeMap::new();
    for (name, mut entry) in table {
        let end = entry
            .start
            .checked_add(data_start)
            .and_then(|start| {
                entry.start = start;
                start.checked_add(entry.length)
            })
            .filter(|end| *end <= bytes.len());
        if end.is_none() {
            return Err(format!("tensor `{name}` reaches past the end of the file (truncated?)"));
        }
        if !entry.start.is_multiple_of(alignment) {
            return Err(format!("tensor `{name}` is not aligned to {alignment} bytes"));
        }
        if tensors.insert(name.clone(), entry).is_some() {
            return Err(format!("tensor `{name}` stands twice"));
        }
    }
    check_overlaps(&tensors)?;
    Ok((metadata, tensors))
}

/// Tensors that share bytes would let a small file ask for any amount of memory.
fn check_overlaps(tensors: &BTreeMap<String, TensorEntry>) -> Result<(), String> {
    let filled = tensors.iter().filter(|(_, entry)| entry.length > 0);
    let mut places: Vec<_> =
        filled.map(|(name, entry)| (entry.start, entry.length, name)).collect();
    places.sort_unstable();
    for pair in places.windows(2) {
        let [(start, length, name), (next, _, other)] = pair else { continue };
        if start + length > *next {
            return Err(format!("tensors `{name}` and `{other}` overlap at offset {next}"));
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
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| {
            format!(
                "{count} bytes wanted at offset {}, but the file ends at {}",
                self.at,
                self.bytes.len()
            )
        })?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let taken = self.take(N)?;
        let mut array = [0; N];
        array.copy_from_slice(taken);
        Ok(array)
    }

    fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_le_bytes)
    }

    fn count(&mut self, what: &str, limit: u64) -> Result<usize, String> {
        let count = self.u64()?;
        if count > limit {
            return Err(format!("{count} {what}, expected at most {limit}"));
        }
        Ok(count as usize)
    }

    fn string(&mut self) -> Result<String, String> {
        let at = self.at;
        let length = self.u64()?;
        let length =
            usize::try_from(length).map_err(|_| format!("a string of {length} bytes at {at}"))?;
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes)
            .map(str::to_owned)
            .map_err(|_| format!("the string at {at} is not UTF-8"))
    }

    fn value(&mut self, value_type: u32) -> Result<Value, String> {
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
                    ARRAY => Err("an array of arrays".into()),
                    _ => (0..count)
                        .map(|_| match self.scalar(element)? {
                            Value::Integer(n) => Ok(n as f64),
                            Value::Float(x) => Ok(x),
                            Value::Bool(b) => Ok(f64::from(b)),
                            _ => Err("an array of no known type".into()),
                        })
                        .collect::<Result<_, String>>()
                        .map(Value::Numbers),
                }
            }
            _ => self.scalar(value_type),
        }
    }

    fn scalar(&mut self, value_type: u32) -> Result<Value, String> {
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
                other => return Err(format!("a truth value of {other}")),
            },
            10 => Value::Integer(u64::from_le_bytes(self.array()?).into()),
            11 => Value::Integer(i64::from_le_bytes(self.array()?).into()),
            12 => Value::Float(f64::from_le_bytes(self.array()?)),
            other => return Err(format!("unknown value type {other}")),
        })
    }

    /// One row of the tensor table; `start` is still relative to the tensor data.
    fn tensor_entry(&mut self) -> Result<TensorEntry, String> {
        let dimensions = self.u32()?;
        if dimensions > MAX_DIMENSIONS {
            return Err(format!("{dimensions} dimensions, expected at most {MAX_DIMENSIONS}"));
        }
        let mut shape = Vec::new();
        for _ in 0..dimensions {
            let size = self.u64()?;
            shape.push(usize::try_from(size).map_err(|_| format!("a dimension of {size}"))?);
        }
        shape.reverse();
        if shape.contains(&0) {
            return Err(format!("shape {shape:?} has an empty dimension"));
        }
        let kind = Kind::from_code(self.u32()?)?;
        let start = self.u64()?;
        let start = usize::try_from(start).map_err(|_| format!("an offset of {start}"))?;
        let length = kind.byte_length(&shape)?;
        Ok(TensorEntry { shape, kind, start, length })
    }
}

#[cfg(test)]
mod tests;
