//! Writes records as text, one block a record.

use crate::{Block, BlockKind, Document, Error, Format, MAX_TEXT, Receipt};

/// The text and blocks of the records written so far.
pub(super) struct Rows {
    format: Format,
    text: String,
    blocks: Vec<Block>,
}

impl Rows {
    pub(super) fn new(format: Format) -> Self {
        Rows { format, text: String::new(), blocks: Vec::new() }
    }

    /// Whether nothing has been written.
    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Writes a row, one line a field; empty fields are left out, and rows of nothing else too.
    pub(super) fn row(
        &mut self,
        fields: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(), Error> {
        self.row_under(&[], fields)
    }

    /// Writes a row that stands under the headings of `path`, outermost first.
    pub(super) fn row_under(
        &mut self,
        path: &[String],
        fields: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(), Error> {
        let start = self.text.len();
        for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_empty()) {
            if !name.is_empty() {
                self.text.push_str(&name);
                self.text.push_str(": ");
            }
            self.text.push_str(&value);
            self.text.push('\n');
        }
        let span = crate::blocks::trimmed(&self.text, start..self.text.len());
        if !span.is_empty() {
            self.blocks.push(Block { span, kind: BlockKind::Row, heading_path: path.to_vec() });
            self.text.push('\n');
        }
        if self.text.len() > MAX_TEXT {
            return Err(Error::TooLarge { bytes: self.text.len() as u64, limit: MAX_TEXT as u64 });
        }
        Ok(())
    }

    /// The document of all rows written.
    ///
    /// # Errors
    /// [`Error::Empty`] when nothing was written.
    pub(super) fn finish(mut self) -> Result<Document, Error> {
        if self.blocks.is_empty() {
            return Err(Error::Empty);
        }
        self.text.truncate(self.text.trim_end().len());
        Ok(Document {
            format: self.format,
            title: None,
            language: None,
            text: self.text,
            blocks: self.blocks,
            pages: Vec::new(),
            receipt: Receipt::default(),
        })
    }
}
