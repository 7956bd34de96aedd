//! From characters at places on pages to paragraphs and headings.
//!
//! A PDF says where each character stands and how large it is, but nothing of lines, paragraphs or
//! headings. They are recognised as a person would do it: a line runs along one height, a paragraph
//! ends at a wider gap, a heading is larger than the text, and a line that recurs at the edge of
//! most pages (a running head, a page number) is not part of the text.

use std::collections::HashMap;
use std::ops::Range;

use pdf_extract::{MediaBox, OutputDev, OutputError, Transform};

use crate::blocks::Outline;
use crate::{Block, BlockKind};

/// A string further up or down than this, in heights of its letters, begins a new line wherever it
/// stands. What moves less and goes on to the right is raised or lowered, as indices are.
const NEW_LINE: f64 = 1.5;
/// A string that goes back to the left begins a new line from this distance on.
const NEW_LINE_BACK: f64 = 0.5;
/// A string that begins this far behind the last character, in heights of its letters, is another
/// word: the spaces of most fonts are at least twice as wide.
const WORD_GAP: f64 = 0.1;

/// A running head or foot stands on more than half of the pages, and on two at least.
const RUNNING_LINE_PAGES: usize = 2;
/// How many lines at each edge of a page are looked at for running heads and feet.
const RUNNING_LINES: usize = 2;

/// Distances of lines above this many times their size are no spacing of lines inside a paragraph,
/// so they are left out of the median.
const LARGEST_SPACING: f64 = 3.0;
/// The spacing assumed where no two lines tell: a little over the 1.2 that typesetters begin with.
const USUAL_SPACING: f64 = 1.3;
/// A gap up to this many times the usual spacing stays inside a paragraph: what varies less is
/// rounding and raised letters.
const PARAGRAPH_GAP: f64 = 1.25;
/// Lines of one paragraph differ in size by at most this share, as bold or raised letters make
/// them.
const SIZE_TOLERANCE: f64 = 0.1;

/// A heading is at least this many times as large as the text: what is smaller is emphasis.
const HEADING_SIZE: f64 = 1.1;
/// A heading has at most so many lines; what is longer is large text.
const HEADING_LINES: usize = 3;
/// A heading has at most so many bytes, for the same reason.
const HEADING_BYTES: usize = 160;
/// A heading in the size of the text has at most so many bytes: a full line of prose has about as
/// many.
const LABEL_BYTES: usize = 80;
/// Headings are the exception. Where more than this share (numerator, denominator) of all
/// paragraphs look like headings, as on slides and forms, none of them is one.
const MOST_HEADINGS: (usize, usize) = (2, 3);
/// Sizes that differ by less than three per cent are the same to the eye: one level.
const SAME_SIZE_PERCENT: i64 = 103;
/// Levels by size; one more is left for headings in the size of the text.
const LEVELS_BY_SIZE: u8 = 5;

/// A page of text, line by line in the order of drawing.
#[derive(Debug, Default, Clone)]
pub(crate) struct Page {
    pub(crate) lines: Vec<Line>,
}

/// Characters that run on along one height.
#[derive(Debug, Default, Clone)]
pub(crate) struct Line {
    text: String,
    /// Height of its letters, in points: the mean over its characters.
    size: f64,
    /// How far below the line before it stands, in points; `None` for the first, and after a jump
    /// upwards.
    gap: Option<f64>,
}

/// Collects a page's characters into lines.
///
/// Characters outside the page are left out, since no reader sees them: labels that programs leave
/// there, or words that are meant for machines only.
#[derive(Default)]
pub(crate) struct Collector {
    pub(crate) page: Page,
    area: Option<[Range<f64>; 2]>,
    /// The next character is the first of a string, and may stand anywhere.
    string_begins: bool,
    last: Option<Last>,
    characters: usize,
}

/// Where the last character stood.
struct Last {
    end: f64,
    y: f64,
}

