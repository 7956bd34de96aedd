//! Named runs of floats in a safetensors file, as checkpoints and adapters are kept.
//!
//! Written here rather than by the `safetensors` crate for three properties it lacks: equal content
//! gives equal bytes, the file is on disk before it takes its name, and it gets the usual
//! permissions.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors};

use crate::{Error, Result};

/// The format's name in errors.
const FORMAT: &str = "safetensors";

/// One tensor to write.
pub(crate) struct Floats<'a> {
    pub name: String,
    pub shape: Vec<usize>,
    pub values: Values<'a>,
}

/// Its numbers, row-major.
pub(crate) enum Values<'a> {
    Single(&'a [f32]),
    Double(Vec<f64>),
}

impl Values<'_> {
    fn dtype(&self) -> &'static str {
        match self {
            Values::Single(_) => "F32",
            Values::Double(_) => "F64",
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Values::Single(values) => values.len() * 4,
            Values::Double(values) => values.len() * 8,
        }
    }

    fn write(&self, out: &mut impl Write) -> std::io::Result<()> {
        match self {
            Values::Single(values) => {
                values.iter().try_for_each(|value| out.write_all(&value.to_le_bytes()))
            }
            Values::Double(values) => {
                values.iter().try_for_each(|value| out.write_all(&value.to_le_bytes()))
            }
        }
    }
}

/// Writes tensors and metadata to `path`: complete or not at all.
///
/// # Errors
/// [`Error::Io`]; what stood at `path` before is then still there.
pub(crate) fn write(
    path: &Path,
    tensors: &[Floats<'_>],
    metadata: &BTreeMap<String, String>,
) -> Result<()> {
    let partial = path.with_extension("partial");
    let attempt = || -> std::io::Result<()> {
        let mut out = BufWriter::with_capacity(1 << 20, File::create(&partial)?);
        let header = header(tensors, metadata);
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(header.as_bytes())?;
        for tensor in tensors {
            tensor.values.write(&mut out)?;
        }
        out.into_inner().map_err(|error| error.into_error())?.sync_all()?;
        fs::rename(&partial, path)?;
        sync_folder(path)
    };
    attempt().map_err(|source| {
        // A full disk must not stay full of half a file; the first error is the one to report.
        let _ = fs::remove_file(&partial);
        Error::io(path)(source)
    })
}

/// Makes a rename in the folder of `path` survive a power cut.
pub(crate) fn sync_folder(path: &Path) -> std::io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

/// The JSON header, padded to eight bytes as the format asks.
fn header(tensors: &[Floats<'_>], metadata: &BTreeMap<String, String>) -> String {
    let mut entries = serde_json::Map::new();
    entries.insert("__metadata__".into(), serde_json::json!(metadata));
    let mut start = 0;
    for tensor in tensors {
        let end = start + tensor.values.bytes();
        entries.insert(
            tensor.name.clone(),
            serde_json::json!({
                "dtype": tensor.values.dtype(),
                "shape": tensor.shape,
                "data_offsets": [start, end],
            }),
        );
        start = end;
    }
    let mut text = serde_json::Value::Object(entries).to_string();
    text.extend(std::iter::repeat_n(' ', text.len().next_multiple_of(8) - text.len()));
    text
}

/// An opened file: its bytes and parsed header.
pub(crate) struct FloatFile<'a> {
    path: &'a Path,
    tensors: SafeTensors<'a>,
    /// The header's metadata.
    pub metadata: BTreeMap<String, String>,
}

impl<'a> FloatFile<'a> {
    /// Parses `bytes`, read from `path`.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub(crate) fn parse(path: &'a Path, bytes: &'a [u8]) -> Result<Self> {
        let (_, header) =
            SafeTensors::read_metadata(bytes).map_err(Error::malformed(path, FORMAT))?;
        let metadata = header.metadata().clone().unwrap_or_default().into_iter().collect();
        let tensors = SafeTensors::deserialize(bytes).map_err(Error::malformed(path, FORMAT))?;
        Ok(FloatFile { path, tensors, metadata })
    }

    /// Names of all tensors, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.tensors.names().into_iter().map(ToOwned::to_owned).collect();
        names.sort_unstable();
        names
    }

    /// Shape of a tensor; `None` when there is none of this name.
    pub(crate) fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.tensors.tensor(name).ok().map(|view| view.shape().to_vec())
    }

    /// A tensor in f32; F16 and BF16 are widened.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is missing or of another type.
    pub(crate) fn singles(&self, name: &str) -> Result<Vec<f32>> {
        let view = self
            .tensors
            .tensor(name)
            .map_err(|_| self.wrong(format!("there is no tensor `{name}`")))?;
        let data = view.data();
        match view.dtype() {
            Dtype::F32 => {
                Ok(data.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
            }
            Dtype::F16 => {
                Ok(halves(data).map(|bits| half::f16::from_bits(bits).to_f32()).collect())
            }
            Dtype::BF16 => {
                Ok(halves(data).map(|bits| half::bf16::from_bits(bits).to_f32()).collect())
            }
            other => {
                Err(self.wrong(format!("tensor `{name}` is {other:?}, expected F32, F16 or BF16")))
            }
        }
    }

    /// A tensor in f64.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is missing or of another type.
    pub(crate) fn doubles(&self, name: &str) -> Result<Vec<f64>> {
        let view = self
            .tensors
            .tensor(name)
            .map_err(|_| self.wrong(format!("there is no tensor `{name}`")))?;
        match view.dtype() {
            Dtype::F64 => Ok(view
                .data()
                .as_chunks()
                .0
                .iter()
                .map(|&bytes| f64::from_le_bytes(bytes))
                .collect()),
            other => Err(self.wrong(format!("tensor `{name}` is {other:?}, expected F64"))),
        }
    }

    /// An error about this file.
    pub(crate) fn wrong(&self, reason: String) -> Error {
        Error::malformed(self.path, FORMAT)(reason)
    }
}

fn halves(data: &[u8]) -> impl Iterator<Item = u16> {
    data.as_chunks().0.iter().map(|&bytes| u16::from_le_bytes(bytes))
}
