//! Keys: what a server opens to whom, by every route, with real models.

use serde_json::{Value, json};

use crate::project::{Project, models_are_here};
use crate::serve::{CHAT, Reply, Server, call};

const PUBLIC: &str =
    "# Ferries\n\nThe Marrow ferry leaves the north quay at seven in the morning for everybody.\n";
const SECRET: &str = "# Ferries\n\nThe Marrow ferry of the smugglers leaves the north quay at midnight, says Brom Teal.\n";
const QUESTION: &str = "When does the Marrow ferry leave the north quay?";

/// Two collections that both answer one question, a set of each, and one of all.
fn project() -> Project {
    let project = Project::with_documents(&[("ferries.md", PUBLIC)]);
    project.write("cellar/smugglers.md", SECRET);
    let mut config = std::fs::read_to_string(project.path("tunesmith.toml")).unwrap();
    config.push_str("[[collection]]\nname = \"cellar\"\ndocuments = [\"cellar\"]\n");
    for (set, collections) in [
        ("open", "collections = [\"documents\"]\n"),
        ("hidden", "collections = [\"cellar\"]\n"),
        ("both", "collections = [\"documents\", \"cellar\"]\n"),
        ("whole", ""),
    ] {
        config.push_str(&format!(
            "[[set]]\nname = \"{set}\"\nquestions = \"questions.jsonl\"\nmeasure = \"contains\"\nmax_tokens = 8\n{collections}"
        ));
    }
    project.write("tunesmith.toml", config);
    project.write("questions.jsonl", r#"{"question": "Why?", "answers": ["so"], "split": "test"}"#);
    project.ok(&["ingest"]);
    project
}

fn new_key(project: &Project, arguments: &[&str]) -> String {
    project.ok(&[&["key", "new"], arguments].concat()).trim().to_owned()
}

fn question(model: &str, streamed: bool) -> Value {
    json!({"model": model, "stream": streamed, "max_tokens": 12, "messages": [{"role": "user", "content": QUESTION}]})
}

#[test]
fn every_route_of_a_server_with_keys_needs_one() {
    if !models_are_here() {
        return;
    }
    let project = project();
    let secret = new_key(&project, &["clerk"]);
    let (server, _) = Server::start_with(&project, &[]);
    let wrong = secret.replace(|digit: char| digit.is_ascii_digit(), "a");
    let hash = project.ok(&["key", "list"]);
    assert_eq!(hash.trim(), "clerk: everything");
    let hash = std::fs::read_to_string(project.path("tunesmith.toml")).unwrap();
    let hash = hash.split("sha256 = \"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    for key in [None, Some(""), Some(wrong.as_str()), Some(hash.as_str()), Some("clerk")] {
        for (method, path, body) in [
            ("GET", "/v1/models", None),
            ("GET", "/v1/models/test", None),
            ("POST", CHAT, Some(question("test", false))),
            ("POST", CHAT, Some(question("open", true))),
            ("GET", "/", None),
            ("GET", "/v1/documents", None),
        ] {
            let reply = call(&server, method, path, key, body.as_ref());
            assert_eq!(reply.status, 401, "{path} {key:?}: {}", reply.text);
            assert_eq!(reply.json()["error"]["code"], "invalid_api_key");
            assert!(
                !reply.text.contains("ferr") && !reply.text.contains("hidden"),
                "{}",
                reply.text
            );
        }
    }
    assert_eq!(call(&server, "GET", "/health", None, None).json(), json!({"status": "ok"}));
    assert_eq!(call(&server, "GET", "/v1/models", Some(&secret), None).status, 200);
}

#[test]
fn a_key_sees_nothing_of_a_collection_that_it_does_not_open() {
    if !models_are_here() {
        return;
    }
    let project = project();
    let clerk = new_key(&project, &["clerk", "--collections", "documents"]);
    let smuggler = new_key(&project, &["smuggler", "--collections", "cellar"]);
    let captain = new_key(&project, &["captain", "--collections", "documents,cellar"]);
    let owner = new_key(&project, &["owner"]);
    let (server, said) = Server::start_with(&project, &[]);
    let served = |model: &str, whose: &str| {
        said.iter().any(|line| {
            line.starts_with(&format!("serving {model} "))
                && line.ends_with(&format!(" to {whose}"))
        })
    };
    assert!(
        served("open", "clerk") && !served("hidden", "clerk") && served("whole", "owner"),
        "{said:?}"
    );

    let of_public = ["documents/ferries.md", "for everybody"];
    let of_secret = ["smugglers", "midnight", "Brom Teal", "cellar"];
    let keys: [(&str, &[&str], bool, bool); 4] = [
        (&clerk, &["open", "test"], true, false),
        (&smuggler, &["hidden", "test"], false, true),
        (&captain, &["open", "hidden", "both", "whole", "test"], true, true),
        (&owner, &["open", "hidden", "both", "whole", "test"], true, true),
    ];
    let all = ["open", "hidden", "both", "whole", "test"];
    // Whoever may read more asks first, so that anything kept from their answers would be there for
    // the others.
    for (key, models, public, secret) in keys.into_iter().rev() {
        let check = |reply: &Reply, everything: bool| {
            for (words, may) in [(of_public.as_slice(), public), (of_secret.as_slice(), secret)] {
                for word in words {
                    assert!(may || !reply.text.contains(word), "{word} in {}", reply.text);
                }
                let told = words.iter().any(|word| reply.text.contains(word));
                assert!(!everything || !may || told, "{words:?} not in {}", reply.text);
            }
        };
        let listed = call(&server, "GET", "/v1/models", Some(key), None);
        let listed_json = listed.json();
        let ids: Vec<&str> = listed_json["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|card| card["id"].as_str().unwrap())
            .collect();
        assert_eq!(ids, models);
        check(&listed, false);
        for model in all {
            let status = if models.contains(&model) { 200 } else { 404 };
            let shown = call(&server, "GET", &format!("/v1/models/{model}"), Some(key), None);
            assert_eq!(shown.status, status, "{}", shown.text);
            for streamed in [false, true] {
                let reply =
                    call(&server, "POST", CHAT, Some(key), Some(&question(model, streamed)));
                assert_eq!(reply.status, status, "{model}: {}", reply.text);
                // Both documents match the question; an answer from all that may be read names the
                // hits of both.
                check(&reply, model == "test" && !streamed);
                if status == 404 {
                    let error = &reply.json()["error"];
                    assert_eq!(error["code"], "model_not_found");
                    let known = error["message"].as_str().unwrap().split("found ").nth(1);
                    assert_eq!(known, Some(models.join(", ").as_str()), "{error}");
                }
            }
        }
    }
}

#[test]
fn what_was_asked_with_one_key_is_not_read_from_a_cache_with_another() {
    if !models_are_here() {
        return;
    }
    let project = project();
    let clerk = new_key(&project, &["clerk", "--collections", "documents"]);
    let colleague = new_key(&project, &["colleague", "--collections", "documents"]);
    let captain = new_key(&project, &["captain"]);
    let (server, _) = Server::start_with(&project, &[]);
    // A conversation whose beginning is the same whatever is retrieved, and long.
    let before = "The quay, the tide, the lamp and the bell are as they were. ".repeat(20);
    let body = json!({"model": "test", "max_tokens": 2, "messages": [
        {"role": "user", "content": before}, {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": QUESTION},
    ]});
    let cached = |key: &str| {
        let reply = call(&server, "POST", CHAT, Some(key), Some(&body));
        reply.json()["tunesmith"]["tokens"]["cached"].as_u64().unwrap()
    };
    assert_eq!((cached(&captain), cached(&clerk)), (0, 0));
    assert!(cached(&captain) > 64 && cached(&clerk) > 64);
    assert!(cached(&colleague) > 64, "who may read the same shares what was read");
}

#[test]
fn a_document_that_has_moved_to_a_closed_collection_is_not_served_from_where_it_was() {
    if !models_are_here() {
        return;
    }
    let project = project();
    new_key(&project, &["clerk", "--collections", "documents"]);
    let config = std::fs::read_to_string(project.path("tunesmith.toml")).unwrap();
    let vault = "[[collection]]\nname = \"vault\"\ndocuments = [\"documents/ferries.md\"]\n";
    project.write("tunesmith.toml", format!("{config}\n{vault}"));
    let said = project.fails(&["serve", "--address", "127.0.0.1:0"]);
    assert!(said.contains("documents/ferries.md now belongs to collection \"vault\""), "{said}");
    project.ok(&["ingest"]);
    let (server, said) = Server::start_with(&project, &[]);
    assert!(
        !server.url.is_empty() && !said.iter().any(|line| line.starts_with("serving whole")),
        "{said:?}"
    );
}

#[test]
fn a_server_with_keys_may_be_reached_from_elsewhere() {
    if !models_are_here() {
        return;
    }
    let project = project();
    new_key(&project, &["clerk"]);
    let (server, _) = Server::start_at(&project, "0.0.0.0:0", &[]);
    assert!(server.url.starts_with("http://0.0.0.0:"), "{}", server.url);
}
