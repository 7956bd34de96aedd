//! What users get wrong: a clear sentence, a non-zero exit code, and nothing stored is lost.

use std::fs;

use crate::project::{Project, Run, models_are_here};

const NOTE: (&str, &str) = ("note.md", "# Ferries\n\nThe Marrow ferry leaves at seven.\n");

#[test]
fn no_project() {
    let project = Project::new();
    fs::remove_file(project.path("tunesmith.toml")).unwrap();
    assert!(project.fails(&["ingest"]).contains("run `tunesmith init`"));
}

#[test]
fn init_overwrites_nothing() {
    let project = Project::new();
    assert!(project.fails(&["init"]).contains("nothing was changed"));
    project.ok(&["init", "below"]);
    assert!(project.path("below/tunesmith.toml").is_file());
}

#[test]
fn configuration_problems_come_all_at_once() {
    let project = Project::new();
    project.write(
        "tunesmith.toml",
        "[project]\nname = \"p\"\n[retrieval]\npassages = 0\n[[set]]\nname = \"a\"\nmeasure = \"bleu\"\nquestions = \"q\"\n",
    );
    let said = project.fails(&["ingest"]);
    assert!(said.contains("tunesmith.toml:4: passages: expected a number from 1"), "{said}");
    assert!(said.contains("tunesmith.toml:7: measure: expected exact, f1"), "{said}");
}

#[test]
fn missing_folder() {
    if models_are_here() {
        let project = Project::new();
        let said = project.fails(&["ingest"]);
        assert!(said.contains("documents does not exist"), "{said}");
    }
}

#[test]
fn empty_folder() {
    if models_are_here() {
        let project = Project::new();
        fs::create_dir(project.path("documents")).unwrap();
        let said = project.fails(&["ingest"]);
        assert!(said.contains("documents holds no files to ingest"), "{said}");
    }
}

/// Ingests one good file beside a bad one: the bad one is named, the good one is stored.
fn bad_file(name: &str, content: &[u8], reason: &str) {
    if !models_are_here() {
        return;
    }
    let project = Project::with_documents(&[NOTE]);
    project.write(&format!("documents/{name}"), content);
    let run = project.run(&["ingest"]);
    assert_eq!(run.code, 1, "{}\n{}", run.out, run.err);
    assert!(
        run.err.contains(&format!("documents/{name}: failed: ")) && run.err.contains(reason),
        "{}",
        run.err
    );
    assert!(run.out.contains("1 document stored") && run.out.contains("1 failed"), "{}", run.out);
    assert!(project.ok(&["search", "ferry"]).contains("The Marrow ferry leaves at seven."));
}

#[test]
fn binary_file() {
    bad_file("a.txt", &[b'a', 0, 1, 2, 0, 255].repeat(50), "is not text");
}

#[test]
fn empty_file() {
    bad_file("a.md", b" \n", "is empty");
}

#[test]
fn invalid_utf8() {
    bad_file("a.md", b"Caf\xe9 \xff\xfe\x81 and more \xc3( text", "UTF-8");
}

#[test]
fn malformed_jsonl_document() {
    bad_file("rows.jsonl", b"{\"a\": 1}\n{\"a\": 2\n", "line 2");
}

#[test]
fn pdf_without_text() {
    bad_file("scan.pdf", &blank_pdf(), "holds no text");
}

#[test]
fn unreadable_file() {
    use std::os::unix::fs::PermissionsExt;
    if !models_are_here() {
        return;
    }
    let project = Project::with_documents(&[NOTE, ("locked.md", "secret")]);
    let locked = project.path("documents/locked.md");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(&locked).is_ok() {
        eprintln!("skipped: this user may read every file");
        return;
    }
    let run = project.run(&["ingest"]);
    assert_eq!(run.code, 1);
    assert!(run.err.contains("locked.md: failed: cannot be read"), "{}", run.err);
}

/// A PDF with one page and nothing on it.
fn blank_pdf() -> Vec<u8> {
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] >>",
    ];
    let mut pdf = b"%PDF-1.4\n".to_vec();
    let mut offsets = Vec::new();
    for (number, object) in objects.iter().enumerate() {
        offsets.push(pdf.len());
        pdf.extend(format!("{} 0 obj\n{object}\nendobj\n", number + 1).bytes());
    }
    let start = pdf.len();
    pdf.extend(b"xref\n0 4\n0000000000 65535 f \n");
    pdf.extend(offsets.iter().flat_map(|offset| format!("{offset:010} 00000 n \n").into_bytes()));
    pdf.extend(format!("trailer\n<< /Size 4 /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n").bytes());
    pdf
}

#[test]
fn malformed_question_rows_are_all_named() {
    if !models_are_here() {
        return;
    }
    let project = Project::with_documents(&[NOTE]);
    let rows = "{\"question\":\"Q\",\"answers\":[\"x\"]}\n{\"question\":\"Q\"\n{\"question\":\"Q\",\"answers\":[]}\n";
    project.add_set("facts", "exact", rows);
    let said = project.fails(&["compare", "facts"]);
    assert!(
        said.contains(
            "questions/facts.jsonl:2: row: expected a JSON object on one line, found malformed JSON"
        ),
        "{said}"
    );
    assert!(
        said.contains(
            "questions/facts.jsonl:3: answers: expected at least one answer, found an empty list"
        ),
        "{said}"
    );
}

