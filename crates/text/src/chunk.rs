//! Cutting a document into chunks along its structure.

use std::collections::VecDeque;
use std::ops::Range;

use crate::split::{Level, split};
use crate::{Block, BlockKind};

/// A contiguous piece of a document, small enough to embed and to put in a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Bytes of the document's canonical text.
    pub span: Range<usize>,
    /// The header rows of the table that `span` continues, when they stand before it.
    pub header: Option<Range<usize>>,
    /// Headings common to all content of the chunk, outermost first.
    pub heading_path: Vec<String>,
    /// Size by the [`Sizer`] used, repeated header included.
    pub tokens: usize,
}

impl Chunk {
    /// The chunk as it is read: the table header where one continues, then the bytes of the span.
    pub fn text(&self, document: &str) -> String {
        match &self.header {
            Some(header) => {
                format!("{}\n{}", document[header.clone()].trim_end(), &document[self.span.clone()])
            }
            None => document[self.span.clone()].to_string(),
        }
    }
}

/// Measures text in the unit in which chunks are limited.
pub trait Sizer {
    /// The number of tokens in `text`.
    fn tokens(&self, text: &str) -> usize;
}

/// Estimates tokens from words, with no model at hand: a word of up to eight letters counts as one
/// token, a longer one as one for every eight letters begun, and a punctuation mark or an ideograph
/// as one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Words;

impl Sizer for Words {
    fn tokens(&self, text: &str) -> usize {
        let mut tokens = 0;
        let mut letters = 0;
        for c in text.chars() {
            if c.is_alphanumeric() && !is_ideograph(c) {
                tokens += usize::from(letters % 8 == 0);
                letters += 1;
            } else {
                tokens += usize::from(!c.is_whitespace());
                letters = 0;
            }
        }
        tokens
    }
}

fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{2e80}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

/// Limits for [`chunk`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkOptions {
    /// No chunk is larger, as far as the sizer is additive. At least 16.
    pub max_tokens: usize,
    /// A section smaller than this is joined with the next one.
    pub min_tokens: usize,
}

impl Default for ChunkOptions {
    /// 160 tokens fit the 256 of the small sentence encoders together with their headings, and what
    /// larger chunks find more they cost a prompt in proportion (docs/log.md, "other chunks");
    /// under 40 there is too little to judge a passage by.
    fn default() -> Self {
        ChunkOptions { max_tokens: 160, min_tokens: 40 }
    }
}

/// Cuts a document's canonical text into chunks: in order, without overlap, covering all its
/// blocks.
///
/// A chunk starts at a heading where it can, and ends with one only where the document does; tables
/// are cut between rows and keep their header; running text is cut between sentences.
pub fn chunk(
    text: &str,
    blocks: &[Block],
    options: &ChunkOptions,
    sizer: &dyn Sizer,
) -> Vec<Chunk> {
    let max = options.max_tokens.max(16);
    let cutter = Cutter { text, max, min: options.min_tokens.min(max), sizer };
    let mut chunks = Vec::new();
    let mut open = Open::default();
    for block in blocks {
        let mut pieces: VecDeque<Piece<'_>> = cutter.pieces(block, max).into();
        while let Some(piece) = pieces.pop_front() {
            if cutter.belongs(&open, &piece) {
                open.add(piece);
                continue;
            }
            if open.is_only_headings() {
                // A heading stays with its text: cut the text to what is left beside it.
                let left = max - open.tokens.min(max);
                let smaller =
                    if left * 4 >= max { cutter.smaller(&piece, left) } else { Vec::new() };
                if smaller.len() > 1 {
                    smaller.into_iter().rev().for_each(|piece| pieces.push_front(piece));
                    continue;
                }
                chunks.extend(cutter.close(std::mem::take(&mut open)));
            } else {
                let headings = open.split_off_headings();
                chunks.extend(cutter.close(std::mem::replace(&mut open, headings)));
            }
            pieces.push_front(piece);
            if open.pieces.is_empty()
                && let Some(piece) = pieces.pop_front()
            {
                open.add(piece);
            }
        }
    }
    chunks.extend(cutter.close(open));
    chunks
}

/// A part of a block that is not cut any more.
#[derive(Debug, Clone)]
struct Piece<'a> {
    block: &'a Block,
    span: Range<usize>,
    tokens: usize,
    /// The table header to repeat if a chunk starts here, and its size.
    header: Option<(Range<usize>, usize)>,
}

impl Piece<'_> {
    fn is_heading(&self) -> bool {
        matches!(self.block.kind, BlockKind::Heading { .. })
    }
}

/// The chunk being filled.
#[derive(Debug, Default)]
struct Open<'a> {
    pieces: Vec<Piece<'a>>,
    tokens: usize,
}

