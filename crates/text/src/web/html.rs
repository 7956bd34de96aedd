//! HTML: what a reader sees, without navigation, scripts and footers.
//!
//! The page is read as a stream of tags from html5ever's tokenizer, and no tree is built. So
//! nesting costs a counter instead of a stack frame, and time grows only with length, even for a
//! hostile page.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use html5ever::LocalName;
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{
    BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
};

use crate::error::Fault;
use crate::writer::Writer;
use crate::{Document, Error, Format, MAX_TEXT};

/// Elements deeper than this are read as if they were not there.
const MAX_DEPTH: usize = 512;
/// How many open elements are searched for one that a start tag closes implicitly.
const IMPLIED_DEPTH: usize = 32;
/// Reading a page that takes longer is given up: many attributes on one tag cost the tokenizer
/// quadratic time.
const TIME_LIMIT: Duration = Duration::from_secs(20);
/// Bytes given to the tokenizer before the time is checked again.
const PORTION: usize = 16 << 10;

/// Reads a page.
pub(crate) fn read(text: &str) -> Result<Document, Error> {
    read_into(Writer::default(), text)?.finish(Format::Html)
}

/// Reads a page that is a part of a document: its text is written after what `writer` holds.
pub(crate) fn read_into(writer: Writer, text: &str) -> Result<Writer, Error> {
    let started = Instant::now();
    let page = RefCell::new(Page { writer, ..Page::default() });
    let tokenizer = Tokenizer::new(Sink { page }, TokenizerOpts::default());
    let queue = BufferQueue::default();
    let mut rest = text.trim_start_matches('\u{feff}');
    while !rest.is_empty() {
        let (portion, after) = rest.split_at(rest.floor_char_boundary(PORTION.min(rest.len())));
        queue.push_back(StrTendril::from_slice(portion));
        let _ = tokenizer.feed(&queue);
        rest = after;
        if started.elapsed() > TIME_LIMIT {
            let source = Fault::TimeLimit(TIME_LIMIT).into();
            return Err(Error::Parser { format: Format::Html, source });
        }
        let written = tokenizer.sink.page.borrow().writer.len();
        if written > MAX_TEXT {
            return Err(Error::TooLarge { bytes: written as u64, limit: MAX_TEXT as u64 });
        }
    }
    tokenizer.end();
    Ok(tokenizer.sink.page.into_inner().writer)
}

struct Sink {
    page: RefCell<Page>,
}

impl TokenSink for Sink {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        let mut page = self.page.borrow_mut();
        match token {
            Token::CharacterTokens(text) => page.text(&text),
            Token::TagToken(tag) if tag.kind == TagKind::EndTag => page.end(&tag.name),
            Token::TagToken(tag) => {
                page.start(&tag);
                // The content of these is not markup; the tokenizer has to be told.
                return match &*tag.name {
                    _ if tag.self_closing => TokenSinkResult::Continue,
                    "script" => TokenSinkResult::RawData(RawKind::ScriptData),
                    "style" | "xmp" | "iframe" | "noembed" | "noframes" => {
                        TokenSinkResult::RawData(RawKind::Rawtext)
                    }
                    "title" | "textarea" => TokenSinkResult::RawData(RawKind::Rcdata),
                    _ => TokenSinkResult::Continue,
                };
            }
            _ => {}
        }
        TokenSinkResult::Continue
    }
}

/// What is open, and what has been read so far.
#[derive(Default)]
struct Page {
    writer: Writer,
    open: Vec<Element>,
    /// How many of the open elements are left out with all they contain.
    left_out: usize,
}

struct Element {
    name: LocalName,
    left_out: bool,
}

impl Page {
    fn text(&mut self, text: &str) {
        if self.left_out > 0 {
            return;
        }
        match self.open.last().map(|element| &*element.name) {
            Some("title") => self.writer.title_text(text),
            _ => self.writer.text(text),
        }
    }

