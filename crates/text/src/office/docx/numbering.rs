//! Lists as Word counts them: a list that is interrupted goes on with the next number.

use std::collections::HashMap;

use crate::office::xml::{Event, Xml, XmlError};

/// Levels that a list can have.
const LEVELS: usize = 9;

/// How the items of one level are marked.
#[derive(Debug, Clone, Copy)]
struct Level {
    is_numbered: bool,
    start: usize,
}

impl Default for Level {
    fn default() -> Self {
        Level { is_numbered: false, start: 1 }
    }
}

/// The lists of a document, and how far each has been counted.
#[derive(Default)]
pub(super) struct Numbering {
    /// Definition -> its levels.
    definitions: HashMap<String, [Level; LEVELS]>,
    /// List -> definition.
    lists: HashMap<String, String>,
    /// List -> the number that the last item of each level got.
    counts: HashMap<String, [Option<usize>; LEVELS]>,
}

impl Numbering {
    /// Reads `numbering.xml`.
    pub(super) fn read(text: &str) -> Result<Self, XmlError> {
        let mut numbering = Numbering::default();
        let mut definition = None;
        let mut list = None;
        let mut level = 0;
        let mut events = Xml::new(text);
        while let Some(event) = events.next()? {
            let Event::Start(element) = event else { continue };
            let value = element.attribute("val");
            match element.name() {
                "abstractNum" => {
                    definition = element.attribute("abstractNumId");
                    if let Some(id) = &definition {
                        numbering.definitions.insert(id.clone(), Default::default());
                    }
                }
                "lvl" => {
                    level = element.attribute("ilvl").and_then(|n| n.parse().ok()).unwrap_or(0)
                }
                "num" => {
                    definition = None;
                    list = element.attribute("numId");
                }
                "abstractNumId" => {
                    if let (Some(list), Some(value)) = (list.take(), value) {
                        numbering.lists.insert(list, value);
                    }
                }
                "numFmt" | "start" => {
                    let found =
                        definition.as_ref().and_then(|id| numbering.definitions.get_mut(id));
                    let (Some(levels), Some(value)) = (found, value) else { continue };
                    let Some(level) = levels.get_mut(level) else { continue };
                    match element.name() {
                        "numFmt" => {
                            level.is_numbered = !matches!(value.as_str(), "bullet" | "none")
                        }
                        _ => level.start = value.parse().unwrap_or(1),
                    }
                }
                _ => {}
            }
        }
        Ok(numbering)
    }

    /// Counts an item of a list; its number where the level is numbered.
    pub(super) fn count(&mut self, list: &str, level: usize) -> Option<usize> {
        let levels = self.lists.get(list).and_then(|id| self.definitions.get(id))?;
        let level = level.min(LEVELS - 1);
        let counts = self.counts.entry(list.to_owned()).or_default();
        let number = counts[level].map_or(levels[level].start, |last| last.saturating_add(1));
        counts[level] = Some(number);
        counts[level + 1..].fill(None);
        levels[level].is_numbered.then_some(number)
    }
}
