//! Which documents a search may find, as options of the command line.

use anyhow::{Context as _, ensure};
use app::Format;
use app::project::config::{Config, DOCUMENTS};
use store::Filter;

#[derive(clap::Args)]
#[command(next_help_heading = "Which documents")]
pub(crate) struct FilterArguments {
    /// Only documents of this collection; may be repeated
    #[arg(long, value_name = "NAME")]
    collection: Vec<String>,
    /// Only documents whose path matches this pattern, where `*` stands for anything; may be
    /// repeated
    #[arg(long, value_name = "PATTERN")]
    path: Vec<String>,
    /// Only documents of this format, such as pdf or markdown; may be repeated
    #[arg(long = "type", value_name = "FORMAT")]
    format: Vec<Format>,
    /// Only documents with this tag; if it is repeated, with all of the tags
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Only documents that were changed on this day (UTC) or later
    #[arg(long, value_name = "YYYY-MM-DD")]
    since: Option<String>,
    /// Only documents that were changed before this day (UTC)
    #[arg(long, value_name = "YYYY-MM-DD")]
    until: Option<String>,
}

impl FilterArguments {
    /// The filter, for a project of this configuration.
    pub(crate) fn resolve(&self, config: &Config) -> anyhow::Result<Filter> {
        let mut known: Vec<&str> =
            config.collections.iter().map(|collection| collection.name.as_str()).collect();
        known.push(DOCUMENTS);
        for name in &self.collection {
            ensure!(
                known.contains(&name.as_str()),
                "--collection: expected one of {}, found {name:?}",
                known.join(", ")
            );
        }
        let day = |option: &str, written: &Option<String>| {
            let seconds = |text: &String| {
                app::time::midnight(text).with_context(|| {
                    format!("--{option}: expected a day such as 2026-11-23, found {text:?}")
                })
            };
            written.as_ref().map(seconds).transpose()
        };
        Ok(Filter {
            collections: (!self.collection.is_empty()).then(|| self.collection.clone()),
            paths: self.path.clone(),
            formats: self.format.iter().map(|format| format.as_str().to_owned()).collect(),
            tags: self.tag.clone(),
            since: day("since", &self.since)?,
            until: day("until", &self.until)?,
        })
    }
}
