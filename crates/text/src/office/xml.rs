//! XML as a stream of elements and text. Entities other than the five predefined ones are not
//! expanded.

use std::borrow::Cow;

use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesEnd, BytesStart, Event as Raw};
use quick_xml::{Reader, XmlVersion};

/// Why XML cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum XmlError {
    #[error("{source}, at byte {offset}")]
    Markup { source: quick_xml::Error, offset: u64 },
    #[error("the text ends inside an element")]
    OpenElement,
}

/// What readers of a format look at. An empty element is a start and an end.
pub(crate) enum Event<'a> {
    Start(Element<'a>),
    End(EndOf<'a>),
    Text(Cow<'a, str>),
}

/// A start tag.
pub(crate) struct Element<'a>(BytesStart<'a>);

/// An end tag.
pub(crate) struct EndOf<'a>(BytesEnd<'a>);

impl Element<'_> {
    /// The name without its namespace prefix.
    pub(crate) fn name(&self) -> &str {
        self.0.local_name().into_inner()
    }

    /// The namespace prefix, empty where there is none.
    pub(crate) fn prefix(&self) -> &str {
        self.0.name().prefix().map_or("", |prefix| prefix.into_inner())
    }

    /// The value of an attribute, by its name without prefix.
    pub(crate) fn attribute(&self, name: &str) -> Option<String> {
        self.find(|key| key.rsplit(':').next() == Some(name))
    }

    /// The value of an attribute, by its whole name.
    pub(crate) fn qualified(&self, name: &str) -> Option<String> {
        self.find(|key| key == name)
    }

    fn find(&self, matches: impl Fn(&str) -> bool) -> Option<String> {
        let mut attributes = self.0.attributes();
        let found =
            attributes.with_checks(false).flatten().find(|a| matches(a.key.into_inner()))?;
        found.normalized_value(XmlVersion::Implicit1_0).ok().map(Cow::into_owned)
    }
}

impl EndOf<'_> {
    /// The name without its namespace prefix.
    pub(crate) fn name(&self) -> &str {
        self.0.local_name().into_inner()
    }
}

/// The events of one XML text.
pub(crate) struct Xml<'a> {
    reader: Reader<&'a [u8]>,
}

impl<'a> Xml<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let mut reader = Reader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        Xml { reader }
    }

    /// The next event, `None` at the end.
    ///
    /// # Errors
    /// [`XmlError::Markup`] where the mark-up breaks the rules of XML.
    pub(crate) fn next(&mut self) -> Result<Option<Event<'a>>, XmlError> {
        loop {
            let event = self.reader.read_event().map_err(|source| XmlError::Markup {
                source,
                offset: self.reader.error_position(),
            })?;
            return Ok(Some(match event {
                Raw::Start(start) => Event::Start(Element(start)),
                Raw::End(end) => Event::End(EndOf(end)),
                Raw::Text(text) => Event::Text(text.xml10_content()),
                Raw::CData(text) => Event::Text(text.xml10_content()),
                Raw::GeneralRef(name) => match name.resolve_char_ref() {
                    Ok(Some(character)) => Event::Text(Cow::Owned(character.to_string())),
                    _ => match resolve_predefined_entity(&name.xml10_content()) {
                        Some(text) => Event::Text(Cow::Borrowed(text)),
                        None => continue,
                    },
                },
                Raw::Eof => return Ok(None),
                _ => continue,
            }));
        }
    }

    /// Skips everything up to and including the end tag of the element that was entered last.
    ///
    /// # Errors
    /// [`XmlError::OpenElement`] where the text ends before it; [`XmlError::Markup`].
    pub(crate) fn skip(&mut self) -> Result<(), XmlError> {
        let mut open = 1;
        while open > 0 {
            match self.next()? {
                Some(Event::Start(_)) => open += 1,
                Some(Event::End(_)) => open -= 1,
                Some(Event::Text(_)) => {}
                None => return Err(XmlError::OpenElement),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(xml: &str) -> Result<String, XmlError> {
        let mut events = Xml::new(xml);
        let mut out = String::new();
        while let Some(event) = events.next()? {
            if let Event::Text(text) = event {
                out.push_str(&text);
            }
        }
        Ok(out)
    }

    #[test]
    fn entities_of_a_document_type_are_not_expanded() {
        let bomb = "<!DOCTYPE a [<!ENTITY b \"boom\"><!ENTITY c SYSTEM \"file:///etc/passwd\">]><a>x&b;&c;&amp;&#65;</a>";
        assert_eq!(text_of(bomb).unwrap(), "x&A");
    }

    #[test]
    fn attributes_go_by_their_name() {
        let mut events = Xml::new("<w:p w:val='a &lt; b' id=\"1\"/>");
        let Ok(Some(Event::Start(element))) = events.next() else { panic!("no element") };
        assert_eq!((element.prefix(), element.name()), ("w", "p"));
        assert_eq!(element.attribute("val").as_deref(), Some("a < b"));
        assert_eq!(
            (element.qualified("val"), element.attribute("id")),
            (None, Some("1".to_owned()))
        );
    }

    #[test]
    fn broken_markup_is_named_with_its_place() {
        assert!(text_of("<a><b></a>").unwrap_err().to_string().contains("at byte"));
        assert!(Xml::new("<a>").next().is_ok());
    }
}
