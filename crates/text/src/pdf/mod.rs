//! PDF: the text layer, page by page.
//!
//! `pdf-extract` (on `lopdf`) was chosen over `pdf_oxide`: on the same files it kept table rows and
//! inline runs together where the other lost them, with 64 crates instead of 141. It panics on
//! damaged files, recurses into cyclic ones and inflates whatever it is given. So cycles and the
//! inflated size are checked first, and each page is read under `catch_unwind` on a thread with a
//! deadline.

mod layout;

use std::collections::HashSet;
use std::io::Read as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Once, mpsc};
use std::time::{Duration, Instant};

use flate2::read::ZlibDecoder;
use pdf_extract::{Dictionary, Document as Pdf, Object, ObjectId, output_doc_page};

use self::layout::{Collector, Page, flow};
use crate::blocks::cover;
use crate::error::Fault;
use crate::{Cause, Document, Error, Format, MAX_TEXT, Receipt};

/// All streams of a file together may inflate to this many bytes.
const MAX_INFLATED: u64 = 1 << 30;
/// Reading a file that takes longer is given up.
const TIME_LIMIT: Duration = Duration::from_secs(120);
/// The reader's stack. Fonts and forms nest a little; a page description does not.
const STACK: usize = 64 << 20;
/// Forms inside forms deeper than this are a loop, or made to hurt.
const MAX_FORM_DEPTH: usize = 12;
/// Forms of one page that are followed; more are made to hurt.
const MAX_FORMS: usize = 4096;
/// Parents of a page that are followed; a tree of pages is no deeper.
const MAX_PARENTS: usize = 256;
/// Filters applied to one stream that are undone to find its size.
const MAX_FILTERS: usize = 3;
/// Bytes of a stream in which another one is looked for: enough to find a bomb inside, without
/// keeping a large picture.
const INNER_HEAD: u64 = 1 << 20;
/// Name of the thread whose panics are expected and therefore not printed.
const THREAD: &str = "tunesmith-pdf";

/// What was read of a file: its pages, `None` where one could not be read.
struct Pages {
    title: Option<String>,
    pages: Vec<Option<Page>>,
}

/// Reads the text layer. Pages that cannot be read count as empty; if there are no others, that is
/// an error.
pub(crate) fn read(bytes: &[u8]) -> Result<Document, Error> {
    check_inflated_size(bytes, MAX_INFLATED)?;
    let Pages { title, pages } = on_a_thread(bytes.to_vec())??;
    let broken = !pages.is_empty() && pages.iter().all(Option::is_none);
    let count = pages.len();
    let flow = flow(pages.into_iter().map(Option::unwrap_or_default).collect());
    if flow.text.is_empty() {
        return Err(if broken {
            parser(Fault::NoReadablePage)
        } else {
            Error::NoText { pages: count }
        });
    }
    if flow.text.len() > MAX_TEXT {
        return Err(Error::TooLarge { bytes: flow.text.len() as u64, limit: MAX_TEXT as u64 });
    }
    Ok(Document {
        format: Format::Pdf,
        title: title.or(flow.first_heading),
        language: None,
        blocks: cover(&flow.text, flow.blocks),
        text: flow.text,
        pages: flow.starts,
        receipt: Receipt { pages: count, empty_pages: flow.empty_pages, ..Receipt::default() },
    })
}

fn parser(source: impl Into<Cause>) -> Error {
    Error::Parser { format: Format::Pdf, source: source.into() }
}