    fn start(&mut self, tag: &Tag) {
        let name = &*tag.name;
        self.close_implied(name);
        let left_out = is_left_out(tag);
        let void = tag.self_closing || is_void(name);
        if self.open.len() >= MAX_DEPTH && !void && (!left_out || self.left_out > 0) {
            return self.writer.end_paragraph();
        }
        if self.left_out == 0 && !left_out {
            match name {
                "br" => self.writer.line_break(),
                "a" => self.writer.set_link(true),
                "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
                    self.writer.start_heading(name.as_bytes()[1] - b'0')
                }
                "ul" | "menu" | "dl" => self.writer.start_list(None),
                "ol" => self.writer.start_list(Some(1)),
                "li" | "dt" | "dd" => self.writer.start_item(),
                "table" => self.writer.start_table(),
                "tr" => self.writer.start_row(),
                "td" | "th" => self.writer.start_cell(name == "th", colspan(tag)),
                "pre" | "xmp" => self.writer.start_preformatted(),
                _ if is_block(name) => self.writer.end_paragraph(),
                _ => {}
            }
        }
        if !void {
            self.left_out += usize::from(left_out);
            self.open.push(Element { name: tag.name.clone(), left_out });
        }
    }

    fn end(&mut self, name: &LocalName) {
        if let Some(at) = self.open.iter().rposition(|element| element.name == *name) {
            self.close_from(at);
        } else if &**name == "p" && self.left_out == 0 {
            self.writer.end_paragraph();
        }
    }

    /// Closes the elements that a start tag ends implicitly, as `<li>` ends the item before it.
    fn close_implied(&mut self, name: &str) {
        let (closes, within): (&[&str], &[&str]) = match name {
            "li" => (&["li"], &["ul", "ol", "menu"]),
            "dt" | "dd" => (&["dt", "dd"], &["dl"]),
            "tr" => (&["tr"], &["table"]),
            "td" | "th" => (&["td", "th"], &["tr", "table"]),
            "tbody" | "thead" | "tfoot" => (&["tr", "caption"], &["table"]),
            "body" => (&["head"], &[]),
            _ if is_block(name) => {
                (&["p"], &["li", "td", "th", "div", "section", "article", "body"])
            }
            _ => return,
        };
        for at in (0..self.open.len()).rev().take(IMPLIED_DEPTH) {
            let open = &*self.open[at].name;
            if closes.contains(&open) {
                return self.close_from(at);
            }
            if within.contains(&open) {
                return;
            }
        }
    }

    fn close_from(&mut self, at: usize) {
        while self.open.len() > at {
            let Some(element) = self.open.pop() else { return };
            self.left_out -= usize::from(element.left_out);
            if self.left_out > 0 || element.left_out {
                continue;
            }
            match &*element.name {
                "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => self.writer.end_heading(),
                "a" => self.writer.set_link(false),
                "ul" | "ol" | "menu" | "dl" => self.writer.end_list(),
                "table" => self.writer.end_table(),
                "td" | "th" => self.writer.end_cell(),
                "pre" | "xmp" => self.writer.end_preformatted(),
                name if is_block(name) => self.writer.end_paragraph(),
                _ => {}
            }
        }
    }
}

/// Whether an element is left out with all it contains: scripts and media, navigation, controls of
/// forms, and what the page itself hides.
fn is_left_out(tag: &Tag) -> bool {
    let value = |key: &str| tag.attrs.iter().find(|a| &*a.name.local == key).map(|a| &*a.value);
    match &*tag.name {
        "script" | "style" | "noscript" | "template" | "svg" | "iframe" | "object" | "canvas"
        | "audio" | "video" | "noembed" | "noframes" => true,
        "nav" | "footer" => true,
        "button" | "select" | "datalist" | "textarea" => true,
        _ => {
            value("hidden").is_some()
                || value("aria-hidden") == Some("true")
                || matches!(value("role"), Some("navigation" | "contentinfo" | "search" | "menu"))
                || value("style")
                    .is_some_and(|style| style.replace(' ', "").contains("display:none"))
                || value("class").is_some_and(|class| {
                    class
                        .split_ascii_whitespace()
                        .any(|c| matches!(c, "noprint" | "navbox" | "mw-editsection"))
                })
        }
    }
}

