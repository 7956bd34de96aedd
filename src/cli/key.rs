//! `tunesmith key new|list`

use std::path::Path;
use std::process::ExitCode;

use app::Access;
use app::project::keys;
use clap::Subcommand;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Make a key, print its secret this once, and add its hash to tunesmith.toml
    New {
        /// Name of the key, for people
        name: String,
        /// Collections that the key opens, separated by commas [default: all]
        #[arg(long, value_name = "NAMES", value_delimiter = ',')]
        collections: Option<Vec<String>>,
    },
    /// List the keys of tunesmith.toml and what they open
    List,
}

pub(crate) fn run(project: Option<&Path>, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let project = super::open_project(project)?;
    match &arguments.action {
        Action::New { name, collections } => {
            println!("{}", keys::add(&project, name, collections.as_deref())?);
            eprintln!(
                "This is the secret of {name:?}; it is kept nowhere, so note it now. \
                 Clients send `Authorization: Bearer SECRET`.\n\
                 A server that is running learns of the key when it is started again. \
                 To withdraw it, delete its [[key]] from {}.",
                app::project::config::FILE
            );
        }
        Action::List => {
            for key in &project.config.keys {
                match &key.access {
                    Access::Everything => println!("{}: everything", key.name),
                    Access::Collections(names) => println!("{}: {}", key.name, names.join(", ")),
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
