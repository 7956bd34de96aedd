//! Workbooks: a sheet is a heading, rows that touch are a table under it.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::panic::catch_unwind;

use calamine::{DataRef, ExcelDateTime, Reader, Xlsx, XlsxError};

use crate::error::Fault;
use crate::office::package::Package;
use crate::writer::Writer;
use crate::{Cause, Document, Error, Format, MAX_TEXT};

/// Where fewer than one cell in so many is filled, rows are written as lines instead of a table.
const SPARSE: usize = 16;

const NAME: &str = "an Excel workbook (xlsx)";

/// Reads a workbook: values as they were last calculated, dates as `YYYY-MM-DD`.
pub(crate) fn read(bytes: &[u8]) -> Result<Document, Error> {
    // The parser unpacks without bounds.
    Package::open(bytes, NAME)?.check_all()?;
    // It adds row and column numbers, which a damaged file can make large enough to overflow.
    catch_unwind(|| read_sheets(bytes)).unwrap_or_else(|_| Err(damaged(Fault::ParserPanicked)))
}

fn damaged(source: impl Into<Cause>) -> Error {
    Error::Damaged { name: NAME, part: None, source: source.into() }
}

fn read_sheets(bytes: &[u8]) -> Result<Document, Error> {
    let mut workbook: Xlsx<_> = Xlsx::new(Cursor::new(bytes)).map_err(damaged)?;
    let mut writer = Writer::default();
    for sheet in workbook.sheet_names() {
        let mut cells = match workbook.worksheet_cells_reader(&sheet) {
            Ok(cells) => cells,
            // A sheet that holds a chart alone.
            Err(XlsxError::WorksheetNotFound(_) | XlsxError::NotAWorksheet(_)) => continue,
            Err(error) => return Err(damaged(error)),
        };
        let mut region = Region::default();
        let mut is_named = false;
        let mut write = |writer: &mut Writer, region: &Region| {
            if !region.rows.is_empty() && !std::mem::replace(&mut is_named, true) {
                writer.start_heading(1);
                writer.text(&sheet);
                writer.end_heading();
            }
            region.write(writer);
        };
        // Cells come row by row. The sheet is never held as a whole, since its corners may be far
        // apart.
        while let Some(cell) = cells.next_cell().map_err(damaged)? {
            let (row, column) = cell.get_position();
            let Some(text) = shown(cell.get_value()) else { continue };
            if region.rows.keys().next_back().is_some_and(|&last| row > last + 1) {
                write(&mut writer, &std::mem::take(&mut region));
            }
            region.bytes += text.len();
            region.rows.entry(row).or_default().insert(column, text);
            let bytes = writer.len() + region.bytes;
            if bytes > MAX_TEXT {
                return Err(Error::TooLarge { bytes: bytes as u64, limit: MAX_TEXT as u64 });
            }
        }
        write(&mut writer, &region);
    }
    writer.finish(Format::Xlsx)
}

/// Rows without an empty one between them.
#[derive(Default)]
struct Region {
    rows: BTreeMap<u32, BTreeMap<u32, String>>,
    bytes: usize,
}

impl Region {
    fn write(&self, writer: &mut Writer) {
        let mut columns: Vec<u32> =
            self.rows.values().flat_map(|row| row.keys().copied()).collect();
        let cells = columns.len();
        columns.sort_unstable();
        columns.dedup();
        if columns.len() < 2 || columns.len() * self.rows.len() > cells.saturating_mul(SPARSE) {
            return self.write_lines(writer);
        }
        // Rows of one cell at the top are titles above the table.
        let mut rows = self.rows.values().peekable();
        while let Some(row) = rows.next_if(|row| row.len() == 1) {
            write_line(writer, row);
        }
        writer.start_table();
        for (at, row) in rows.enumerate() {
            let is_header = at == 0 && row.values().all(|text| text.parse::<f64>().is_err());
            writer.start_row();
            for column in &columns {
                writer.start_cell(is_header, 1);
                writer.text(row.get(column).map_or("", String::as_str));
                writer.end_cell();
            }
        }
        writer.end_table();
    }

    fn write_lines(&self, writer: &mut Writer) {
        self.rows.values().for_each(|row| write_line(writer, row));
    }
}

fn write_line(writer: &mut Writer, row: &BTreeMap<u32, String>) {
    for (at, text) in row.values().enumerate() {
        if at > 0 {
            writer.text(" | ");
        }
        writer.text(text);
    }
    writer.end_paragraph();
}