impl OutputDev for Collector {
    fn begin_page(
        &mut self,
        _number: u32,
        media: &MediaBox,
        _art: Option<(f64, f64, f64, f64)>,
    ) -> Result<(), OutputError> {
        let area = [media.llx..media.urx, media.lly..media.ury];
        self.area = Some(area).filter(|area| area.iter().all(|side| side.start < side.end));
        Ok(())
    }

    fn output_character(
        &mut self,
        place: &Transform,
        width: f64,
        _spacing: f64,
        font_size: f64,
        c: &str,
    ) -> Result<(), OutputError> {
        let (x, y) = (place.m31, place.m32);
        if self.area.as_ref().is_some_and(|[across, up]| !across.contains(&x) || !up.contains(&y)) {
            return Ok(());
        }
        let size = place.m21.hypot(place.m22) * font_size.abs();
        if std::mem::take(&mut self.string_begins)
            && let Some(last) = &self.last
        {
            let down = last.y - y;
            let goes_back = x < last.end;
            if down.abs() > NEW_LINE_BACK * size && (goes_back || down.abs() > NEW_LINE * size) {
                self.start_line((down > 0.0).then_some(down));
            } else if x > last.end + WORD_GAP * size {
                self.add(" ", size);
            }
        }
        self.add(c, size);
        self.last = Some(Last { end: x + width * size, y });
        Ok(())
    }

    fn end_page(&mut self) -> Result<(), OutputError> {
        Ok(())
    }

    fn begin_word(&mut self) -> Result<(), OutputError> {
        self.string_begins = true;
        Ok(())
    }

    fn end_word(&mut self) -> Result<(), OutputError> {
        Ok(())
    }

    fn end_line(&mut self) -> Result<(), OutputError> {
        Ok(())
    }
}

impl Collector {
    fn start_line(&mut self, gap: Option<f64>) {
        self.page.lines.push(Line { gap, ..Line::default() });
        self.characters = 0;
    }

    fn add(&mut self, text: &str, size: f64) {
        if self.page.lines.is_empty() {
            self.start_line(None);
        }
        if let Some(line) = self.page.lines.last_mut() {
            line.text.push_str(text);
            self.characters += 1;
            line.size += (size - line.size) / self.characters as f64;
        }
    }
}

/// The pages as one text.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    pub(crate) text: String,
    pub(crate) blocks: Vec<Block>,
    /// Byte offset at which each page starts.
    pub(crate) starts: Vec<usize>,
    pub(crate) empty_pages: usize,
    /// The first heading of the first page that has one.
    pub(crate) first_heading: Option<String>,
}

/// Joins lines to paragraphs and headings.
pub(crate) fn flow(mut pages: Vec<Page>) -> Flow {
    for page in &mut pages {
        tidy_lines(page);
    }
    drop_running_lines(&mut pages);
    let body = body_size(&pages);
    let spacing = usual_spacing(&pages);
    let paragraphs: Vec<Vec<Paragraph>> =
        pages.iter().map(|page| paragraphs(page, spacing)).collect();
    let levels = Levels::new(&paragraphs, body);

    let mut flow = Flow::default();
    let mut outline = Outline::default();
    for page in &paragraphs {
        if !flow.text.is_empty() && !page.is_empty() {
            flow.text.push_str("\n\n");
        }
        flow.starts.push(flow.text.len());
        flow.empty_pages += usize::from(page.is_empty());
        for (at, paragraph) in page.iter().enumerate() {
            let next = page.get(at + 1);
            if at > 0 {
                flow.text.push_str("\n\n");
            }
            let start = flow.text.len();
            flow.text.push_str(&paragraph.text);
            let kind = match levels.level(paragraph, next) {
                Some(level) => {
                    outline.enter(level, &paragraph.text);
                    flow.first_heading.get_or_insert_with(|| paragraph.text.replace('\n', " "));
                    BlockKind::Heading { level }
                }
                None => BlockKind::Paragraph,
            };
            flow.blocks.push(Block {
                span: start..flow.text.len(),
                kind,
                heading_path: outline.path(),
            });
        }
    }
    flow
}