/// Inflates every compressed stream, keeps nothing, and adds up the sizes.
///
/// Streams are found by their keyword, since the file's own tables may lie. A stream inside a
/// stream is inflated too: bombs are often nested.
fn check_inflated_size(bytes: &[u8], limit: u64) -> Result<(), Error> {
    let mut budget = limit;
    let mut at = 0;
    while let Some(found) = find(&bytes[at..], b"stream") {
        let keyword = at + found;
        at = keyword + 6;
        let data = match &bytes[at..] {
            [b'\r', b'\n', ..] => &bytes[at + 2..],
            [b'\n' | b'\r', ..] => &bytes[at + 1..],
            _ => continue,
        };
        budget = budget
            .checked_sub(inflated(data, budget, MAX_FILTERS))
            .filter(|&left| left > 0)
            .ok_or(Error::TooLarge { bytes: limit, limit })?;
    }
    Ok(())
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// Size of a zlib stream inflated, at most `budget`; 0 when it is none.
fn inflated(data: &[u8], budget: u64, depth: usize) -> u64 {
    if depth == 0
        || !matches!(data, [head, check, ..] if head & 0x0f == 8 && u16::from_be_bytes([*head, *check]) % 31 == 0)
    {
        return 0;
    }
    let mut decoder = ZlibDecoder::new(data);
    let mut head = Vec::new();
    if decoder.by_ref().take(INNER_HEAD).read_to_end(&mut head).is_err() {
        return head.len() as u64;
    }
    let inner = inflated(&head, budget, depth - 1);
    let rest = std::io::copy(&mut decoder.take(budget), &mut std::io::sink()).unwrap_or(0);
    (head.len() as u64).saturating_add(rest).saturating_add(inner)
}

/// Reads all pages on a thread of its own, with a stack and a deadline.
fn on_a_thread(bytes: Vec<u8>) -> Result<Result<Pages, Error>, Error> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if std::thread::current().name() != Some(THREAD) {
                usual(info);
            }
        }));
    });
    let (sender, receiver) = mpsc::channel();
    let deadline = Instant::now() + TIME_LIMIT;
    std::thread::Builder::new().name(THREAD.to_string()).stack_size(STACK).spawn(move || {
        let pages = catch_unwind(AssertUnwindSafe(|| read_pages(&bytes, deadline)))
            .unwrap_or_else(|_| Err(parser(Fault::ParserPanicked)));
        // Nobody listens any more when the deadline has passed.
        let _ = sender.send(pages);
    })?;
    receiver.recv_timeout(TIME_LIMIT).map_err(|_| parser(Fault::TimeLimit(TIME_LIMIT)))
}

fn read_pages(bytes: &[u8], deadline: Instant) -> Result<Pages, Error> {
    let mut pdf = Pdf::load_mem(bytes).map_err(|error| match error {
        pdf_extract::Error::Decryption(_) | pdf_extract::Error::InvalidPassword => Error::Encrypted,
        other => parser(other),
    })?;
    if pdf.is_encrypted() && pdf.decrypt("").is_err() {
        return Err(Error::Encrypted);
    }
    drop_pictures(&mut pdf);
    let title = title(&pdf);
    let numbers: Vec<(u32, ObjectId)> = pdf.get_pages().into_iter().collect();
    let mut pages = Vec::with_capacity(numbers.len());
    for (number, id) in numbers {
        if Instant::now() > deadline {
            return Err(parser(Fault::TimeLimit(TIME_LIMIT)));
        }
        pages.push(if is_tame(&pdf, id) { read_page(&pdf, number) } else { None });
    }
    Ok(Pages { title, pages })
}

fn read_page(pdf: &Pdf, number: u32) -> Option<Page> {
    let mut collector = Collector::default();
    let read = catch_unwind(AssertUnwindSafe(|| output_doc_page(pdf, &mut collector, number)));
    // What a page said before it failed is kept.
    let said_something = !collector.page.lines.is_empty();
    (matches!(read, Ok(Ok(()))) || said_something).then_some(collector.page)
}

/// Empties pictures: the library would run their pixels as drawing commands.
fn drop_pictures(pdf: &mut Pdf) {
    for object in pdf.objects.values_mut() {
        if let Object::Stream(stream) = object
            && stream.dict.get(b"Subtype").and_then(Object::as_name).ok()
                == Some(b"Image".as_slice())
        {
            stream.set_plain_content(Vec::new());
        }
    }
}