#[test]
fn question_set_without_answers() {
    if !models_are_here() {
        return;
    }
    let project = Project::with_documents(&[NOTE]);
    project.add_set("facts", "exact", "{\"question\":\"When?\"}\n");
    let said = project.fails(&["tune", "facts"]);
    assert!(
        said.contains("facts.jsonl:1: answers: expected a list of texts, found nothing"),
        "{said}"
    );
}

#[test]
fn evidence_that_stands_nowhere() {
    if !models_are_here() {
        return;
    }
    let project = Project::with_documents(&[NOTE]);
    let row = |split: &str, quote: &str| {
        format!(
            "{{\"question\":\"When {split}?\",\"answers\":[\"seven\"],\"split\":\"{split}\",\
             \"evidence\":[{{\"document\":\"documents/note.md\",\"quote\":\"{quote}\"}}]}}\n"
        )
    };
    let rows = row("train", "at seven") + &row("dev", "at eight") + &row("test", "at seven");
    project.add_set("facts", "contains", &rows);
    project.ok(&["ingest"]);
    let said = project.fails(&["compare", "facts"]);
    assert!(
        said.contains(
            "facts.jsonl:2: evidence[0].quote: expected words that stand in documents/note.md"
        ),
        "{said}"
    );
}

#[test]
fn an_example_without_a_trainable_token() {
    if !models_are_here() {
        return;
    }
    let project = Project::with_documents(&[NOTE]);
    let row = |split: &str, completion: &str| {
        format!(
            "{{\"question\":\"When {split}?\",\"answers\":[\"x\"],\"completion\":\"{completion}\",\"split\":\"{split}\"}}\n"
        )
    };
    project.add_set("s", "exact", &(row("train", "") + &row("dev", "x") + &row("test", "x")));
    let said = project.fails(&["tune", "s"]);
    assert!(
        said.contains("s.jsonl:1: completion: expected a trainable token, found none"),
        "{said}"
    );
}

#[test]
fn unknown_set_and_arm() {
    let project = Project::new();
    project.add_set("facts", "exact", "");
    assert!(
        project
            .fails(&["decide", "fact"])
            .contains("no question set \"fact\" in tunesmith.toml; it has facts")
    );
    assert!(project.fails(&["decide", "facts"]).contains("run `tunesmith compare facts`"));
    let run = project.run(&["compare", "facts", "--arms", "base,both"]);
    assert_eq!(run.code, 2, "a wrong option is a usage error");
    assert!(run.err.contains("unknown setup `both`"), "{}", run.err);
}

#[test]
fn two_processes_on_one_project() {
    if !models_are_here() {
        return;
    }
    let project = Project::with_documents(&[NOTE]);
    project.ok(&["ingest"]);
    let holder = store::Store::open(&project.path(".tunesmith")).unwrap();
    let said = project.fails(&["ingest"]);
    assert!(said.contains(&format!("in use by process {}", std::process::id())), "{said}");
    drop(holder);
    assert!(project.ok(&["search", "ferry"]).contains("at seven"));
}

#[test]
fn full_disk_loses_nothing() {
    if !models_are_here() {
        return;
    }
    let project = Project::with_documents(&[NOTE]);
    project.ok(&["ingest"]);
    project
        .write("documents/big.md", "The lighthouse keeper counts gulls all day. ".repeat(20_000));
    // A limit on the size of files is what a full disk looks like to the program: writing fails in
    // the middle.
    let limited =
        format!("ulimit -f 128; trap '' XFSZ; exec {} ingest", env!("CARGO_BIN_EXE_tunesmith"));
    let run: Run = std::process::Command::new("sh")
        .args(["-c", &limited])
        .current_dir(project.root())
        .output()
        .unwrap()
        .into();
    assert_eq!(run.code, 1, "{}\n{}", run.out, run.err);
    assert!(run.err.contains("error: "), "{}", run.err);
    assert!(
        project.ok(&["search", "ferry"]).contains("at seven"),
        "what was stored is still there"
    );
}

#[test]
fn a_number_of_threads_that_is_none() {
    let project = Project::new();
    let run = project.run(&["search", "x", "--threads", "0"]);
    assert_eq!(run.code, 2, "a wrong option is a usage error");
    assert!(run.err.contains("expected a number from 1 to 1024"), "{}", run.err);
    let run: Run =
        project.command(&["search", "x"]).env("TUNESMITH_THREADS", "many").output().unwrap().into();
    assert_eq!(run.code, 1);
    let expected = "error: TUNESMITH_THREADS: expected a number from 1 to 1024, found `many`";
    assert!(run.err.contains(expected), "{}", run.err);
}

