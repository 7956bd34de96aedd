//! `tunesmith init`

use std::path::PathBuf;
use std::process::ExitCode;

use app::Project;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Folder of the new project, which is made if it is missing
    #[arg(default_value = ".")]
    folder: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let file = Project::init(&arguments.folder)?;
    println!("wrote {}", file.display());
    println!(
        "next: put documents into {}, then run `tunesmith ingest`",
        file.with_file_name("documents").display()
    );
    Ok(ExitCode::SUCCESS)
}