/// Whether a page can be read without running in circles: its chain of parents ends, and no form
/// draws itself.
fn is_tame(pdf: &Pdf, page: ObjectId) -> bool {
    let mut seen = HashSet::new();
    let mut next = Some(page);
    let mut resources = None;
    while let Some(id) = next {
        let Ok(dictionary) = pdf.get_dictionary(id) else { break };
        if !seen.insert(id) || seen.len() > MAX_PARENTS {
            return false;
        }
        resources = resources.or_else(|| sub_dictionary(pdf, dictionary, b"Resources"));
        next = dictionary.get(b"Parent").and_then(Object::as_reference).ok();
    }
    let mut budget = MAX_FORMS;
    resources.is_none_or(|resources| forms_end(pdf, resources, &mut Vec::new(), &mut budget))
}

fn sub_dictionary<'a>(
    pdf: &'a Pdf,
    dictionary: &'a Dictionary,
    key: &[u8],
) -> Option<&'a Dictionary> {
    pdf.dereference(dictionary.get(key).ok()?).ok()?.1.as_dict().ok()
}

/// Follows the forms that `resources` offer; false at a loop, at great depth, or when `budget`
/// forms are passed.
fn forms_end(
    pdf: &Pdf,
    resources: &Dictionary,
    above: &mut Vec<ObjectId>,
    budget: &mut usize,
) -> bool {
    let Some(objects) = sub_dictionary(pdf, resources, b"XObject") else { return true };
    for (_, object) in objects.iter() {
        let Ok((Some(id), object)) = pdf.dereference(object) else { continue };
        let Ok(stream) = object.as_stream() else { continue };
        if stream.dict.get(b"Subtype").and_then(Object::as_name).ok() != Some(b"Form".as_slice()) {
            continue;
        }
        if above.contains(&id) || above.len() >= MAX_FORM_DEPTH || *budget == 0 {
            return false;
        }
        *budget -= 1;
        above.push(id);
        let ends = match sub_dictionary(pdf, &stream.dict, b"Resources") {
            Some(own) => forms_end(pdf, own, above, budget),
            // A form without resources of its own uses those of its page, which contain the form
            // itself. So it must not draw any form.
            None => {
                stream.decompressed_content().is_ok_and(|content| find(&content, b" Do").is_none())
            }
        };
        above.pop();
        if !ends {
            return false;
        }
    }
    true
}