/// Folds white space and spells out ligatures. Drops empty lines, and adds their gap to the next
/// line's.
fn tidy_lines(page: &mut Page) {
    let mut kept: Vec<Line> = Vec::with_capacity(page.lines.len());
    let mut skipped = 0.0;
    for mut line in std::mem::take(&mut page.lines) {
        let words: Vec<&str> = line
            .text
            .split(|c: char| c.is_whitespace() || c.is_control())
            .filter(|w| !w.is_empty())
            .collect();
        if words.is_empty() {
            skipped += line.gap.unwrap_or(0.0);
            continue;
        }
        line.text = spelt_out(&words.join(" "));
        line.gap = line.gap.map(|gap| gap + std::mem::take(&mut skipped));
        kept.push(line);
    }
    page.lines = kept;
}

/// Drops running heads and page numbers: first and last lines that are the same on most pages,
/// apart from their numbers.
fn drop_running_lines(pages: &mut [Page]) {
    let filled = pages.iter().filter(|page| !page.lines.is_empty()).count();
    for _ in 0..RUNNING_LINES {
        for last in [false, true] {
            let edge =
                |page: &Page| if last { page.lines.last() } else { page.lines.first() }.map(shape);
            let mut counts: HashMap<String, usize> = HashMap::new();
            for shape in pages.iter().filter_map(edge) {
                *counts.entry(shape).or_default() += 1;
            }
            for page in pages.iter_mut() {
                let count = edge(page).and_then(|shape| counts.get(&shape).copied()).unwrap_or(0);
                // A page's only line is its text.
                if count >= RUNNING_LINE_PAGES && count * 2 > filled && page.lines.len() > 1 {
                    if last {
                        page.lines.pop();
                    } else {
                        page.lines.remove(0);
                    }
                }
            }
        }
    }
}

/// A line's text with every number replaced by the same mark.
fn shape(line: &Line) -> String {
    let mut shape = String::with_capacity(line.text.len());
    for c in line.text.chars() {
        match c.is_numeric() {
            true if shape.ends_with('#') => {}
            true => shape.push('#'),
            false => shape.push(c),
        }
    }
    shape
}

/// Sizes are compared by tenths of a point.
fn rounded(size: f64) -> i64 {
    (size * 10.0).round() as i64
}

/// The size in which most characters are set.
fn body_size(pages: &[Page]) -> f64 {
    let mut characters: HashMap<i64, usize> = HashMap::new();
    for line in pages.iter().flat_map(|page| &page.lines) {
        *characters.entry(rounded(line.size)).or_default() += line.text.len();
    }
    let most = characters.into_iter().max_by_key(|&(size, count)| (count, size));
    most.map_or(0.0, |(size, _)| size as f64 / 10.0)
}

/// The median distance of neighbouring lines, by the size of their letters.
fn usual_spacing(pages: &[Page]) -> f64 {
    let mut spacings: Vec<f64> = Vec::new();
    for page in pages {
        for pair in page.lines.windows(2) {
            let same = rounded(pair[0].size) == rounded(pair[1].size);
            if let (true, Some(gap)) = (same && pair[1].size > 0.0, pair[1].gap) {
                spacings.push(gap / pair[1].size);
            }
        }
    }
    spacings.retain(|spacing| *spacing < LARGEST_SPACING);
    spacings.sort_by(f64::total_cmp);
    spacings.get(spacings.len() / 2).copied().unwrap_or(USUAL_SPACING)
}

struct Paragraph {
    text: String,
    size: f64,
    lines: usize,
}