impl<'a> Open<'a> {
    fn add(&mut self, piece: Piece<'a>) {
        if self.pieces.is_empty() {
            self.tokens = piece.header.as_ref().map_or(0, |(_, tokens)| *tokens);
        }
        self.tokens += piece.tokens;
        self.pieces.push(piece);
    }

    fn is_only_headings(&self) -> bool {
        !self.pieces.is_empty() && self.pieces.iter().all(Piece::is_heading)
    }

    /// Takes the headings off the end, which belong to what comes next.
    fn split_off_headings(&mut self) -> Open<'a> {
        let content =
            self.pieces.iter().rposition(|piece| !piece.is_heading()).map_or(0, |last| last + 1);
        let mut headings = Open::default();
        self.pieces.split_off(content).into_iter().for_each(|piece| headings.add(piece));
        headings
    }
}

struct Cutter<'a> {
    text: &'a str,
    max: usize,
    min: usize,
    sizer: &'a dyn Sizer,
}

impl<'a> Cutter<'a> {
    fn belongs(&self, open: &Open<'_>, piece: &Piece<'_>) -> bool {
        if open.pieces.is_empty() {
            return true;
        }
        // A section that is large enough is not mixed with the next one. Headings alone are not yet
        // a section.
        let section_ends = piece.is_heading() && !open.pieces.last().is_some_and(Piece::is_heading);
        let enough = section_ends && open.tokens >= self.min;
        !enough && open.tokens + piece.tokens <= self.max
    }

    /// The block in pieces of at most `budget` tokens.
    fn pieces<'b>(&self, block: &'b Block, budget: usize) -> Vec<Piece<'b>> {
        let tokens = self.sizer.tokens(&self.text[block.span.clone()]);
        if tokens <= budget {
            return vec![Piece { block, span: block.span.clone(), tokens, header: None }];
        }
        match &block.kind {
            BlockKind::Table { header } if !header.is_empty() && header.end < block.span.end => {
                self.table_pieces(block, header, budget)
            }
            kind => {
                let levels: &[Level] = match kind {
                    BlockKind::Paragraph | BlockKind::Heading { .. } => {
                        &[Level::Sentences, Level::Lines]
                    }
                    _ => &[Level::Lines, Level::Sentences],
                };
                self.cut(block, block.span.clone(), levels, budget, None)
            }
        }
    }

    /// Rows, each knowing the header it stands under. A header that would take more than half of
    /// every chunk is not repeated.
    fn table_pieces<'b>(
        &self,
        block: &'b Block,
        header: &Range<usize>,
        budget: usize,
    ) -> Vec<Piece<'b>> {
        let header_tokens = self.sizer.tokens(&self.text[header.clone()]);
        let repeated = (header_tokens * 2 <= budget).then(|| (header.clone(), header_tokens));
        let rows_budget = budget - repeated.as_ref().map_or(0, |(_, tokens)| *tokens);
        let levels = [Level::Lines, Level::Sentences];
        let mut pieces = self.cut(block, header.clone(), &levels, budget, None);
        let rows = crate::blocks::trimmed(self.text, header.end..block.span.end);
        pieces.extend(self.cut(block, rows, &levels, rows_budget, repeated));
        pieces
    }

    fn cut<'b>(
        &self,
        block: &'b Block,
        span: Range<usize>,
        levels: &[Level],
        budget: usize,
        header: Option<(Range<usize>, usize)>,
    ) -> Vec<Piece<'b>> {
        split(self.text, span, levels, budget, self.sizer)
            .into_iter()
            .map(|(span, tokens)| Piece { block, span, tokens, header: header.clone() })
            .collect()
    }

    /// A piece cut again, to a smaller budget.
    fn smaller<'b>(&self, piece: &Piece<'b>, budget: usize) -> Vec<Piece<'b>> {
        if piece.span == piece.block.span {
            self.pieces(piece.block, budget)
        } else {
            let levels = [Level::Sentences, Level::Lines];
            self.cut(piece.block, piece.span.clone(), &levels, budget, piece.header.clone())
        }
    }

    fn close(&self, open: Open<'_>) -> Option<Chunk> {
        let (first, last) = (open.pieces.first()?, open.pieces.last()?);
        let mut content =
            open.pieces.iter().filter(|piece| !piece.is_heading()).map(|p| &p.block.heading_path);
        let heading_path = match content.next() {
            Some(path) => content.fold(path.clone(), |common, path| {
                common.into_iter().zip(path).take_while(|(a, b)| a == *b).map(|(a, _)| a).collect()
            }),
            None => last.block.heading_path.clone(),
        };
        let header = first.header.as_ref().map(|(header, _)| header.clone());
        let mut chunk =
            Chunk { span: first.span.start..last.span.end, header, heading_path, tokens: 0 };
        chunk.tokens = self.sizer.tokens(&chunk.text(self.text));
        Some(chunk)
    }
}
