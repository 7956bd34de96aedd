//! The tensors of a folder's safetensors files, memory-mapped.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::tensor::Tensor;
use crate::{Error, Result};

/// The format's name in errors.
const FORMAT: &str = "safetensors";

/// Lists the files of a model that is cut into several.
const INDEX: &str = "model.safetensors.index.json";

/// One or several safetensors files that hold one model.
pub(crate) struct Shards {
    files: Vec<(PathBuf, File, Mmap)>,
    tensors: BTreeMap<String, Entry>,
}

struct Entry {
    file: usize,
    dtype: Dtype,
    shape: Vec<usize>,
    /// Within the file.
    bytes: Range<usize>,
}

impl Shards {
    /// Maps `model.safetensors` of the folder, or all files that its index names, and checks their
    /// headers.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let single = folder.join("model.safetensors");
        let paths = if single.exists() { vec![single] } else { indexed(folder)? };
        let mut shards = Self { files: Vec::new(), tensors: BTreeMap::new() };
        for path in paths {
            shards.add(path)?;
        }
        Ok(shards)
    }

    fn add(&mut self, path: PathBuf) -> Result<()> {
        let file = File::open(&path).map_err(Error::io(&path))?;
        // SAFETY: the map is read-only; see `Gguf::open` for what a concurrent truncation would do.
        let map = unsafe { Mmap::map(&file) }.map_err(Error::io(&path))?;
        let (header, metadata) =
            SafeTensors::read_metadata(&map).map_err(Error::malformed(&path, FORMAT))?;
        // The data follows the eight bytes of the header's length and the header; validated by the
        // reader.
        let data = header + 8;
        if let Some(name) = repeated_name(&map[8..data]) {
            return Err(malformed(&path, format!("tensor `{name}` stands twice")));
        }
        for (name, info) in metadata.tensors() {
            let (start, end) = info.data_offsets;
            let entry = Entry {
                file: self.files.len(),
                dtype: info.dtype,
                shape: info.shape.clone(),
                bytes: data + start..data + end,
            };
            if self.tensors.insert(name.clone(), entry).is_some() {
                let reason = format!("tensor `{name}` stands in another file too");
                return Err(malformed(&path, reason));
            }
        }
        self.files.push((path, file, map));
        Ok(())
    }

    /// The tensor of this name as f32.
    pub(crate) fn tensor(&self, name: &str) -> Result<Option<Tensor>> {
        let Some(entry) = self.tensors.get(name) else { return Ok(None) };
        let (path, _, map) = &self.files[entry.file];
        let bytes = &map[entry.bytes.clone()];
        let data: Vec<f32> = match entry.dtype {
            Dtype::F32 => bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            Dtype::F16 => {
                bytes.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect()
            }
            Dtype::BF16 => {
                bytes.as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect()
            }
            other => {
                let what =
                    format!("tensor `{name}` of type {other} (F32, F16, BF16 are supported)");
                return Err(Error::Unsupported { path: path.clone(), what });
            }
        };
        Ok(Some(Tensor { shape: entry.shape.clone(), data }))
    }

    /// Names of all tensors.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Names of the tensors of floats.
    pub(crate) fn float_names(&self) -> impl Iterator<Item = &str> {
        let floats = |dtype| matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16);
        self.tensors
            .iter()
            .filter(move |(_, entry)| floats(entry.dtype))
            .map(|(name, _)| name.as_str())
    }

    /// Contents of all files, in a fixed order.
    pub(crate) fn bytes(&self) -> impl Iterator<Item = &[u8]> {
        self.files.iter().map(|(_, _, map)| &map[..])
    }

    /// All files, in the same order.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&Path, &File)> {
        self.files.iter().map(|(path, file, _)| (&**path, file))
    }
}

/// A name that stands twice in a header, which JSON readers do not mind: they take the last.
fn repeated_name(header: &[u8]) -> Option<String> {
    struct Names;
    impl<'de> Visitor<'de> for Names {
        type Value = Option<String>;

        fn expecting(&self, text: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            text.write_str("an object")
        }

        fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
            let mut names = BTreeSet::new();
            let mut repeated = None;
            while let Some(name) = map.next_key::<String>()? {
                map.next_value::<IgnoredAny>()?;
                if repeated.is_none() && names.contains(&name) {
                    repeated = Some(name);
                } else {
                    names.insert(name);
                }
            }
            Ok(repeated)
        }
    }
    serde_json::Deserializer::from_slice(header).deserialize_map(Names).ok().flatten()
}

fn indexed(folder: &Path) -> Result<Vec<PathBuf>> {
    let path = folder.join(INDEX);
    if !path.exists() {
        let reason = format!("neither `model.safetensors` nor `{INDEX}`");
        return Err(Error::malformed(folder, "model folder")(reason));
    }
    let bytes = std::fs::read(&path).map_err(Error::io(&path))?;
    let index: Value = serde_json::from_slice(&bytes).map_err(Error::malformed(&path, FORMAT))?;
    let map = index["weight_map"]
        .as_object()
        .ok_or_else(|| malformed(&path, "no `weight_map`".into()))?;
    let names: BTreeSet<&str> = map.values().filter_map(Value::as_str).collect();
    names
        .into_iter()
        .map(|name| {
            // An index that points out of its folder is no honest one.
            let plain = Path::new(name).file_name().is_some_and(|file| file == name);
            if plain {
                Ok(folder.join(name))
            } else {
                Err(malformed(&path, format!("it names `{name}`")))
            }
        })
        .collect()
}

fn malformed(path: &Path, reason: String) -> Error {
    Error::malformed(path, FORMAT)(reason)
}
