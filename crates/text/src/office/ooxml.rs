//! What Word, PowerPoint and Excel files have in common: parts that refer to each other, a main
//! part, and properties.
//!
//! Reference: ECMA-376, part 2 (Open Packaging Conventions).

use std::collections::HashMap;

use crate::Error;
use crate::office::package::{Package, resolve};
use crate::office::xml::{Event, Xml};

/// Reads the parts that `part` refers to: id -> (kind, name of the part). The kind is the last word
/// of the type's address.
pub(super) fn relationships(
    package: &mut Package<'_>,
    part: &str,
) -> Result<HashMap<String, (String, String)>, Error> {
    let (folder, file) = part.rsplit_once('/').unwrap_or(("", part));
    let name = format!("{folder}/_rels/{file}.rels");
    let name = name.trim_start_matches('/');
    let Some(text) = package.text(name)? else { return Ok(HashMap::new()) };
    let mut found = HashMap::new();
    let mut events = Xml::new(&text);
    while let Some(event) = events.next().map_err(|error| package.broken(name, error))? {
        if let Event::Start(element) = event
            && element.name() == "Relationship"
            && element.attribute("TargetMode").as_deref() != Some("External")
            && let (Some(id), Some(target)) = (element.attribute("Id"), element.attribute("Target"))
        {
            let kind = element.attribute("Type").unwrap_or_default();
            let kind = kind.rsplit('/').next().unwrap_or_default().to_owned();
            found.insert(id, (kind, resolve(part, &target)));
        }
    }
    Ok(found)
}

/// The name of the package's main part, such as `word/document.xml`.
pub(super) fn main_part(package: &mut Package<'_>, usual: &str) -> Result<String, Error> {
    let main = relationships(package, "")?.into_values().find(|(kind, _)| kind == "officeDocument");
    Ok(main.map_or_else(|| usual.to_owned(), |(_, part)| part))
}

/// The title in the package's properties.
pub(super) fn title(package: &mut Package<'_>) -> Result<Option<String>, Error> {
    const PART: &str = "docProps/core.xml";
    let Some(text) = package.text(PART)? else { return Ok(None) };
    let mut events = Xml::new(&text);
    let mut title: Option<String> = None;
    // Properties that are broken are no reason not to read the document.
    while let Ok(Some(event)) = events.next() {
        match event {
            Event::Start(element) if element.name() == "title" => title = Some(String::new()),
            Event::End(end) if end.name() == "title" => break,
            Event::Text(text) => {
                if let Some(title) = &mut title {
                    title.push_str(&text);
                }
            }
            _ => {}
        }
    }
    Ok(title.map(|title| title.trim().to_owned()).filter(|title| !title.is_empty()))
}