/// The title in the file's own description, unless it is the name of the program's file.
fn title(pdf: &Pdf) -> Option<String> {
    let info = sub_dictionary(pdf, &pdf.trailer, b"Info")?;
    let title = pdf_extract::decode_text_string(info.get(b"Title").ok()?).ok()?;
    let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
    let is_file_name =
        [".doc", ".docx", ".indd", ".tex", ".dvi", ".pptx"].iter().any(|e| title.ends_with(e));
    (!title.is_empty() && !is_file_name && title != "untitled").then_some(title)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use pdf_extract::Stream;

    use super::*;

    fn dictionary<const N: usize>(entries: [(&str, Object); N]) -> Dictionary {
        let mut dictionary = Dictionary::new();
        entries.into_iter().for_each(|(key, value)| dictionary.set(key, value));
        dictionary
    }

    fn name(name: &str) -> Object {
        Object::Name(name.as_bytes().to_vec())
    }

    /// A file of one page that draws `content` and may use the form `/X`; `change` may then spoil
    /// it.
    fn one_page(content: &str, change: impl FnOnce(&mut Pdf, ObjectId, ObjectId)) -> Vec<u8> {
        let mut pdf = Pdf::with_version("1.5");
        let (pages, page, form) = (pdf.new_object_id(), pdf.new_object_id(), pdf.new_object_id());
        let font =
            [("Type", name("Font")), ("Subtype", name("Type1")), ("BaseFont", name("Helvetica"))];
        let font = pdf.add_object(dictionary(font));
        let drawing = Stream::new(Dictionary::new(), content.as_bytes().to_vec());
        let drawing = pdf.add_object(drawing);
        let resources = dictionary([
            ("Font", dictionary([("F", font.into())]).into()),
            ("XObject", dictionary([("X", form.into())]).into()),
        ]);
        let form_dictionary = dictionary([("Type", name("XObject")), ("Subtype", name("Form"))]);
        pdf.objects.insert(form, Stream::new(form_dictionary, b"0 0 1 1 re f".to_vec()).into());
        pdf.objects.insert(
            page,
            dictionary([
                ("Type", name("Page")),
                ("Parent", pages.into()),
                ("Contents", drawing.into()),
                ("Resources", resources.into()),
                ("MediaBox", vec![0.into(), 0.into(), 595.into(), 842.into()].into()),
            ])
            .into(),
        );
        let kids = vec![page.into()];
        let tree = dictionary([
            ("Type", name("Pages")),
            ("Kids", Object::Array(kids)),
            ("Count", 1.into()),
        ]);
        pdf.objects.insert(pages, tree.into());
        let catalog =
            pdf.add_object(dictionary([("Type", name("Catalog")), ("Pages", pages.into())]));
        pdf.trailer.set("Root", catalog);
        change(&mut pdf, pages, form);
        let mut bytes = Vec::new();
        pdf.save_to(&mut bytes).unwrap();
        bytes
    }

    const DRAWING: &str = "BT /F 12 Tf 100 700 Td (Seen by all.) Tj ET BT /F 12 Tf -900 700 Td (Seen by none.) Tj ET /X Do";

    #[test]
    fn only_what_stands_on_the_page_is_read() {
        let document = read(&one_page(DRAWING, |_, _, _| {})).unwrap();
        assert_eq!(
            (document.text.as_str(), document.pages.as_slice()),
            ("Seen by all.", [0].as_slice())
        );
    }

    #[test]
    fn circles_are_refused_and_not_followed() {
        // A form that draws itself, by its own resources and by its page's.
        let own = one_page(DRAWING, |pdf, _, form| {
            let resources = dictionary([("XObject", dictionary([("X", form.into())]).into())]);
            let stream = pdf.get_object_mut(form).and_then(Object::as_stream_mut).unwrap();
            stream.dict.set("Resources", resources);
            stream.set_plain_content(b"/X Do".to_vec());
        });
        let inherited = one_page(DRAWING, |pdf, _, form| {
            pdf.get_object_mut(form)
                .and_then(Object::as_stream_mut)
                .unwrap()
                .set_plain_content(b"/X Do".to_vec());
        });
        let parents = one_page(DRAWING, |pdf, pages, _| {
            pdf.get_object_mut(pages).and_then(Object::as_dict_mut).unwrap().set("Parent", pages);
        });
        for bytes in [own, inherited, parents] {
            let refused = read(&bytes);
            assert!(matches!(refused, Err(Error::Parser { .. })), "{refused:?}");
        }
    }

    #[test]
    fn a_bomb_is_refused_unread() {
        let mut inner = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        let zeros = vec![0u8; 1 << 20];
        for _ in 0..8 {
            inner.write_all(&zeros).unwrap();
        }
        let inner = inner.finish().unwrap();
        let mut outer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        outer.write_all(&inner).unwrap();
        for data in [inner, outer.finish().unwrap()] {
            let mut file = b"%PDF-1.7\n1 0 obj <</Filter /FlateDecode>> stream\n".to_vec();
            file.extend(&data);
            file.extend(b"\nendstream endobj");
            assert!(matches!(check_inflated_size(&file, 4 << 20), Err(Error::TooLarge { .. })));
            assert!(check_inflated_size(&file, 16 << 20).is_ok());
        }
    }
}