/// A value as text, `None` where there is none.
fn shown(value: &DataRef<'_>) -> Option<String> {
    let text = match value {
        DataRef::Empty => return None,
        DataRef::Int(value) => value.to_string(),
        DataRef::Float(value) => value.to_string(),
        DataRef::String(text) | DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => {
            text.clone()
        }
        DataRef::SharedString(text) => (*text).to_owned(),
        DataRef::Bool(value) => if *value { "TRUE" } else { "FALSE" }.to_owned(),
        DataRef::DateTime(date) => moment(date),
        DataRef::Error(error) => error.to_string(),
    };
    (!text.trim().is_empty()).then_some(text)
}

fn moment(date: &ExcelDateTime) -> String {
    if date.is_duration() {
        let seconds = (date.as_f64() * 86_400.0).round();
        let minutes = (seconds / 60.0).trunc();
        return format!("{}:{:02}:{:02}", (minutes / 60.0).trunc(), minutes % 60.0, seconds % 60.0);
    }
    let (year, month, day, hour, minute, second, _) = date.to_ymd_hms_milli();
    match (date.as_f64() < 1.0, (hour, minute, second)) {
        (true, _) => format!("{hour:02}:{minute:02}:{second:02}"),
        (false, (0, 0, 0)) => format!("{year:04}-{month:02}-{day:02}"),
        (false, _) => format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::office::package::tests::packed;

    fn workbook(rows: &str) -> Vec<u8> {
        let styles = "<styleSheet><cellXfs count='2'><xf numFmtId='0'/><xf numFmtId='14'/></cellXfs></styleSheet>";
        packed(&[
            (
                "_rels/.rels",
                "<Relationships><Relationship Id='r0' Type='http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument' \
                 Target='xl/workbook.xml'/></Relationships>",
            ),
            (
                "xl/workbook.xml",
                "<workbook xmlns:r='r'><sheets><sheet name='Ducks' sheetId='1' r:id='r1'/></sheets></workbook>",
            ),
            (
                "xl/_rels/workbook.xml.rels",
                "<Relationships><Relationship Id='r1' Type='http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet' \
                 Target='worksheets/sheet1.xml'/></Relationships>",
            ),
            ("xl/styles.xml", styles),
            (
                "xl/worksheets/sheet1.xml",
                &format!("<worksheet><sheetData>{rows}</sheetData></worksheet>"),
            ),
        ])
    }

    fn row(number: usize, cells: &[(&str, &str)]) -> String {
        let cell = |(column, value): &(&str, &str)| match value.parse::<f64>() {
            Ok(_) => format!("<c r='{column}{number}'><v>{value}</v></c>"),
            Err(_) => match value.strip_prefix("date:") {
                Some(serial) => format!("<c r='{column}{number}' s='1'><v>{serial}</v></c>"),
                None => {
                    format!("<c r='{column}{number}' t='inlineStr'><is><t>{value}</t></is></c>")
                }
            },
        };
        format!("<row r='{number}'>{}</row>", cells.iter().map(cell).collect::<String>())
    }

    #[test]
    fn rows_that_touch_are_a_table() {
        let rows = [
            row(1, &[("B", "Weights of ducks")]),
            row(2, &[("B", "name"), ("D", "kg"), ("E", "seen")]),
            row(3, &[("B", "wood"), ("D", "0.6"), ("E", "date:45943")]),
            row(4, &[("B", "eider"), ("E", "date:45943.5")]),
            row(9, &[("A", "a note below")]),
        ];
        let document = read(&workbook(&rows.concat())).unwrap();
        assert_eq!(
            document.text,
            "# Ducks\n\nWeights of ducks\n\n| name | kg | seen |\n|---|---|---|\n| wood | 0.6 | 2025-10-13 |\n\
             | eider |  | 2025-10-13 12:00:00 |\n\na note below"
        );
        assert_eq!(document.blocks[2].heading_path, ["Ducks"]);
    }

    #[test]
    fn a_sheet_with_far_corners_costs_what_its_cells_cost() {
        let rows: String = (0..2000u32)
            .map(|n| {
                let letters = |mut n: u32| {
                    let mut name = Vec::new();
                    while n > 0 {
                        name.push(char::from(b'A' + ((n - 1) % 26) as u8));
                        n = (n - 1) / 26;
                    }
                    name.iter().rev().collect::<String>()
                };
                row(n as usize + 1, &[(&letters(n * 8 + 1), "x")])
            })
            .collect();
        let document = read(&workbook(&rows)).unwrap();
        assert!(document.text.len() < 10_000, "{}", document.text.len());
    }

    #[test]
    fn a_workbook_that_is_none_is_refused() {
        assert!(matches!(read(&packed(&[("xl/other", "")])), Err(Error::Damaged { .. })));
        assert!(matches!(read(&workbook("")), Err(Error::NoText { .. })));
    }
}
