use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::{Extension, Router};
use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// HTTP connections at once; the next waits in the kernel's queue. A websocket is one only until it is a websocket.
const CONNECTIONS_MAX: u32 = 4_096;
/// A connection that has not sent a request's headers within this is closed, be it slow or idle.
pub const HEADERS_WITHIN: Duration = Duration::from_secs(30);
/// After a failure to accept (no more files, say) it is tried again after this.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Serves until `shutdown` ends, then lets running requests end. Small frames leave at once, and handlers know where a request
/// came from. Open websockets are closed with [`Hub::close_all`](crate::Hub::close_all), which whoever ends the server calls
/// first.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX as usize));
    let ended = CancellationToken::new();
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let Some((stream, peer, place)) = accepted else { continue };
        let (router, ended) = (router.clone(), ended.clone());
        tokio::spawn(async move {
            connection(stream, peer, router, ended).await;
            drop(place);
        });
    }
    ended.cancel();
    drop(listener);
    // All places free: every connection is done.
    let _ = places.acquire_many(CONNECTIONS_MAX).await;
    Ok(())
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, peer, place)),
        Err(error) => {
            tracing::warn!(http.error = %error, "a connection can not be accepted");
            tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
            None
        }
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, ended: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(http.error = %error, "a connection keeps small frames back");
    }
    let service = TowerToHyperService::new(router.layer(Extension(ConnectInfo(peer))));
    let mut builder = Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADERS_WITHIN);
    let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
    tokio::pin!(connection);
    let done = tokio::select! {
        done = connection.as_mut() => done,
        () = ended.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = done {
        tracing::debug!(http.error = %error, "a connection ended");
    }
}
