use super::*;
use crate::BlockKind;
use crate::office::package::tests::packed;

fn document(body: &str) -> Vec<u8> {
    let relationship = |id: usize, kind: &str| {
        format!("<Relationship Id='r{id}' Type='http://x/{kind}' Target='{kind}.xml'/>")
    };
    let relationships: String = ["styles", "numbering", "footnotes"]
        .iter()
        .enumerate()
        .map(|(id, kind)| relationship(id, kind))
        .collect();
    let styles = "<w:styles><w:style w:styleId='T'><w:name w:val='Title'/></w:style>\
        <w:style w:styleId='H1'><w:name w:val='heading 1'/></w:style>\
        <w:style w:styleId='Mine'><w:name w:val='Mine'/><w:basedOn w:val='H2'/></w:style>\
        <w:style w:styleId='H2'><w:name w:val='heading 2'/><w:basedOn w:val='Mine'/></w:style></w:styles>";
    let numbering = "<w:numbering><w:abstractNum w:abstractNumId='0'><w:lvl w:ilvl='0'><w:start w:val='1'/>\
        <w:numFmt w:val='decimal'/></w:lvl><w:lvl w:ilvl='1'><w:numFmt w:val='bullet'/></w:lvl></w:abstractNum>\
        <w:num w:numId='5'><w:abstractNumId w:val='0'/></w:num></w:numbering>";
    let note = "<w:footnote w:id='2'><w:p><w:r><w:t>As said.</w:t></w:r></w:p></w:footnote>";
    let note = if body.contains("footnoteReference") { note } else { "" };
    let footnotes = format!(
        "<w:footnotes><w:footnote w:type='separator' w:id='-1'><w:p><w:r><w:t>---</w:t></w:r></w:p></w:footnote>{note}</w:footnotes>"
    );
    packed(&[
        (
            "_rels/.rels",
            "<Relationships><Relationship Id='a' Type='http://x/officeDocument' Target='/w/d.xml'/></Relationships>",
        ),
        ("w/_rels/d.xml.rels", &format!("<Relationships>{relationships}</Relationships>")),
        ("w/styles.xml", styles),
        ("w/numbering.xml", numbering),
        ("w/footnotes.xml", &footnotes),
        ("w/d.xml", &format!("<w:document><w:body>{body}</w:body></w:document>")),
    ])
}

fn paragraph(properties: &str, text: &str) -> String {
    format!("<w:p><w:pPr>{properties}</w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>")
}

fn item(level: usize, text: &str) -> String {
    let properties = format!("<w:numPr><w:ilvl w:val='{level}'/><w:numId w:val='5'/></w:numPr>");
    paragraph(&properties, text)
}

#[test]
fn headings_go_by_their_style() {
    let body = [
        paragraph("<w:pStyle w:val='T'/>", "A report"),
        paragraph("<w:pStyle w:val='H1'/>", "Part"),
        paragraph("<w:pStyle w:val='Mine'/>", "Section"),
        paragraph("", "Text &amp; more"),
        paragraph("<w:outlineLvl w:val='0'/>", "Other"),
    ];
    let read = read(&document(&body.concat())).unwrap();
    assert_eq!(read.title.as_deref(), Some("A report"));
    assert_eq!(read.text, "# A report\n\n# Part\n\n## Section\n\nText & more\n\n# Other");
    assert_eq!(read.blocks[3].heading_path, ["Part", "Section"]);
}

#[test]
fn a_list_goes_on_counting_after_a_paragraph() {
    let body = [
        item(0, "one"),
        item(1, "under one"),
        item(0, "two"),
        paragraph("", "between"),
        item(0, "three"),
        "<w:p><w:r><w:t>plain</w:t></w:r></w:p>".to_owned(),
        // Out of the list, as the style `0` says.
        paragraph("<w:numPr><w:numId w:val='0'/></w:numPr>", "after"),
    ];
    let read = read(&document(&body.concat())).unwrap();
    assert_eq!(read.text, "1. one\n  - under one\n2. two\n\nbetween\n\n3. three\n\nplain\n\nafter");
}

#[test]
fn what_is_not_shown_is_not_read() {
    let body = "<w:p><w:pPr><w:tabs><w:tab w:val='left'/></w:tabs></w:pPr><w:r><w:t>kept</w:t><w:tab/><w:t>too</w:t></w:r>\
        <w:del><w:r><w:delText>gone</w:delText></w:r></w:del><w:moveFrom><w:r><w:t>moved</w:t></w:r></w:moveFrom>\
        <w:r><w:instrText>PAGE 1</w:instrText><w:br/><w:t>line</w:t><w:footnoteReference w:id='2'/></w:r></w:p>";
    let read = read(&document(body)).unwrap();
    assert_eq!(read.text, "kept too\nline[^2]\n\n[^2]: As said.");
}

#[test]
fn tables_keep_their_header_and_spans() {
    let cell = |properties: &str, text: &str| {
        format!("<w:tc><w:tcPr>{properties}</w:tcPr>{}</w:tc>", paragraph("", text))
    };
    let body = format!(
        "<w:tbl><w:tblPr><w:tblLook w:firstRow='1'/></w:tblPr><w:tr>{}{}</w:tr><w:tr>{}</w:tr><w:tr>{}{}</w:tr></w:tbl>",
        cell("", "name"),
        cell("", "mass"),
        cell("<w:gridSpan w:val='2'/>", "ducks"),
        cell("", "wood"),
        cell("", "0.6"),
    );
    let read = read(&document(&body)).unwrap();
    assert_eq!(read.text, "| name | mass |\n|---|---|\n| ducks |  |\n| wood | 0.6 |");
    let BlockKind::Table { header } = &read.blocks[0].kind else { panic!("no table") };
    assert_eq!(&read.text[header.clone()], "| name | mass |\n|---|---|");
    assert_eq!(read.receipt.tables, 1);
}

#[test]
fn a_document_without_text_says_so() {
    assert!(matches!(read(&document("<w:p/>")), Err(Error::NoText { .. })));
    assert!(matches!(read(&document("<w:p>")), Err(Error::Damaged { .. })));
    assert!(matches!(read(&packed(&[("word/other.xml", "")])), Err(Error::Damaged { .. })));
}
