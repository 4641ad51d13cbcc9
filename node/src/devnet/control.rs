//! The control socket: one JSON line in, one JSON line out.
//!
//! Invariant: only the user who started the devnet can reach the socket (mode 0600 in a directory
//! that others may not write).

use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};

use super::error::DevnetError;
use super::layout::Layout;

/// Bytes of one request: a word and a name.
const REQUEST_BYTES_MAX: u64 = 4096;
/// How long a client waits: a node that starts may first have to read its whole store.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(180);
/// How long the supervisor waits for a client to finish its line.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest socket path the kernel takes, less one for the final zero.
const SOCKET_PATH_MAX: usize = 100;

/// What can be asked of a running devnet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Request {
    /// Stop all nodes and end; answered when all have ended.
    Stop,
    /// Tell how every node is.
    Status,
    /// Start one more node; answered when it answers.
    AddNode,
    /// Start a node that is down; answered when it answers.
    StartNode {
        /// Which.
        name: String,
    },
}

/// The answer: a value, or why not.
pub type Reply = Result<Value, String>;

/// A request and the way back.
pub struct Call {
    /// What is asked.
    pub request: Request,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Reply>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    answer: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Listens for requests and hands them to `calls`.
pub fn listen(layout: &Layout, calls: mpsc::Sender<Call>) -> Result<(), DevnetError> {
    let path = layout.control_socket();
    let failed = || DevnetError::io("listen on", &path);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed()(error)),
        _ => {}
    }
    let near = Near::new(&path).map_err(failed())?;
    let listener = UnixListener::bind(near.path()).map_err(failed())?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(failed())?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, calls.clone()));
        }
    });
    Ok(())
}

async fn serve(stream: tokio::net::UnixStream, calls: mpsc::Sender<Call>) {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    let mut reader = tokio::io::BufReader::new(reader.take(REQUEST_BYTES_MAX));
    let read = tokio::time::timeout(REQUEST_TIMEOUT, reader.read_line(&mut line)).await;
    if !matches!(read, Ok(Ok(_))) {
        return;
    }
    let reply = match serde_json::from_str(&line) {
        Ok(request) => ask(request, &calls).await,
        Err(error) => Err(format!("not a request: {error}")),
    };
    let line = match reply {
        Ok(answer) => Line {
            answer: Some(answer),
            error: None,
        },
        Err(error) => Line {
            answer: None,
            error: Some(error),
        },
    };
    let mut bytes = serde_json::to_vec(&line).expect("a JSON value serialises into memory");
    bytes.push(b'\n');
    let _ = writer.write_all(&bytes).await;
}

async fn ask(request: Request, calls: &mpsc::Sender<Call>) -> Reply {
    let (reply, answer) = oneshot::channel();
    let gone = || "the devnet is stopping".to_owned();
    calls
        .send(Call { request, reply })
        .await
        .map_err(|_| gone())?;
    answer.await.unwrap_or_else(|_| Err(gone()))
}

/// Asks the devnet that runs in a directory.
pub fn call(layout: &Layout, request: &Request) -> Result<Value, DevnetError> {
    let path = layout.control_socket();
    let not_running = || DevnetError::NotRunning(layout.root().to_path_buf());
    let failed = |source| DevnetError::Control {
        path: layout.root().to_path_buf(),
        source,
    };
    let near = Near::new(&path).map_err(|_| not_running())?;
    // A socket file without a listener is what a killed supervisor leaves.
    let mut stream = UnixStream::connect(near.path()).map_err(|_| not_running())?;
    stream
        .set_read_timeout(Some(ANSWER_TIMEOUT))
        .map_err(failed)?;
    let mut bytes = serde_json::to_vec(request).expect("a request serialises into memory");
    bytes.push(b'\n');
    stream.write_all(&bytes).map_err(failed)?;
    let mut line = String::new();
    BufReader::new(stream)
        .read_line(&mut line)
        .map_err(failed)?;
    let line: Line =
        serde_json::from_str(&line).map_err(|error| failed(io::Error::other(error)))?;
    match (line.answer, line.error) {
        (_, Some(error)) => Err(DevnetError::Refused(error)),
        (answer, None) => Ok(answer.unwrap_or_default()),
    }
}

/// A path to a socket that is short enough for the kernel: long ones go through a descriptor of
/// their directory.
struct Near {
    path: PathBuf,
    _directory: Option<std::fs::File>,
}

impl Near {
    fn new(path: &Path) -> io::Result<Self> {
        if path.as_os_str().len() <= SOCKET_PATH_MAX {
            return Ok(Self {
                path: path.into(),
                _directory: None,
            });
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let directory = std::fs::File::open(parent)?;
        let link = format!("/proc/self/fd/{}", directory.as_raw_fd());
        Ok(Self {
            path: Path::new(&link).join(name),
            _directory: Some(directory),
        })
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(root: &Path) -> Layout {
        let layout = Layout::new(root).unwrap();
        drop(layout.lock().unwrap());
        layout
    }

    /// Answers every call with its own name, or refuses to start nodes.
    fn echo(layout: &Layout) -> tokio::runtime::Runtime {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        let runtime = runtime.unwrap();
        let (sender, mut calls) = mpsc::channel::<Call>(4);
        {
            let _entered = runtime.enter();
            listen(layout, sender).unwrap();
        }
        runtime.spawn(async move {
            while let Some(call) = calls.recv().await {
                let answer = match &call.request {
                    Request::StartNode { name } => Err(format!("no node {name}")),
                    request => Ok(serde_json::to_value(request).unwrap()),
                };
                let _ = call.reply.send(answer);
            }
        });
        runtime
    }

    #[test]
    fn requests_are_answered_or_refused() {
        let root = tempfile::tempdir().unwrap();
        let layout = layout(root.path());
        let _runtime = echo(&layout);
        let answer = call(&layout, &Request::AddNode).unwrap();
        assert_eq!(answer, serde_json::json!({"command": "add-node"}));
        let error = call(
            &layout,
            &Request::StartNode {
                name: "node-9".into(),
            },
        )
        .unwrap_err();
        assert_eq!(error.to_string(), "no node node-9");
        let mode = std::fs::metadata(layout.control_socket())
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_long_directory_name_is_no_obstacle() {
        let root = tempfile::tempdir().unwrap();
        let layout = layout(&root.path().join("d".repeat(150)));
        let _runtime = echo(&layout);
        assert!(call(&layout, &Request::Status).is_ok());
    }

    #[test]
    fn garbage_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let layout = layout(root.path());
        let _runtime = echo(&layout);
        let mut stream = UnixStream::connect(layout.control_socket()).unwrap();
        stream.write_all(b"{\"command\": \"explode\"}\n").unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        assert!(line.contains("not a request"), "{line}");
    }

    #[test]
    fn nobody_there_is_told_with_the_next_step() {
        let root = tempfile::tempdir().unwrap();
        let layout = layout(root.path());
        let error = call(&layout, &Request::Stop).unwrap_err();
        assert!(
            error.to_string().contains("start one with: cairn devnet"),
            "{error}"
        );
        // A killed supervisor leaves its socket behind.
        drop(echo(&layout));
        assert!(matches!(
            call(&layout, &Request::Stop),
            Err(DevnetError::NotRunning(_))
        ));
    }
}
