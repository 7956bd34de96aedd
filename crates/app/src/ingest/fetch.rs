//! Pages of the web, fetched within bounds and from public addresses alone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Error, ResponseExt};

/// The longest that connecting may take.
const CONNECT: Duration = Duration::from_secs(15);
/// The longest that a whole page may take.
const WHOLE: Duration = Duration::from_secs(120);

/// A page as it came.
#[derive(Debug)]
pub(crate) struct FetchedPage {
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
    /// A file name to judge its format by where its content does not tell.
    pub(crate) file: PathBuf,
}

/// Why there is no page.
#[derive(Debug)]
pub(crate) enum Missing {
    /// The server says that it no longer exists.
    Gone(String),
    /// It could not be fetched, but may exist.
    Unreachable(String),
}

/// Fetches pages. An address that leads into a private network is refused wherever it comes from:
/// written by the user, resolved from a name, or named by a redirection.
pub(crate) struct Fetcher {
    agent: Agent,
}

impl Fetcher {
    /// `private` allows private and loopback addresses too.
    pub(crate) fn new(private: bool) -> Self {
        let config = Agent::config_builder()
            .user_agent(concat!("tunesmith/", env!("CARGO_PKG_VERSION")))
            // Behind a proxy we could not check which address a name leads to.
            .proxy(None)
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(WHOLE))
            .build();
        let resolver = Guarded { inner: DefaultResolver::default(), private };
        Fetcher { agent: Agent::with_parts(config, DefaultConnector::new(), resolver) }
    }

    /// Fetches a page, redirections followed.
    pub(crate) fn get(&self, address: &str) -> Result<FetchedPage, Missing> {
        let mut response = self.agent.get(address).call().map_err(missing)?;
        let mut file =
            PathBuf::from(response.get_uri().path().rsplit('/').next().unwrap_or_default());
        // A name without an extension says nothing; the server's content type does.
        if file.extension().is_none() {
            file.set_extension(response.body().mime_type().and_then(extension).unwrap_or_default());
        }
        let body = response.body_mut().with_config().limit(text::MAX_BYTES);
        let bytes = body.read_to_vec().map_err(missing)?;
        Ok(FetchedPage { bytes, file })
    }
}

fn missing(error: Error) -> Missing {
    match error {
        Error::StatusCode(status @ (404 | 410)) => {
            Missing::Gone(format!("the server says it is gone (status {status})"))
        }
        Error::StatusCode(status) => {
            Missing::Unreachable(format!("the server refused it (status {status})"))
        }
        Error::BodyExceedsLimit(limit) => Missing::Unreachable(format!(
            "is too large: more than {limit} bytes, which are the most that is read"
        )),
        error => Missing::Unreachable(format!("cannot be fetched: {error}")),
    }
}

fn extension(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "text/markdown" => "md",
        "text/html" | "application/xhtml+xml" => "html",
        "text/csv" | "text/tab-separated-values" => "csv",
        "application/json" => "json",
        "application/x-ndjson" | "application/jsonl" => "jsonl",
        "message/rfc822" => "eml",
        _ => return None,
    })
}

/// Resolves names, and refuses those that lead to an address that is not public.
#[derive(Debug)]
struct Guarded {
    inner: DefaultResolver,
    private: bool,
}

impl Resolver for Guarded {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let addresses = self.inner.resolve(uri, config, timeout)?;
        match addresses
            .iter()
            .map(|address| address.ip())
            .find(|ip| !self.private && !is_public(*ip))
        {
            None => Ok(addresses),
            Some(ip) => {
                let host = uri.host().unwrap_or_default();
                let message = format!(
                    "{host} is at {ip}, which is not a public address (--allow-private fetches it)"
                );
                Err(Error::Io(std::io::Error::other(message)))
            }
        }
    }
}

/// Whether an address belongs to the public network, by IANA's registries of special-purpose
/// addresses (RFC 6890).
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !(ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_documentation()
        || a == 0
        || a >= 240
        // Shared by the customers of a provider; for protocols; for measuring networks; relays
        // between the protocols.
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (b == 18 || b == 19))
        || (a == 192 && b == 88 && c == 99))
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let words = ip.segments();
    let embedded = |high: u16, low: u16| {
        let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match words {
        // An address of the older protocol in one of its disguises: mapped, translated, tunnelled.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            embedded(high, low)
        }
        [0x2002, high, low, ..] => embedded(high, low),
        // Documentation, tunnels (Teredo) and the rest of what is set aside in 2001::/23.
        [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => false,
        // The whole range that is assigned to the public network.
        [first, ..] => (0x2000..0x4000).contains(&first),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// Answers requests one after the other, each with the next of `answers`, and returns its
    /// address.
    fn server(answers: Vec<String>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 4096];
                let _ = stream.read(&mut request);
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        address
    }

    fn answer(head: &str, body: &str) -> String {
        format!(
            "HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    }

    #[test]
    fn a_page_and_what_it_is() {
        let address = server(vec![
            answer("302 Found\r\nLocation: /notes?id=1", ""),
            answer("200 OK\r\nContent-Type: text/markdown; charset=utf-8", "# Ducks"),
        ]);
        let page = Fetcher::new(true).get(&format!("{address}/start")).unwrap();
        assert_eq!(
            (page.bytes.as_slice(), page.file),
            (b"# Ducks".as_slice(), PathBuf::from("notes.md"))
        );
    }

    #[test]
    fn gone_is_not_unreachable() {
        let address = server(vec![answer("404 Not Found", ""), answer("500 Sorry", "")]);
        let fetcher = Fetcher::new(true);
        assert!(matches!(fetcher.get(&address), Err(Missing::Gone(_))));
        assert!(matches!(fetcher.get(&address), Err(Missing::Unreachable(_))));
    }

    #[test]
    fn private_addresses_are_refused() {
        let address = server(vec![answer("200 OK", "secret")]);
        let port = address.rsplit(':').next().unwrap();
        for host in
            ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433"]
        {
            let error = Fetcher::new(false).get(&format!("http://{host}:{port}/")).unwrap_err();
            let Missing::Unreachable(reason) = error else { panic!("{host}: {error:?}") };
            assert!(!reason.contains("secret"));
            if host != "2130706433" {
                assert!(reason.contains("not a public address"), "{host}: {reason}");
            }
        }
    }

    #[test]
    fn addresses_of_every_kind() {
        let public =
            ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "64:ff9b::808:808", "2002:808:808::1"];
        let private = [
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "127.8.8.8",
            "0.1.2.3",
            "192.0.0.8",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "203.0.113.5",
            "::",
            "::1",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "64:ff9b::a00:1",
            "2002:7f00:1::",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
        ];
        for ip in public {
            assert!(is_public(ip.parse().unwrap()), "{ip}");
        }
        for ip in private {
            assert!(!is_public(ip.parse().unwrap()), "{ip}");
        }
    }
}
