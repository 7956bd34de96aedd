//! A temporary project and the binary run in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// A project folder that goes away with the value.
pub(crate) struct Project {
    folder: TempDir,
}

/// What a run said and how it ended.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Project {
    /// An empty project.
    pub(crate) fn new() -> Self {
        let project = Self { folder: tempfile::tempdir().unwrap() };
        project
            .write("tunesmith.toml", "[project]\nname = \"test\"\ndocuments = [\"documents\"]\n");
        project
    }

    /// The same with these documents.
    pub(crate) fn with_documents(documents: &[(&str, &str)]) -> Self {
        let project = Self::new();
        for (name, text) in documents {
            project.write(&format!("documents/{name}"), text);
        }
        project
    }

    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Adds a set to the configuration, with a `questions` file.
    pub(crate) fn add_set(&self, name: &str, measure: &str, rows: &str) {
        let path = self.path("tunesmith.toml");
        let mut config = fs::read_to_string(&path).unwrap();
        config.push_str(&format!(
            "\n[[set]]\nname = \"{name}\"\nquestions = \"questions/{name}.jsonl\"\nmeasure = \"{measure}\"\nmax_tokens = 8\n"
        ));
        self.write("tunesmith.toml", config);
        self.write(&format!("questions/{name}.jsonl"), rows);
    }

    /// Runs the binary in the project's folder.
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        self.command(arguments).output().unwrap().into()
    }

    /// The binary, to be started in the project's folder.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tunesmith"));
        command.args(arguments).current_dir(self.root());
        command
    }

    /// Runs the binary, which must succeed.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let run = self.run(arguments);
        assert_eq!(run.code, 0, "{arguments:?} failed\n{}\n{}", run.out, run.err);
        run.out
    }

    /// Runs the binary, which must fail with a sentence; returns it.
    pub(crate) fn fails(&self, arguments: &[&str]) -> String {
        let run = self.run(arguments);
        assert_eq!(run.code, 1, "{arguments:?} should fail\n{}\n{}", run.out, run.err);
        let sentence = run.err.lines().find_map(|line| line.strip_prefix("error: "));
        assert!(sentence.is_some(), "{arguments:?} should say why\n{}", run.err);
        run.err
    }

    /// Runs the binary, which must print one JSON document and nothing else.
    pub(crate) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let out = self.ok(arguments);
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{arguments:?}: {error}\n{out}"))
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Whether the models of the catalogue are on this machine. Says so when a test is skipped for want
/// of them; with `TUNESMITH_REQUIRE_MODELS=1` their absence is a failure.
pub(crate) fn models_are_here() -> bool {
    let project = Project::new();
    let listed = project.json(&["model", "list", "--json"]);
    let here = listed.as_array().unwrap().iter().all(|model| model["status"] == "present");
    if !here {
        assert!(
            std::env::var_os("TUNESMITH_REQUIRE_MODELS").is_none_or(|value| value != "1"),
            "models are required and absent: run `tunesmith model pull`"
        );
        eprintln!("skipped: needs models, run `tunesmith model pull`");
    }
    here
}