#[test]
fn margins_and_targets_that_mean_nothing() {
    let project = Project::new();
    for (line, expected) in [
        ("margin = 0", "margin: expected a number above 0 and below 1, found 0"),
        ("margin = -0.1", "margin: expected a number above 0 and below 1, found -0.1"),
        ("margin = 1.0", "margin: expected a number above 0 and below 1, found 1.0"),
        ("target = 0.0", "target: expected a number above 0, up to 1, found 0.0"),
        ("target = 1.2", "target: expected a number above 0, up to 1, found 1.2"),
    ] {
        project.write(
            "tunesmith.toml",
            format!(
                "[project]\nname = \"p\"\n[[set]]\nname = \"a\"\nmeasure = \"exact\"\n\
                 questions = \"q\"\n{line}\n"
            ),
        );
        let said = project.fails(&["compare", "a"]);
        assert!(said.contains(&format!("tunesmith.toml:7: {expected}")), "{said}");
    }
}

/// A row of a question file.
fn row(split: &str, question: &str, answer: &str) -> String {
    let row = serde_json::json!({"question": question, "answers": [answer], "split": split});
    format!("{row}\n")
}

/// Compares a set that cannot be compared, and makes sure that no test split was opened.
fn refused(measure: &str, rows: &str) -> Option<String> {
    if !models_are_here() {
        return None;
    }
    let project = Project::with_documents(&[NOTE]);
    project.add_set("facts", measure, rows);
    let said = project.fails(&["compare", "facts"]);
    let store = store::Store::open(&project.path(".tunesmith")).unwrap();
    assert!(store.test_openings("facts").unwrap().is_empty(), "{said}");
    Some(said)
}

#[test]
fn a_test_split_that_is_the_training_split() {
    let crew = ["pilot", "cook", "smith", "clerk", "diver", "baker"];
    let questions = |split: &str, of: &str| -> String {
        crew.iter().map(|who| row(split, &format!("Who is the {who} {of}?"), who)).collect()
    };
    let rows = questions("train", "of the Marrow ferry")
        + &questions("dev", "at Sallow Rock")
        + &questions("test", "of the Marrow ferry");
    let Some(said) = refused("exact", &rows) else { return };
    let expected = "questions/facts.jsonl: question: set \"facts\": expected test questions that no \
                    other split holds, found 0 of 6; \"Who is the pilot of the Marrow ferry?\" \
                    (facts-13), for one, is \"Who is the pilot of the Marrow ferry?\" (facts-1, train)";
    assert!(said.contains(expected), "{said}");
    assert!(!said.contains("expected dev questions"), "{said}");
}

#[test]
fn a_set_without_test_questions() {
    let rows = row("train", "Who rows?", "Ada") + &row("dev", "Who cooks?", "Bo");
    let Some(said) = refused("exact", &rows) else { return };
    let expected = "expected questions for train, dev and test, found none for test";
    assert!(said.contains(expected) && said.contains("facts.jsonl: split"), "{said}");
}

#[test]
fn a_split_of_another_name() {
    let rows = row("train", "Who rows?", "Ada") + &row("holdout", "Who cooks?", "Bo");
    let Some(said) = refused("exact", &rows) else { return };
    let expected = "facts.jsonl:2: split: expected train, dev or test, found \"holdout\"";
    assert!(said.contains(expected), "{said}");
}

#[test]
fn contradictions_and_twins_are_named_and_block_nothing() {
    if !models_are_here() {
        return;
    }
    let project = Project::with_documents(&[NOTE]);
    let crew = ["pilot", "cook", "smith", "clerk", "diver", "baker"];
    let mut rows = row("train", "Is the pilot of the Marrow ferry paid?", "yes")
        + &row("train", "is the pilot of the Marrow ferry PAID", "no")
        + &row("dev", "Is the pilot of the Marrow ferry paid", "yes")
        + &row("dev", "Is the quay lit?", "yes");
    for who in crew {
        rows += &row("test", &format!("Is the {who} of the Marrow ferry paid?"), "no");
    }
    project.add_set("facts", "label", &rows);
    let run = project.run(&["compare", "facts", "--arms", "base"]);
    assert_eq!(run.code, 0, "{}", run.err);
    for said in [
        "facts: left out of dev: 1 question that train or test holds too",
        "facts: left out of test: 1 question that train holds too",
        "facts: warning: \"Is the pilot of the Marrow ferry paid?\" has different answers in \
         train: \"yes\" (questions/facts.jsonl:1), \"no\" (questions/facts.jsonl:2)",
    ] {
        assert!(run.err.contains(said), "{said}\n{}", run.err);
    }
    let said = project.ok(&["decide", "facts"]);
    let warning = "warning: 2 of 2 pairs contradict each other";
    assert!(said.contains(warning), "{said}");
    let page = fs::read_to_string(project.path(".tunesmith/reports/facts.html")).unwrap();
    for told in ["What stands twice", "the same words", "questions/facts.jsonl:2"] {
        assert!(page.contains(told), "{told}");
    }
}
