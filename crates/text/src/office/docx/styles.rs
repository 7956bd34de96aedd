//! What paragraph styles say about structure.

use std::collections::HashMap;

use crate::office::xml::{Event, Xml, XmlError};

/// A style may be based on another that is based on another; a file that goes in circles ends here.
const MAX_GENERATIONS: usize = 16;

/// What a style says of a paragraph.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Style {
    /// It is the title of the document.
    pub(super) is_title: bool,
    /// Level in the outline, 0 the outermost, 9 running text.
    pub(super) outline_level: Option<u8>,
    /// The list that paragraphs of the style are items of.
    pub(super) list: Option<String>,
    /// Their level in it.
    pub(super) list_level: Option<usize>,
    based_on: Option<String>,
}

/// The paragraph styles of a document.
#[derive(Default)]
pub(super) struct Styles {
    styles: HashMap<String, Style>,
}

impl Styles {
    /// Reads `styles.xml`.
    pub(super) fn read(text: &str) -> Result<Self, XmlError> {
        let mut styles = HashMap::new();
        let mut open: Option<(String, Style)> = None;
        let mut events = Xml::new(text);
        while let Some(event) = events.next()? {
            match event {
                Event::Start(element) if element.name() == "style" => {
                    open = element.attribute("styleId").map(|id| (id, Style::default()));
                }
                Event::Start(element) => {
                    let (Some((_, style)), Some(value)) = (&mut open, element.attribute("val"))
                    else {
                        continue;
                    };
                    match element.name() {
                        "name" => {
                            let name = value.to_ascii_lowercase();
                            style.is_title = name == "title";
                            // The built-in headings are what they are called, whatever else they
                            // say.
                            let level =
                                name.strip_prefix("heading ").and_then(|n| n.parse::<u8>().ok());
                            style.outline_level =
                                level.map(|n| n.saturating_sub(1)).or(style.outline_level);
                        }
                        "outlineLvl" => {
                            style.outline_level = style.outline_level.or(value.parse().ok())
                        }
                        "basedOn" => style.based_on = Some(value),
                        "numId" => style.list = Some(value),
                        "ilvl" => style.list_level = value.parse().ok(),
                        _ => {}
                    }
                }
                Event::End(end) if end.name() == "style" => styles.extend(open.take()),
                _ => {}
            }
        }
        Ok(Styles { styles })
    }

    /// What a style says, together with those it is based on.
    pub(super) fn of(&self, id: Option<&str>) -> Style {
        let mut whole = Style::default();
        let mut next = id;
        for _ in 0..MAX_GENERATIONS {
            let Some(style) = next.and_then(|id| self.styles.get(id)) else { break };
            whole.is_title |= style.is_title && next == id;
            whole.outline_level = whole.outline_level.or(style.outline_level);
            whole.list = whole.list.or_else(|| style.list.clone());
            whole.list_level = whole.list_level.or(style.list_level);
            next = style.based_on.as_deref();
        }
        whole
    }
}
