//! Containers whose mark-up is broken in every way: an error or a text, never a crash.

use std::path::Path;

use proptest::prelude::*;

use crate::office::package::tests::packed;
use crate::read;

/// The parts of one small file of each format.
fn samples() -> Vec<Vec<(&'static str, String)>> {
    let part = |name: &'static str, text: &str| (name, text.to_owned());
    vec![
        vec![
            part(
                "word/_rels/document.xml.rels",
                "<Relationships><Relationship Id='1' Type='x/numbering' Target='n.xml'/></Relationships>",
            ),
            part(
                "word/n.xml",
                "<w:n><w:abstractNum w:abstractNumId='0'><w:lvl w:ilvl='8'><w:numFmt w:val='decimal'/><w:start w:val='9'/></w:lvl></w:abstractNum><w:num w:numId='1'><w:abstractNumId w:val='0'/></w:num></w:n>",
            ),
            part(
                "word/document.xml",
                "<w:body><w:p><w:pPr><w:numPr><w:ilvl w:val='8'/><w:numId w:val='1'/></w:numPr></w:pPr><w:r><w:t>a</w:t></w:r></w:p><w:tbl><w:tr><w:tc><w:tcPr><w:gridSpan w:val='3'/></w:tcPr><w:p><w:r><w:t>b</w:t></w:r></w:p></w:tc></w:tr></w:tbl></w:body>",
            ),
        ],
        vec![
            part("ppt/presentation.xml", "<p><p:sldId r:id='1'/></p>"),
            part(
                "ppt/_rels/presentation.xml.rels",
                "<Relationships><Relationship Id='1' Type='x/slide' Target='s.xml'/></Relationships>",
            ),
            part(
                "ppt/s.xml",
                "<p:sp><p:ph type='title'/><a:p><a:pPr lvl='3'/><a:t>a</a:t></a:p></p:sp><a:tbl><a:tr><a:tc><a:p><a:t>b</a:t></a:p></a:tc></a:tr></a:tbl>",
            ),
        ],
        vec![
            part(
                "_rels/.rels",
                "<Relationships><Relationship Id='r0' Type='http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument' Target='xl/workbook.xml'/></Relationships>",
            ),
            part(
                "xl/workbook.xml",
                "<workbook xmlns:r='r'><sheets><sheet name='S' sheetId='1' r:id='r1'/></sheets></workbook>",
            ),
            part(
                "xl/_rels/workbook.xml.rels",
                "<Relationships><Relationship Id='r1' Type='http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet' Target='worksheets/sheet1.xml'/></Relationships>",
            ),
            part(
                "xl/worksheets/sheet1.xml",
                "<worksheet><sheetData><row r='1'><c r='A1'><v>1</v></c><c r='XFD1048576' t='inlineStr'><is><t>x</t></is></c></row></sheetData></worksheet>",
            ),
        ],
        vec![
            part("mimetype", "application/epub+zip"),
            part("META-INF/container.xml", "<rootfile full-path='c.opf'/>"),
            part(
                "c.opf",
                "<package xmlns:dc='d'><dc:title>t</dc:title><item id='1' href='a.html' media-type='text/html'/><itemref idref='1'/></package>",
            ),
            part("a.html", "<html><table><tr><td>x<ul><li>y</table>"),
        ],
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn broken_markup_is_an_error_or_a_text(
        sample in 0usize..4,
        part in any::<prop::sample::Index>(),
        from in any::<prop::sample::Index>(),
        length in 0usize..12,
        inserted in prop::sample::select(vec![
            "", "<", ">", "'", "&", "&#0;", "&#x110000;", "</w:p>", "<w:p>", "<w:tc>", "</w:tbl>", "<w:tbl>", "<a:tbl>", "99999999999999999999", "-1",
            "<![CDATA[", "<!--", "\u{0}",
        ]),
    ) {
        let mut parts = samples().swap_remove(sample);
        let text = &mut part.get_mut(&mut parts[..]).1;
        let mut characters: Vec<char> = text.chars().collect();
        let start = from.index(characters.len());
        let end = (start + length).min(characters.len());
        characters.splice(start..end, inserted.chars());
        *text = characters.into_iter().collect();
        let parts: Vec<(&str, &str)> = parts.iter().map(|(name, text)| (*name, text.as_str())).collect();
        if let Ok(document) = read(Path::new("a"), &packed(&parts)) {
            for block in &document.blocks {
                prop_assert!(document.text.get(block.span.clone()).is_some());
            }
        }
    }

    #[test]
    fn cut_and_flipped_bytes_are_an_error_or_a_text(
        sample in 0usize..4,
        end in any::<prop::sample::Index>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let parts = samples().swap_remove(sample);
        let parts: Vec<(&str, &str)> = parts.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let mut bytes = packed(&parts);
        for (at, bits) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= bits;
        }
        let _ = read(Path::new("a"), &bytes);
        let _ = read(Path::new("a"), &bytes[..end.index(bytes.len())]);
    }
}

/// Found by the tests above: the parser multiplies such a number until it overflows.
#[test]
fn a_cell_whose_row_is_no_number_of_a_row_is_an_error_or_a_text() {
    let mut parts = samples().swap_remove(2);
    let sheet = parts.iter_mut().find(|(name, _)| name.ends_with("sheet1.xml")).unwrap();
    sheet.1 = sheet.1.replace("XFD1048576", "XFD99999999999999999999");
    let parts: Vec<(&str, &str)> =
        parts.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let _ = read(Path::new("a"), &packed(&parts));
}
