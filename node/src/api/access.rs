//! Who may ask: the Host and Origin checks, the token for writes.
//!
//! A loopback listener needs no token, because only this machine reaches it. But a browser on this
//! machine reaches it too: a page of a stranger whose name was rebound to 127.0.0.1 sends its own
//! name as `Host` and as `Origin`, so both must name this machine (K06). A listener that is not
//! loopback cannot know its names; it serves reads to all and writes to holders of the token only.

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::problem::Problem;

/// A token shorter than this could be guessed.
pub const TOKEN_CHARS_MIN: usize = 16;

/// The secret that writes need. Compared by hash, in constant time; never shown.
pub struct Token(blake3::Hash);

/// Why a token file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It cannot be read.
    #[error("cannot read the token file {path}: {cause}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// Others can read it.
    #[error("the token file {path} has mode {mode:04o}: expected 0600 or less")]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is too short to be a secret.
    #[error("the token in {path} has {chars} characters: expected at least {TOKEN_CHARS_MIN}")]
    TooShort {
        /// The file.
        path: PathBuf,
        /// Its length without white space around it.
        chars: usize,
    },
}

impl Token {
    /// Reads a token file; white space around the token does not count.
    ///
    /// # Errors
    /// When others can read it too, or it is too short.
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        let unreadable = |cause| TokenError::Unreadable {
            path: path.into(),
            cause,
        };
        let mode = std::fs::metadata(path)
            .map_err(unreadable)?
            .permissions()
            .mode()
            & 0o7777;
        if mode & 0o077 != 0 {
            return Err(TokenError::TooOpen {
                path: path.into(),
                mode,
            });
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let token = text.trim();
        if token.len() < TOKEN_CHARS_MIN {
            return Err(TokenError::TooShort {
                path: path.into(),
                chars: token.len(),
            });
        }
        Ok(Self(blake3::hash(token.as_bytes())))
    }

    fn is(&self, given: &str) -> bool {
        self.0 == blake3::hash(given.as_bytes())
    }
}

/// The rules of one listener.
pub struct Access {
    is_loopback: bool,
    token: Option<Token>,
}

impl Access {
    /// The rules for a listener on this address.
    pub fn new(listener: IpAddr, token: Option<Token>) -> Self {
        Self {
            is_loopback: listener.to_canonical().is_loopback(),
            token,
        }
    }

    /// Checks a request before anything reads it.
    ///
    /// # Errors
    /// 403 for a foreign Host or Origin and for writes that are not served, 401 for a missing or
    /// wrong token.
    pub fn check(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        let host = self.check_host(uri, headers)?;
        self.check_origin(host.as_ref(), headers)?;
        if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) || self.is_loopback {
            return Ok(());
        }
        self.check_token(headers)
    }

    /// The host that the request names, which on loopback must be this machine.
    fn check_host(&self, uri: &Uri, headers: &HeaderMap) -> Result<Option<Authority>, Problem> {
        let mut named = headers.get_all(header::HOST).iter();
        let host = match (named.next(), named.next()) {
            (None, _) => uri.authority().cloned(),
            (Some(_), Some(_)) => return Err(Problem::bad_request("bad_host", "two Host headers")),
            (Some(value), None) => {
                let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
                let host: Authority = text.parse().map_err(|_| {
                    Problem::bad_request("bad_host", format!("Host is `{}`", cut(&text)))
                        .expected("a name or an address, with or without a port")
                })?;
                Some(host)
            }
        };
        let names = [host.as_ref(), uri.authority()];
        let foreign = names
            .iter()
            .flatten()
            .find(|name| !is_this_machine(name.host()));
        match foreign {
            Some(name) if self.is_loopback => Err(Problem::new(
                StatusCode::FORBIDDEN,
                "host_not_allowed",
                format!("Host is `{}`", cut(name.as_str())),
            )
            .expected("localhost or a loopback address: this listener is on loopback")),
            _ if host.is_none() && self.is_loopback => {
                Err(Problem::bad_request("bad_host", "no Host header").expected("a Host header"))
            }
            _ => Ok(host),
        }
    }

    /// A browser says which page asks; it must be a page of this node.
    fn check_origin(&self, host: Option<&Authority>, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(origin) = headers.get(header::ORIGIN) else {
            return Ok(());
        };
        let text = String::from_utf8_lossy(origin.as_bytes()).into_owned();
        let page = text
            .parse::<Uri>()
            .ok()
            .and_then(|uri| uri.authority().cloned());
        let is_ours = page.is_some_and(|page| match host {
            Some(host) if page == *host => true,
            _ => self.is_loopback && is_this_machine(page.host()),
        });
        if is_ours {
            return Ok(());
        }
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            "origin_not_allowed",
            format!("Origin is `{}`", cut(&text)),
        )
        .expected("a page of this node, or no browser"))
    }

    fn check_token(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(token) = &self.token else {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "writes_not_served",
                "this listener is not loopback and the node has no token file",
            )
            .expected("a node started with --api-token-file, or a request over loopback"));
        };
        let bearer = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "));
        // Miners have no other place for it than the password.
        let given = bearer
            .map(str::to_owned)
            .or_else(|| basic(headers).map(|(_, password)| password));
        match given {
            Some(given) if token.is(given.trim()) => Ok(()),
            Some(_) => Err(unauthorized("the token is wrong")),
            None => Err(unauthorized("the request has no token")),
        }
    }
}

/// User and password of `Authorization: Basic`, the only form that old miners have.
pub fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let bytes = BASE64_STANDARD
        .decode(value.strip_prefix("Basic ")?.trim())
        .ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

