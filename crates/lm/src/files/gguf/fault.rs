//! What can be wrong with a GGUF file.

/// The first fault found in a file's header.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("it does not start with `GGUF`")]
    NotGguf,
    #[error("version {0}, expected 2 or 3 (little-endian)")]
    Version(u32),
    #[error("{count} bytes wanted at offset {at}, but the file ends at {length}")]
    Ends { count: usize, at: usize, length: usize },
    #[error("{count} {what}, expected at most {limit}")]
    TooMany { count: u64, what: &'static str, limit: u64 },
    #[error("a string of {length} bytes at {at}")]
    LongString { length: u64, at: usize },
    #[error("the string at {at} is not UTF-8")]
    NotUtf8 { at: usize, source: std::str::Utf8Error },
    #[error("an array of arrays")]
    NestedArray,
    #[error("a truth value of {0}")]
    Bool(u8),
    #[error("unknown value type {0}")]
    ValueType(u32),
    #[error("`general.alignment`: {0} is no power of two")]
    Alignment(String),
    #[error("the tensor data starts past the end")]
    DataPastEnd,
    #[error("{found} dimensions, expected at most {limit}")]
    Dimensions { found: u32, limit: u32 },
    #[error("a dimension of {0}")]
    Dimension(u64),
    #[error("shape {0:?} has an empty dimension")]
    EmptyDimension(Vec<usize>),
    #[error("an offset of {0}")]
    Offset(u64),
    #[error(
        "storage type {0} is not supported (F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, \
         Q5_K, Q6_K are)"
    )]
    StorageType(u32),
    #[error("rows of {row} values do not divide into blocks of {block}")]
    PartialBlock { row: usize, block: usize },
    #[error("shape {0:?} overflows")]
    Overflow(Vec<usize>),
    #[error("tensor `{tensor}` reaches past the end of the file (truncated?)")]
    Truncated { tensor: String },
    #[error("tensor `{tensor}` is not aligned to {alignment} bytes")]
    Unaligned { tensor: String, alignment: usize },
    #[error("{what} `{name}` stands twice")]
    Twice { what: &'static str, name: String },
    #[error("tensors `{first}` and `{second}` overlap at offset {at}")]
    Overlap { first: String, second: String, at: usize },
    #[error("{what} `{name}`: {source}")]
    Within { what: &'static str, name: String, source: Box<Fault> },
}

impl Fault {
    /// The fault as one of the metadata or the tensor of this name.
    pub(super) fn within(self, what: &'static str, name: &str) -> Self {
        Self::Within { what, name: name.to_owned(), source: Box::new(self) }
    }
}