impl Paragraph {
    fn is_short(&self) -> bool {
        self.lines <= HEADING_LINES
            && self.text.len() <= HEADING_BYTES
            && self.text.contains(char::is_alphabetic)
    }

    /// Whether it reads as running text rather than as a label.
    fn is_prose(&self) -> bool {
        self.lines > 1 || self.text.ends_with(['.', '!', '?'])
    }

    /// Whether this is a line of its own before running text, and no sentence: a heading that is
    /// set in bold or with space around it instead of larger.
    fn labels(&self, next: Option<&Paragraph>) -> bool {
        self.lines == 1
            && self.text.len() <= LABEL_BYTES
            && self.text.starts_with(|c: char| c.is_uppercase() || c.is_numeric())
            && self.text.contains(char::is_alphabetic)
            && !self.text.ends_with(['.', '!', '?', ',', ';', ':'])
            && next.is_some_and(Paragraph::is_prose)
    }
}

fn paragraphs(page: &Page, spacing: f64) -> Vec<Paragraph> {
    let mut paragraphs: Vec<Paragraph> = Vec::new();
    for line in &page.lines {
        let joins = paragraphs.last().is_some_and(|paragraph| {
            let alike = (paragraph.size - line.size).abs()
                <= SIZE_TOLERANCE * paragraph.size.max(line.size);
            // After a jump upwards, as to the next column, a paragraph goes on only where a word is
            // cut in two.
            let near = match line.gap {
                Some(gap) => gap <= line.size.max(paragraph.size) * spacing * PARAGRAPH_GAP,
                None => is_cut(&paragraph.text, &line.text),
            };
            alike && near
        });
        match paragraphs.last_mut().filter(|_| joins) {
            Some(paragraph) => {
                if is_cut(&paragraph.text, &line.text) {
                    paragraph.text.pop();
                } else {
                    paragraph.text.push('\n');
                }
                paragraph.text.push_str(&line.text);
                paragraph.lines += 1;
            }
            None => {
                paragraphs.push(Paragraph { text: line.text.clone(), size: line.size, lines: 1 })
            }
        }
    }
    paragraphs
}

/// Which paragraphs are headings, and of what level.
struct Levels {
    /// Levels of the sizes that are clearly larger than the text, the largest first.
    by_size: HashMap<i64, u8>,
    /// Level of headings in the size of the text, below all of these; `None` where most paragraphs
    /// look like one.
    of_labels: Option<u8>,
}

impl Levels {
    /// Finds the sizes of headings in all paragraphs of a file whose text has the size `body`.
    fn new(pages: &[Vec<Paragraph>], body: f64) -> Self {
        let all: usize = pages.iter().map(Vec::len).sum();
        let large: Vec<&Paragraph> = pages
            .iter()
            .flatten()
            .filter(|p| p.size >= body * HEADING_SIZE && p.is_short())
            .collect();
        let mut sizes: Vec<i64> = large.iter().map(|heading| rounded(heading.size)).collect();
        let is_rule = |count: usize| count * MOST_HEADINGS.1 > all * MOST_HEADINGS.0;
        if is_rule(sizes.len()) {
            sizes.clear();
        }
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        let mut by_size = HashMap::new();
        let (mut level, mut above) = (0, None);
        for size in sizes {
            if above.is_none_or(|above: i64| size * SAME_SIZE_PERCENT < above * 100) {
                level = (level + 1).min(LEVELS_BY_SIZE);
                above = Some(size);
            }
            by_size.insert(size, level);
        }
        let labels = pages.iter().flat_map(|page| {
            page.iter().enumerate().filter(|(at, paragraph)| paragraph.labels(page.get(at + 1)))
        });
        let of_labels = (!is_rule(labels.count())).then_some(level + 1);
        Levels { by_size, of_labels }
    }

    fn level(&self, paragraph: &Paragraph, next: Option<&Paragraph>) -> Option<u8> {
        match self.by_size.get(&rounded(paragraph.size)) {
            Some(&level) if paragraph.is_short() => Some(level),
            _ => self.of_labels.filter(|_| paragraph.labels(next)),
        }
    }
}