fn unauthorized(detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
        .expected("the header `Authorization: Bearer TOKEN` with the token of --api-token-file")
}

/// Whether a host is `localhost` or a loopback address.
fn is_this_machine(host: &str) -> bool {
    let bare = host
        .strip_prefix('[')
        .and_then(|h| h.strip_suffix(']'))
        .unwrap_or(host);
    bare.eq_ignore_ascii_case("localhost")
        || bare
            .parse::<IpAddr>()
            .is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// A stranger's text, short enough to be repeated.
fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    fn code(access: &Access, method: Method, pairs: &[(&'static str, &str)]) -> &'static str {
        let uri = Uri::from_static("/v1/status");
        match access.check(&method, &uri, &headers(pairs)) {
            Ok(()) => "ok",
            Err(problem) => problem.code,
        }
    }

    fn loopback() -> Access {
        Access::new("127.0.0.1".parse().unwrap(), None)
    }

    #[test]
    fn a_loopback_listener_answers_to_this_machines_names_only() {
        let ours = [
            "localhost",
            "LocalHost:8080",
            "127.0.0.1",
            "127.1.2.3:80",
            "[::1]:8080",
        ];
        for host in ours {
            assert_eq!(
                code(&loopback(), Method::GET, &[("host", host)]),
                "ok",
                "{host}"
            );
        }
        let foreign = [
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "192.0.2.1",
            "0.0.0.0",
            "127.0.0.1.evil.example",
            "[::2]",
        ];
        for host in foreign {
            assert_eq!(
                code(&loopback(), Method::GET, &[("host", host)]),
                "host_not_allowed",
                "{host}"
            );
        }
        assert_eq!(code(&loopback(), Method::GET, &[]), "bad_host");
        assert_eq!(
            code(&loopback(), Method::GET, &[("host", "a b")]),
            "bad_host"
        );
        let two = [("host", "localhost"), ("host", "evil.example")];
        assert_eq!(code(&loopback(), Method::GET, &two), "bad_host");
    }

    #[test]
    fn an_absolute_target_cannot_hide_behind_a_good_host() {
        let uri: Uri = "http://evil.example/v1/status".parse().unwrap();
        let problem = loopback()
            .check(&Method::GET, &uri, &headers(&[("host", "localhost")]))
            .unwrap_err();
        assert_eq!(problem.code, "host_not_allowed");
    }

    #[test]
    fn a_page_of_another_site_is_refused() {
        for origin in [
            "http://evil.example",
            "null",
            "file://",
            "https://localhost.evil.example",
        ] {
            let pairs = [("host", "localhost:8080"), ("origin", origin)];
            assert_eq!(
                code(&loopback(), Method::GET, &pairs),
                "origin_not_allowed",
                "{origin}"
            );
        }
        let pairs = [
            ("host", "localhost:8080"),
            ("origin", "http://localhost:8080"),
        ];
        assert_eq!(code(&loopback(), Method::POST, &pairs), "ok");
        let public = Access::new("0.0.0.0".parse().unwrap(), None);
        let pairs = [("host", "node.example"), ("origin", "http://node.example")];
        assert_eq!(code(&public, Method::GET, &pairs), "ok");
        let pairs = [("host", "node.example"), ("origin", "http://localhost")];
        assert_eq!(code(&public, Method::GET, &pairs), "origin_not_allowed");
    }

    #[test]
    fn a_public_listener_serves_reads_to_all_and_writes_to_the_token() {
        let host = ("host", "node.example");
        let closed = Access::new("0.0.0.0".parse().unwrap(), None);
        assert_eq!(code(&closed, Method::GET, &[host]), "ok");
        assert_eq!(code(&closed, Method::POST, &[host]), "writes_not_served");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "0123456789abcdef\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let open = Access::new(
            "192.0.2.1".parse().unwrap(),
            Some(Token::read(&path).unwrap()),
        );
        let cases = [
            ("Bearer 0123456789abcdef", "ok"),
            ("Bearer 0123456789abcdeF", "unauthorized"),
            ("Bearer ", "unauthorized"),
            ("Basic 0123456789abcdef", "unauthorized"),
            // x:0123456789abcdef
            ("Basic eDowMTIzNDU2Nzg5YWJjZGVm", "ok"),
            ("Basic eDowMTIzNDU2Nzg5YWJjZGVn", "unauthorized"),
        ];
        for (authorization, expected) in cases {
            let pairs = [host, ("authorization", authorization)];
            for method in [Method::POST, Method::PUT, Method::DELETE] {
                assert_eq!(code(&open, method, &pairs), expected, "{authorization}");
            }
        }
        assert_eq!(code(&open, Method::POST, &[host]), "unauthorized");
    }

    #[test]
    fn a_token_file_must_be_private_and_long_enough() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        assert!(matches!(
            Token::read(&path),
            Err(TokenError::Unreadable { .. })
        ));
        std::fs::write(&path, "0123456789abcdef").unwrap();
        for mode in [0o644, 0o640, 0o604, 0o660, 0o610] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let error = Token::read(&path).err().unwrap();
            assert!(matches!(error, TokenError::TooOpen { .. }), "{mode:o}");
            assert!(error.to_string().contains(&format!("{mode:04o}")));
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(Token::read(&path).is_ok());
        std::fs::write(&path, "  short  \n").unwrap();
        assert!(matches!(
            Token::read(&path),
            Err(TokenError::TooShort { chars: 5, .. })
        ));
    }
}
