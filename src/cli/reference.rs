//! `tunesmith reference`: the pages under `docs/` that the program writes about itself.

use std::process::ExitCode;

use app::page::Page;
use app::project::config;
use clap::{Arg, ArgAction, Command, CommandFactory};

use super::Cli;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The page to print
    page: Which,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Which {
    /// Commands and their options, as in `docs/cli.md`
    Cli,
    /// Keys of tunesmith.toml, as in `docs/configuration.md`
    Configuration,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match arguments.page {
        Which::Cli => print!("{}", commands()),
        Which::Configuration => print!("{}", config::reference()),
    }
    ExitCode::SUCCESS
}

/// All commands and their options.
fn commands() -> String {
    let mut root = Cli::command();
    root.build();
    let mut page = Page::new("Command line");
    page.paragraph(&format!("{}.", plain(root.get_about())));
    page.heading(2, "Options of every command");
    page.list(root.get_arguments().filter(|argument| argument.is_global_set()).map(item));
    for command in visible(&root) {
        describe(&mut page, 2, "tunesmith", command);
    }
    page.into_text()
}

/// A command, and below it the commands it has.
fn describe(page: &mut Page, level: usize, above: &str, command: &Command) {
    let name = format!("{above} {}", command.get_name());
    page.heading(level, &format!("`{name}`"));
    page.paragraph(&format!("{}.", plain(command.get_about())));
    let usage = command.clone().render_usage().to_string();
    page.code("text", usage.trim_start_matches("Usage: "));
    page.list(command.get_arguments().filter(|argument| argument.is_positional()).map(item));
    let options: Vec<&Arg> = command.get_arguments().filter(|argument| is_own(argument)).collect();
    page.list(options.iter().filter(|option| heading(option).is_none()).map(|option| item(option)));
    let mut groups: Vec<&str> = options.iter().filter_map(|option| heading(option)).collect();
    groups.dedup();
    for group in groups {
        page.paragraph(&format!("{group}:"));
        let members = options.iter().filter(|option| heading(option) == Some(group));
        page.list(members.map(|option| item(option)));
    }
    // Such as the exit codes.
    if let Some(after) = command.get_after_help() {
        page.paragraph(&format!("{}.", plain(Some(after))));
    }
    for below in visible(command) {
        describe(page, level + 1, &name, below);
    }
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help")
}

/// An option of this command that no other has: not `--help`, nor one of every command.
fn is_own(argument: &Arg) -> bool {
    let general = matches!(argument.get_id().as_str(), "help" | "version" | "project" | "threads");
    !argument.is_positional() && !general && !argument.is_hide_set()
}

fn heading(option: &Arg) -> Option<&str> {
    option.get_help_heading()
}

/// An argument or option: how it is written, what it does, what it is by default.
fn item(argument: &Arg) -> String {
    let takes_value = argument.get_action().takes_values();
    let values: String = argument
        .get_value_names()
        .filter(|_| takes_value)
        .map(|names| names.iter().map(|name| format!("<{name}>")).collect())
        .unwrap_or_default();
    let long = argument.get_long().map(|name| format!("--{name}"));
    let short = argument.get_short().map(|name| format!("-{name}"));
    let names: Vec<String> = short.into_iter().chain(long).collect();
    let gap = if names.is_empty() || values.is_empty() { "" } else { " " };
    let many = matches!(argument.get_action(), ArgAction::Append);
    let dots = if many && argument.is_positional() { "..." } else { "" };
    let mut text =
        format!("`{}{gap}{values}{dots}`: {}.", names.join(", "), plain(argument.get_help()));
    let defaults: Vec<_> =
        argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if takes_value && !defaults.is_empty() {
        text.push_str(&format!(" Default: `{}`.", defaults.join(",")));
    }
    text
}

/// A text of clap's without its colours; `[default: …]` at its end becomes a sentence.
fn plain(text: Option<&clap::builder::StyledStr>) -> String {
    let text = text.map(ToString::to_string).unwrap_or_default();
    let text = text.trim().trim_end_matches('.');
    match text.strip_suffix(']').and_then(|text| text.rsplit_once(" [default: ")) {
        Some((text, default)) => format!("{text}. Default: {default}"),
        None => text.to_owned(),
    }
}
