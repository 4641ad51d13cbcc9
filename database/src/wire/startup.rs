//! From a connection's first byte to its session: encryption, cancel, version, authentication.
//!
//! Invariant: before a client is known nothing larger than `STARTUP_BYTES_MAX` is kept of what it
//! sends; a request for encryption is answered once, and nothing that came in clear behind it is read.

use super::authentication::{Authentication, Refusal, scram};
use super::message::{First, Startup, parse_first};
use super::report::Report;
use super::server::Shared;
use super::transport::{Transport, TransportError};
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// A client that may have a session.
pub(super) struct Begun {
    pub(super) transport: Transport,
    pub(super) client: SocketAddr,
    pub(super) startup: Startup,
    pub(super) user: String,
    pub(super) database: String,
}

/// Does everything before a session. `None`: the connection was for something else.
pub(super) async fn begin(
    stream: TcpStream,
    client: SocketAddr,
    shared: &Shared,
) -> Result<Option<Begun>, Refusal> {
    let mut transport = Transport::new(stream);
    match welcome(&mut transport, client, shared).await {
        Ok(Some((startup, user, database))) => Ok(Some(Begun {
            transport,
            client,
            startup,
            user,
            database,
        })),
        Ok(None) => {
            transport.close().await;
            Ok(None)
        }
        Err(Refusal::Told(report)) => {
            transport.out.error(&report);
            transport.close().await;
            Err(Refusal::Told(report))
        }
        Err(other) => Err(other),
    }
}

async fn welcome(
    transport: &mut Transport,
    client: SocketAddr,
    shared: &Shared,
) -> Result<Option<(Startup, String, String)>, Refusal> {
    let Some(startup) = first_packet(transport, shared).await? else {
        return Ok(None);
    };
    let user = startup.parameter("user").unwrap_or_default().to_owned();
    if user.is_empty() {
        let why = "no PostgreSQL user name specified in startup packet";
        return Err(Refusal::Told(Report::fatal("28000", why)));
    }
    let database = match startup.parameter("database") {
        None | Some("") => user.clone(),
        Some(name) => name.to_owned(),
    };
    if startup
        .parameter("replication")
        .is_some_and(|value| !matches!(value, "false" | "off" | "0"))
    {
        let why = "replication connections are not supported";
        return Err(Refusal::Told(Report::fatal("0A000", why)));
    }
    if startup.negotiate || !startup.unknown_options.is_empty() {
        let version = startup.minor.code();
        transport
            .out
            .negotiate_version(version, &startup.unknown_options);
    }
    authenticate(transport, client, &user, shared).await?;
    if database != shared.options.database {
        let why = format!("database \"{database}\" does not exist");
        return Err(Refusal::Told(Report::fatal("3D000", why).hint(format!(
            "The only database is \"{}\".",
            shared.options.database
        ))));
    }
    Ok(Some((startup, user, database)))
}

async fn authenticate(
    transport: &mut Transport,
    client: SocketAddr,
    user: &str,
    shared: &Shared,
) -> Result<(), Refusal> {
    match &shared.options.authentication {
        Authentication::Trust => {
            if !user_exists(user, shared) {
                let why = format!("role \"{user}\" does not exist");
                let hint = format!("The user is \"{}\".", shared.options.user);
                return Err(Refusal::Told(Report::fatal("28000", why).hint(hint)));
            }
        }
        Authentication::Scram(verifiers) => {
            let delay = shared.throttle.delay(client.ip());
            let tls = shared.options.tls.as_ref();
            let asked = scram(transport, user, &**verifiers, &shared.secret, tls, delay).await;
            match &asked {
                Ok(()) => shared.throttle.succeeded(client.ip()),
                Err(Refusal::Told(_)) => shared.throttle.failed(client.ip()),
                Err(_) => {}
            }
            asked?;
        }
    }
    transport.out.authentication_ok();
    Ok(())
}

fn user_exists(user: &str, shared: &Shared) -> bool {
    if user == shared.options.user {
        return true;
    }
    let Ok(schema) = shared.database.schema() else {
        return false;
    };
    let is_it = |other: &(String, String, String, Vec<u8>)| other.0 == "role" && other.2 == user;
    schema.others().iter().any(is_it)
}

/// The startup packet, past requests for encryption. `None` after a request to cancel.
async fn first_packet(
    transport: &mut Transport,
    shared: &Shared,
) -> Result<Option<Startup>, Refusal> {
    let (mut ssl_asked, mut gss_asked) = (false, false);
    loop {
        let first = loop {
            match parse_first(transport.input()).map_err(TransportError::from)? {
                Some((first, length)) => {
                    transport.advance(length);
                    break first;
                }
                None => {
                    if !transport
                        .fill_startup()
                        .await
                        .map_err(TransportError::from)?
                    {
                        return Err(Refusal::Left);
                    }
                }
            }
        };
        match first {
            First::Ssl if !ssl_asked => {
                ssl_asked = true;
                answer_ssl(transport, shared).await?;
            }
            First::Gss if !gss_asked => {
                gss_asked = true;
                transport.out.negotiation(b'N');
                transport.flush().await?;
                nothing_in_clear(transport, "GSSAPI encryption")?;
            }
            First::Ssl | First::Gss => {
                let why = "encryption was asked for twice";
                return Err(Refusal::Told(Report::fatal("08P01", why)));
            }
            First::Cancel { process, key } => {
                shared.registry.cancel(process, &key);
                return Ok(None);
            }
            First::Startup(startup) => return Ok(Some(startup)),
            First::Unsupported(major, minor) => {
                let why = format!(
                    "unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.2"
                );
                return Err(Refusal::Told(Report::fatal("0A000", why)));
            }
        }
    }
}

async fn answer_ssl(transport: &mut Transport, shared: &Shared) -> Result<(), Refusal> {
    let tls = shared.options.tls.as_ref().filter(|_| !transport.is_tls());
    // Before the answer: what is there already was sent without knowing it.
    nothing_in_clear(transport, "SSL")?;
    let Some(tls) = tls else {
        transport.out.negotiation(b'N');
        transport.flush().await?;
        return Ok(());
    };
    transport.out.negotiation(b'S');
    transport.flush().await?;
    let accepted = transport.accept_tls(tls).await;
    accepted.map_err(|error| Refusal::Lost(error.into()))
}

/// What came behind a request for encryption could have been put there by anybody on the way.
fn nothing_in_clear(transport: &Transport, kind: &str) -> Result<(), Refusal> {
    if !transport.has_input() {
        return Ok(());
    }
    let why = format!("received unencrypted data after {kind} request");
    let detail = "This could be either a client-software bug or evidence of an attempted \
                  man-in-the-middle attack.";
    Err(Refusal::Told(Report::fatal("08P01", why).detail(detail)))
}
