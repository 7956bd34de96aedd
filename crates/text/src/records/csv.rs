//! CSV and other delimited rows.

use super::writer::Rows;
use crate::error::Fault;
use crate::{Document, Error, Format};

/// Lines from which the delimiter is told.
const SAMPLE_LINES: usize = 20;

/// Reads delimited rows. The delimiter is the one of `, ; tab |` that cuts the first lines most
/// evenly; the first row names the columns unless it looks like data.
pub(crate) fn read_csv(text: &str) -> Result<Document, Error> {
    let text = text.trim_start_matches('\u{feff}');
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter(text))
        .from_reader(text.as_bytes());
    let mut rows = Rows::new(Format::Csv);
    let mut columns: Option<Vec<String>> = None;
    let mut last = (1, 1);
    for record in reader.records() {
        let record = record.map_err(|error| Error::Malformed {
            format: Format::Csv,
            line: error.position().map_or(0, |p| p.line() as usize),
            source: error.into(),
        })?;
        let line = record.position().map_or(0, |p| p.line() as usize);
        let lines = record.iter().map(|cell| cell.matches('\n').count()).sum::<usize>();
        last = (line, lines);
        let Some(names) = &columns else {
            let names: Vec<String> = record.iter().map(fold).collect();
            if is_header(&names) {
                columns = Some(names);
            } else {
                columns = Some(Vec::new());
                rows.row(
                    record.iter().enumerate().map(|(at, cell)| (column_name(&[], at), fold(cell))),
                )?;
            }
            continue;
        };
        rows.row(record.iter().enumerate().map(|(at, cell)| (column_name(names, at), fold(cell))))?;
    }
    // A quote that is never closed swallows the rest of the file into one cell.
    if last.1 > 0 && text.matches('"').count() % 2 == 1 {
        let (line, source) = (last.0, Fault::OpenQuote.into());
        return Err(Error::Malformed { format: Format::Csv, line, source });
    }
    // A file of nothing but a header still has words in it.
    if rows.is_empty()
        && let Some(names) = columns
    {
        rows.row(std::iter::once(("columns".to_string(), names.join(", "))))?;
    }
    rows.finish()
}

/// White space, line breaks included, folded to single spaces.
fn fold(cell: &str) -> String {
    cell.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn column_name(names: &[String], at: usize) -> String {
    match names.get(at) {
        Some(name) if !name.is_empty() => name.clone(),
        _ => format!("column {}", at + 1),
    }
}

/// A header has no empty and no repeated name, and no cell that is a number.
fn is_header(names: &[String]) -> bool {
    let filled: Vec<_> = names.iter().filter(|name| !name.is_empty()).collect();
    let distinct: std::collections::HashSet<_> = filled.iter().collect();
    !filled.is_empty()
        && distinct.len() == filled.len()
        && filled.len() * 2 > names.len()
        && filled.iter().all(|name| name.parse::<f64>().is_err())
}

/// The mark that occurs equally often in most of the first lines; of several, the most frequent.
fn delimiter(text: &str) -> u8 {
    let score = |mark: u8| {
        let counts: Vec<usize> = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .take(SAMPLE_LINES)
            .map(|line| line.bytes().filter(|&b| b == mark).count())
            .collect();
        let first = counts.first().copied().unwrap_or(0);
        let even = counts.iter().filter(|&&count| count == first && count > 0).count();
        (even, first)
    };
    let best = *b",;\t|".iter().rev().max_by_key(|&&mark| score(mark)).unwrap_or(&b',');
    if score(best).1 == 0 { b',' } else { best }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_name_their_fields() {
        let document = read_csv("name;town\nAnn;\"Bonn; am\nRhein\"\n;\nBob;Köln;extra\n").unwrap();
        assert_eq!(
            document.text,
            "name: Ann\ntown: Bonn; am Rhein\n\nname: Bob\ntown: Köln\ncolumn 3: extra"
        );
        assert_eq!(document.blocks.len(), 2);
    }

    #[test]
    fn a_first_row_of_numbers_is_data() {
        assert_eq!(
            read_csv("1,2\n3,4\n").unwrap().text,
            "column 1: 1\ncolumn 2: 2\n\ncolumn 1: 3\ncolumn 2: 4"
        );
    }

    #[test]
    fn an_open_quote_is_named_with_its_line() {
        let error = read_csv("a,b\n1,2\n3,\"four\n5,6\n7,8\n").unwrap_err();
        assert!(matches!(error, Error::Malformed { line: 3, .. }), "{error}");
    }
}
