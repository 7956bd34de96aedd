//! GGUF files, memory-mapped: [`header`] reads metadata and tensor table, [`model`] and
//! [`vocabulary`] what a decoder and its tokenizer need of them, [`quants`] and [`coded`] the
//! weights.

mod coded;
mod fault;
mod header;
mod model;
mod quants;
mod vocabulary;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use super::identity::Identity;
use super::tensor::Tensor;
use crate::error::Cause;
use crate::{Error, Result};
pub(crate) use coded::{Coded, Stored};
use header::{Header, TensorEntry, Value, parse};

/// The format's name in errors.
const FORMAT: &str = "GGUF";

/// An open GGUF file.
pub(crate) struct Gguf {
    path: PathBuf,
    file: File,
    map: Mmap,
    metadata: BTreeMap<String, Value>,
    tensors: BTreeMap<String, TensorEntry>,
}

impl Gguf {
    /// Maps and checks the file; reads no tensor data.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io(path))?;
        // SAFETY: the map is read-only. A file truncated by another process while it is mapped can
        // end this process with SIGBUS, as for every program that maps its models; the cache
        // replaces files atomically.
        let map = unsafe { Mmap::map(&file) }.map_err(Error::io(path))?;
        let Header { metadata, tensors } = parse(&map).map_err(Error::malformed(path, FORMAT))?;
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

    fn malformed(&self, reason: impl Into<Cause>) -> Error {
        Error::malformed(&self.path, FORMAT)(reason)
    }

    fn unsupported(&self, what: impl Into<String>) -> Error {
        Error::Unsupported { path: self.path.clone(), what: what.into() }
    }
}

#[cfg(test)]
mod tests;