fn colspan(tag: &Tag) -> usize {
    let span = tag
        .attrs
        .iter()
        .find(|a| &*a.name.local == "colspan")
        .and_then(|a| a.value.trim().parse().ok());
    span.unwrap_or(1)
}

fn is_void(name: &str) -> bool {
    matches!(
        name,
        "area"
            | "base"
            | "br"
            | "col"
            | "embed"
            | "hr"
            | "img"
            | "input"
            | "link"
            | "meta"
            | "param"
            | "source"
            | "track"
            | "wbr"
    )
}

fn is_block(name: &str) -> bool {
    matches!(
        name,
        "address"
            | "article"
            | "aside"
            | "blockquote"
            | "body"
            | "caption"
            | "center"
            | "dd"
            | "details"
            | "dialog"
            | "div"
            | "dl"
            | "dt"
            | "fieldset"
            | "figcaption"
            | "figure"
            | "form"
            | "h1"
            | "h2"
            | "h3"
            | "h4"
            | "h5"
            | "h6"
            | "header"
            | "hgroup"
            | "hr"
            | "html"
            | "legend"
            | "li"
            | "main"
            | "menu"
            | "ol"
            | "p"
            | "pre"
            | "section"
            | "summary"
            | "table"
            | "tbody"
            | "td"
            | "tfoot"
            | "th"
            | "thead"
            | "tr"
            | "ul"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_as_a_reader_sees_it() {
        let page = "<!doctype html><html><head><title> A  page </title><style>p{}</style>\
            <script>if (a<b) document.write('<p>no</p>')</script></head><body>\
            <nav><ul><li>Home</ul></nav><h1>Ducks &amp; geese</h1><p>First&nbsp;<b>bold</b> line<br>second line\
            <p>Unclosed <i>paragraph<h2>Lists</h2><ul><li>one<li>two<ol><li>two one<li>two two</ol><li>three</ul>\
            <h2>Table</h2><table><caption>Weights</caption><tr><th>Duck<th>kg<tr><td>Wood<td>0.6 | 0.7\
            <tr><td colspan=2>none</table><pre>  x\n    y\n</pre><div hidden>secret</div>\
            <form><select><option>pick</select>asked</form><footer>(c) me</footer>\
            <noscript>turn it on</noscript>last";
        let document = read(page).unwrap();
        assert_eq!(document.title.as_deref(), Some("A page"));
        assert_eq!(document.receipt.tables, 1);
        let blocks: String = document
            .blocks
            .iter()
            .map(|b| format!("{:?} {:?}\n", b.kind, b.heading_path))
            .collect();
        insta::assert_snapshot!(format!("{}\n======\n{blocks}", document.text));
    }

    #[test]
    fn a_table_for_layout_is_read_as_text() {
        let page =
            "<table><tr><td>side<td><h1>Head</h1><p>text</p><table><tr><td>a<td>b</table></table>";
        let document = read(page).unwrap();
        assert_eq!(document.text, "side\n\n# Head\n\ntext\n\n| a | b |");
    }

    #[test]
    fn a_menu_above_the_text_is_left_out() {
        let links = "<li><a href=x>Somewhere</a>".repeat(15);
        let prose = "The page itself begins with a sentence that no menu would ever contain, as it is too long.";
        let document =
            read(&format!("<h1>T</h1><ul>{links}</ul><p>{prose}<ul>{links}</ul>")).unwrap();
        assert!(document.text.starts_with(&format!("# T\n\n{prose}\n\n- Somewhere\n- Somewhere")));
        let few =
            read(&format!("<ul>{}</ul>", "<li><a href=x>One</a> and more".repeat(15))).unwrap();
        assert!(few.text.starts_with("- One and more"));
    }

    #[test]
    fn hostile_nesting_is_harmless() {
        for tag in ["<div>", "<b>", "<table><tr><td>", "<ul><li>", "<p>", "<svg>", "</p>"] {
            let page = format!("start {} end", tag.repeat(200_000));
            let _ = read(&page);
        }
        let attributes: String = (0..3000).map(|n| format!(" a{n}=1")).collect();
        assert!(read(&format!("<p{attributes}>text")).is_ok());
    }
}
