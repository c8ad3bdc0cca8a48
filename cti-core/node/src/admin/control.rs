//! `control.sock`: one JSON line asks, one JSON line answers, for the owner of the data only.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{Answer, Request};

/// The longest request: a tenant's file with its scripts, bytes.
pub const REQUEST_BYTES_MAX: u64 = 16 << 20;
/// The longest answer that is read, bytes.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// Requests at once; more wait for their turn.
const CONNECTIONS_MAX: usize = 8;
/// One request must have come and its answer be taken within this time each.
const LINE_TIME_MAX: Duration = Duration::from_secs(10);
/// The server's work on one request: hashing a thousand passwords takes minutes.
const WORK_TIME_MAX: Duration = Duration::from_secs(600);

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Reply {
    Ok(Answer),
    Error(String),
}

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// What the server says: nothing has changed.
    #[error("{0}")]
    Refused(String),
    #[error("the running server did not answer: {0}")]
    NoAnswer(String),
}

/// Asks the server of this data directory; `None` where none runs.
pub async fn ask(socket: &Path, request: &Request) -> Option<Result<Answer, AskError>> {
    let stream = UnixStream::connect(socket).await.ok()?;
    let exchanged = timeout(WORK_TIME_MAX, exchange(stream, request)).await;
    Some(match exchanged {
        Ok(Ok(Reply::Ok(answer))) => Ok(answer),
        Ok(Ok(Reply::Error(message))) => Err(AskError::Refused(message)),
        Ok(Err(error)) => Err(AskError::NoAnswer(format!("{}: {error}", socket.display()))),
        Err(_) => Err(AskError::NoAnswer(format!("not within {} s", WORK_TIME_MAX.as_secs()))),
    })
}

/// Binds the socket, taking the place of one that a server left behind.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Answers until dropped. `work` does what is asked.
pub async fn serve<W, F>(listener: UnixListener, work: W)
where
    W: Fn(Request) -> F + Clone + Send + 'static,
    F: Future<Output = Result<Answer, String>> + Send,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the control socket could not take a connection");
                continue;
            }
        };
        let work = work.clone();
        tokio::spawn(async move {
            if let Err(error) = answer(stream, work).await {
                tracing::debug!(%error, "a request on the control socket broke off");
            }
            drop(place);
        });
    }
}

async fn exchange(mut stream: UnixStream, request: &Request) -> io::Result<Reply> {
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    let mut answer = Vec::new();
    BufReader::new(stream).take(ANSWER_BYTES_MAX).read_until(b'\n', &mut answer).await?;
    Ok(serde_json::from_slice(&answer)?)
}

async fn answer<W, F>(mut stream: UnixStream, work: W) -> io::Result<()>
where
    W: Fn(Request) -> F,
    F: Future<Output = Result<Answer, String>>,
{
    let mut line = Vec::new();
    let (reader, mut writer) = stream.split();
    let mut reader = BufReader::new(reader).take(REQUEST_BYTES_MAX + 1);
    let read = timeout(LINE_TIME_MAX, reader.read_until(b'\n', &mut line)).await;
    let reply = match read {
        Err(_) => Reply::Error(format!("the request did not end within {} s", LINE_TIME_MAX.as_secs())),
        Ok(Err(error)) => return Err(error),
        Ok(Ok(_)) if line.len() as u64 > REQUEST_BYTES_MAX => {
            Reply::Error(format!("the request is longer than {REQUEST_BYTES_MAX} bytes"))
        }
        Ok(Ok(_)) => match serde_json::from_slice(&line) {
            Err(error) => Reply::Error(format!("the request can not be read: {error}")),
            Ok(request) => match work(request).await {
                Ok(answer) => Reply::Ok(answer),
                Err(message) => Reply::Error(message),
            },
        },
    };
    let mut line = serde_json::to_vec(&reply)?;
    line.push(b'\n');
    timeout(LINE_TIME_MAX, writer.write_all(&line)).await.unwrap_or(Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    async fn echo(request: Request) -> Result<Answer, String> {
        match request {
            Request::UserList { tenant } => Ok(Answer::User { name: tenant.to_string() }),
            other => Err(format!("not {other:?}")),
        }
    }

    fn started() -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("control.sock");
        std::fs::write(&path, "left behind").expect("written");
        tokio::spawn(serve(bind(&path).expect("bound"), echo));
        (dir, path)
    }

    #[tokio::test]
    async fn a_request_is_answered_and_an_error_comes_back_as_such() {
        let (_dir, path) = started();
        let list = Request::UserList { tenant: "acme".into() };
        assert_eq!(ask(&path, &list).await, Some(Ok(Answer::User { name: "acme".into() })));
        let apply = Request::Apply { packages: Vec::new() };
        assert!(ask(&path, &apply).await.expect("a server").is_err());
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn without_a_server_there_is_no_answer() {
        let list = Request::UserList { tenant: "acme".into() };
        assert_eq!(ask(Path::new("/nonexistent/control.sock"), &list).await, None);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_no_request_is_told_so() {
        let (_dir, path) = started();
        let said = tokio::task::spawn_blocking(move || {
            let mut stream = std::os::unix::net::UnixStream::connect(path).expect("connected");
            stream.write_all(b"{\"do\":\"dance\"}\n").expect("written");
            let mut said = String::new();
            stream.read_to_string(&mut said).expect("read");
            said
        });
        let said = said.await.expect("no panic");
        assert!(said.contains("the request can not be read: unknown variant `dance`"), "{said}");
    }
}
