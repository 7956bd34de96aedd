//! The server as clients see it: a real process, the official `openai` Python client, real models.

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::project::{Project, models_are_here};

/// A server process, ended when the value goes away.
pub(crate) struct Server {
    process: Child,
    pub(crate) url: String,
}

impl Server {
    fn start(project: &Project) -> Self {
        Self::start_with(project, &[]).0
    }

    /// A server with these options, and what it says before it listens.
    pub(crate) fn start_with(project: &Project, options: &[&str]) -> (Self, Vec<String>) {
        Self::start_at(project, "127.0.0.1:0", options)
    }

    /// The same at another address.
    pub(crate) fn start_at(
        project: &Project,
        address: &str,
        options: &[&str],
    ) -> (Self, Vec<String>) {
        let arguments = [&["serve", "--address", address], options].concat();
        let process = project.command(&arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut server = Self { process, url: String::new() };
        let mut said = Vec::new();
        for line in BufReader::new(server.process.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            if let Some(url) = line.strip_prefix("listening on ") {
                server.url = url.to_owned();
                return (server, said);
            }
            said.push(line);
        }
        panic!("the server says where it listens: {said:?}")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) const CHAT: &str = "/v1/chat/completions";

/// What came back: status and the whole of it, headers and body.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(self.text.split_once("\r\n\r\n").unwrap().1).unwrap()
    }
}

pub(crate) fn call(
    server: &Server,
    method: &str,
    path: &str,
    key: Option<&str>,
    body: Option<&Value>,
) -> Reply {
    let address = server.url.trim_start_matches("http://").trim_end_matches("/v1");
    let mut request =
        format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    if let Some(key) = key {
        request.push_str(&format!("Authorization: Bearer {key}\r\n"));
    }
    let body = body.map(Value::to_string).unwrap_or_default();
    if !body.is_empty() {
        request.push_str(&format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\n",
            body.len()
        ));
    }
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(format!("{request}\r\n{body}").as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Reply { status: text.split(' ').nth(1).unwrap().parse().unwrap(), text }
}

#[test]
fn the_openai_client_holds_a_conversation() {
    if !models_are_here() {
        return;
    }
    let Some(python) = env::var_os("TUNESMITH_PYTHON") else {
        assert!(
            env::var_os("TUNESMITH_REQUIRE_MODELS").is_none_or(|value| value != "1"),
            "TUNESMITH_PYTHON must name a Python with the openai package"
        );
        eprintln!("skipped: TUNESMITH_PYTHON names no Python with the openai package");
        return;
    };
    let project = Project::with_documents(&[(
        "ferries.md",
        "# Ferries\n\nThe Marrow ferry leaves the north quay at seven in the morning. It carries 212 passengers.\n",
    )]);
    project.ok(&["ingest"]);
    let server = Server::start(&project);
    let client = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/openai_client.py");
    let talk = Command::new(python).args([client, &server.url]).output().unwrap();
    assert!(talk.status.success(), "{}", String::from_utf8_lossy(&talk.stderr));
}

#[test]
fn the_server_computes_on_as_many_threads_as_it_is_told() {
    if !models_are_here() {
        return;
    }
    let project = Project::new();
    let (_server, said) = Server::start_with(&project, &["--threads", "3"]);
    assert!(said.contains(&"computing on 3 threads".to_owned()), "{said:?}");
}

#[test]
fn other_machines_are_refused() {
    if !models_are_here() {
        return;
    }
    let project = Project::new();
    let said = project.fails(&["serve", "--address", "0.0.0.0:0"]);
    assert!(said.contains("not a loopback address"), "{said}");
}

#[test]
fn answers_follow_what_others_change() {
    if !models_are_here() {
        return;
    }
    let barge = "# Barges\n\nThe barge Teasel carries apples to the mill on Mondays.\n";
    let project = Project::with_documents(&[("barges.md", barge)]);
    project.ok(&["ingest"]);
    let (server, _) = Server::start_with(&project, &[]);
    // Documents that an answer to the question rests on.
    let read = |question: &str| -> Vec<String> {
        let body = json!({"model": "test", "max_tokens": 4, "messages": [{"role": "user", "content": question}]});
        let reply = call(&server, "POST", CHAT, None, Some(&body));
        assert_eq!(reply.status, 200, "{}", reply.text);
        let mut paths: Vec<String> = reply.json()["tunesmith"]["hits"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|hit| hit["path"].as_str().unwrap().to_owned())
            .collect();
        paths.sort();
        paths
    };
    let apples = "What does the barge Teasel carry to the mill?";
    let bell = "What rings when the fog comes in over the harbour?";
    assert_eq!(read(apples), ["documents/barges.md"]);

    // What is new is found, what is deleted is not, while the server runs.
    project.write(
        "documents/fog.md",
        "# Fog\n\nWhen the fog comes in over the harbour, the bell Agnes rings.\n",
    );
    project.ok(&["ingest"]);
    assert!(read(bell).contains(&"documents/fog.md".to_owned()));
    std::fs::remove_file(project.path("documents/barges.md")).unwrap();
    project.ok(&["ingest"]);
    assert!(!read(apples).contains(&"documents/barges.md".to_owned()));
    assert!(project.ok(&["search", "bell"]).contains("Agnes"), "others search beside it");

    // Another index, and the one before taken away.
    let config = std::fs::read_to_string(project.path("tunesmith.toml")).unwrap();
    project
        .write("tunesmith.toml", format!("{config}\n[chunks]\nmax_tokens = 40\nmin_tokens = 10\n"));
    project.ok(&["index", "build"]);
    project.ok(&["index", "use", "2"]);
    project.ok(&["index", "drop", "1"]);
    assert_eq!(read(bell), ["documents/fog.md"]);

    // While another process writes, it answers from what there is.
    let _writer = store::Store::open(&project.path(".tunesmith")).unwrap();
    assert_eq!(read(bell), ["documents/fog.md"]);
}