/// Whether `text` ends in the first half of a word that `next` continues: a letter and a hyphen,
/// then a small letter.
fn is_cut(text: &str, next: &str) -> bool {
    let mut end = text.chars().rev();
    matches!(end.next(), Some('-' | '\u{ad}'))
        && end.next().is_some_and(char::is_alphabetic)
        && next.starts_with(char::is_lowercase)
}

fn spelt_out(text: &str) -> String {
    let mut spelt = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            'ﬀ' => spelt.push_str("ff"),
            'ﬁ' => spelt.push_str("fi"),
            'ﬂ' => spelt.push_str("fl"),
            'ﬃ' => spelt.push_str("ffi"),
            'ﬄ' => spelt.push_str("ffl"),
            'ﬅ' | 'ﬆ' => spelt.push_str("st"),
            c => spelt.push(c),
        }
    }
    spelt
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str, size: f64, gap: impl Into<Option<f64>>) -> Line {
        Line { text: text.to_string(), size, gap: gap.into() }
    }

    #[test]
    fn a_page_is_read_as_a_person_would() {
        let page = |number: usize, title: &str| Page {
            lines: vec![
                line("The Report", 8.0, None),
                line(title, 18.0, 30.0),
                line("An ex-", 10.0, 24.0),
                line("ample of ﬁne", 10.0, 12.0),
                line(" ", 10.0, 12.0),
                line("print.", 10.0, 12.0),
                line("Part", 14.0, 20.0),
                line("Text that goes on in col-", 10.0, 14.0),
                line("umn two, and X-", 10.0, None),
                line("Ray,", 10.0, 12.0),
                line("and on, and", 10.0, 12.0),
                line("on.", 10.0, 12.0),
                line("A label in bold", 10.0, 20.0),
                line(&format!("And its text of {title}."), 10.0, 20.0),
                line(&format!("page {number} of 2"), 8.0, 40.0),
            ],
        };
        let flow = flow(vec![page(1, "First  chapter"), Page::default(), page(2, "Second")]);
        let page = |title: &str| {
            format!(
                "{title}\n\nAn example of fine\n\nprint.\n\nPart\n\nText that goes on in column two, and X-\nRay,\n\
                 and on, and\non.\n\nA label in bold\n\nAnd its text of {title}."
            )
        };
        let one = page("First chapter");
        assert_eq!(flow.text, format!("{one}\n\n{}", page("Second")));
        assert_eq!(flow.starts, [0, one.len(), one.len() + 2]);
        assert_eq!((flow.empty_pages, flow.first_heading.as_deref()), (1, Some("First chapter")));
        let headings: Vec<(u8, String)> = flow
            .blocks
            .iter()
            .filter_map(|block| match block.kind {
                BlockKind::Heading { level } => Some((level, block.heading_path.join(" > "))),
                _ => None,
            })
            .collect();
        assert_eq!(headings.len(), 6);
        assert_eq!(headings[1], (2, "First chapter > Part".to_string()));
        assert_eq!(headings[5], (3, "Second > Part > A label in bold".to_string()));
        assert_eq!(flow.blocks.last().unwrap().heading_path, ["Second", "Part", "A label in bold"]);
    }

    #[test]
    fn large_letters_everywhere_are_no_headings() {
        let slide = |title: &str| Page {
            lines: vec![
                line(title, 30.0, None),
                line("point by point", 24.0, 60.0),
                line(&format!("the small print of {title}, which is long"), 10.0, 60.0),
            ],
        };
        let flow = flow(vec![
            slide("one"),
            slide("two"),
            Page { lines: slide("three").lines[..2].to_vec() },
        ]);
        assert!(flow.blocks.iter().all(|block| block.kind == BlockKind::Paragraph));
    }
}
