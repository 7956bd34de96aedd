//! What the text index holds of each text, and the stamp that says what it was made from.

use serde::{Deserialize, Serialize};
use tantivy::Index;
use tantivy::schema::{
    Field, IndexRecordOption, NumericOptions, Schema, TextFieldIndexing, TextOptions,
};

/// Raised when analysis or layout of the index changes: older indexes are then rebuilt.
const FORMAT: u32 = 2;

/// What an index was made from; stored with each of its commits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    format: u32,
    /// Identity of the database.
    store: String,
    /// Generation of the database.
    pub(crate) generation: i64,
}

impl Stamp {
    pub(crate) fn new(store: &str, generation: i64) -> Self {
        Stamp { format: FORMAT, store: store.to_string(), generation }
    }

    /// Whether an index with this stamp can be brought up to date, rather than rebuilt.
    pub(super) fn can_follow(&self, wanted: &Stamp) -> bool {
        self.format == wanted.format
            && self.store == wanted.store
            && self.generation <= wanted.generation
    }
}

#[derive(Clone, Copy)]
pub(super) struct Fields {
    pub(super) text: Field,
    pub(super) chunk: Field,
    pub(super) length: Field,
    pub(super) document: Field,
    pub(super) language: Field,
}

/// The field of chunks' numbers.
pub(super) const CHUNK: &str = "chunk";

/// What the last commit was made from.
pub(super) fn stamp_of(index: &Index) -> Option<Stamp> {
    serde_json::from_str(index.load_metas().ok()?.payload.as_deref()?).ok()
}

pub(super) fn schema() -> (Schema, Fields) {
    let mut builder = Schema::builder();
    let indexing = TextFieldIndexing::default()
        .set_index_option(IndexRecordOption::WithFreqs)
        .set_fieldnorms(false);
    let text =
        builder.add_text_field("text", TextOptions::default().set_indexing_options(indexing));
    let chunk = builder.add_u64_field(CHUNK, NumericOptions::default().set_fast().set_indexed());
    let fast = || NumericOptions::default().set_fast();
    let length = builder.add_u64_field("length", fast());
    let document = builder.add_u64_field("document", fast());
    let language = builder.add_u64_field("language", fast());
    (builder.build(), Fields { text, chunk, length, document, language })
}

/// A language's code as a number: its two letters, or 0 for anything but two letters.
pub(super) fn packed(code: &str) -> u64 {
    match code.as_bytes() {
        [a, b] => u64::from(u16::from_be_bytes([*a, *b])),
        _ => 0,
    }
}

pub(super) fn unpacked(code: u64) -> String {
    let letters = [(code >> 8) as u8, code as u8];
    if code == 0 { String::new() } else { letters.map(char::from).iter().collect() }
}
